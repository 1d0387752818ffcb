"""MCP servers behind HTTP: one of the official package, and one that misbehaves."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from unit.effects.test_mcp import Connected, connected

from orlop.abi.errors import DeadlineMissed, DeviceBusy, DeviceFailed, ToolFailed
from orlop.effects.mcp import McpConfig
from orlop.effects.mcp_http import HttpLink
from orlop.wire import mcp

SERVER = Path(__file__).with_name("mcp_over_http.py")


@contextmanager
def official(how: str) -> Iterator[str]:
    """Its URL; connections wait in the socket until it is up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        serving = subprocess.Popen(
            [sys.executable, str(SERVER), str(listener.fileno()), how],
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
    try:
        yield url
    finally:
        serving.kill()
        serving.wait()


@pytest.mark.parametrize("how", ["json", "sse"])
@pytest.mark.parametrize(
    ("protocol", "version"), [("auto", "2026-07-28"), ("handshake", "2025-11-25")]
)
def test_a_server_of_the_official_package_is_understood(
    how: str, protocol: str, version: str, tmp_path: Path
) -> None:
    async def scenario(here: Connected) -> None:
        tools = {one.plain: one.tool for one in await here.found()}
        assert sorted(tools) == ["broken", "slow", "total"]
        assert here.server.version == version
        total, slow, broken = tools["total"], tools["slow"], tools["broken"]
        assert total is not None and slow is not None and broken is not None
        value = await total.call({"prices": [1, 2, 39]}, "", 60)
        assert value == {"total": 42}
        with pytest.raises(ToolFailed, match="Error executing tool broken"):
            await broken.call({}, "", 60)
        with pytest.raises(DeadlineMissed):
            await slow.call({}, "", 0.5)
        assert await total.call({"prices": []}, "", 60) == {"total": 0}

    with official(how) as url:
        config = McpConfig(url=url, protocol=protocol)  # type: ignore[arg-type]
        connected(tmp_path, config, scenario)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answered_by(handler: Handler) -> Callable[[Callable[[HttpLink], Awaitable[None]]], None]:
    """Run a scenario against a server of which each answer is `handler`'s."""

    def run(scenario: Callable[[HttpLink], Awaitable[None]]) -> None:
        async def whole() -> None:
            runner = web.ServerRunner(web.Server(handler))  # type: ignore[arg-type]
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            link = HttpLink("srv", f"http://{host}:{port}/", {}, 4)
            link.version = mcp.MODERN
            try:
                await scenario(link)
            finally:
                await link.close()
                await runner.cleanup()

        asyncio.run(whole())

    return run


async def refused(link: HttpLink, said: str) -> None:
    with pytest.raises(DeviceFailed, match=said):
        await link.ask("tools/call", {"name": "t"}, 30)


def test_an_answer_without_end_is_cut_off() -> None:
    async def floods(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 1_000_000)
        except OSError:
            return response

    answered_by(floods)(lambda link: refused(link, "TOOL_OUTPUT_BYTES_MAX"))


def test_messages_that_nobody_asked_for_are_counted() -> None:
    async def chatters(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"data: {}\n\n" * 1_000)
        except OSError:
            return response

    answered_by(chatters)(lambda link: refused(link, "MCP_UNASKED_MAX"))


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"<html>"), (200, b""), (200, b"[1]"), (302, b""), (204, b"")]
)
def test_what_is_no_answer_is_no_answer(status: int, body: bytes) -> None:
    async def says(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={"location": "http://127.0.0.1:1/elsewhere"}
        )

    answered_by(says)(lambda link: refused(link, f"answered {status} without an answer"))


def test_a_server_that_is_not_there_is_said_so() -> None:
    async def scenario() -> None:
        link = HttpLink("srv", "http://127.0.0.1:1/", {}, 4)
        await refused(link, "srv did not answer")
        await link.close()

    asyncio.run(scenario())


def test_headers_repeat_the_body_as_the_new_protocol_wants_it() -> None:
    heard: list[dict[str, str]] = []

    async def listens(request: web.Request) -> web.StreamResponse:
        heard.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})

    async def scenario(link: HttpLink) -> None:
        await link.ask("tools/call", {"name": "t"}, 30)

    answered_by(listens)(scenario)
    assert heard[0]["mcp-method"] == "tools/call"
    assert heard[0]["mcp-name"] == "t"
    assert heard[0]["mcp-protocol-version"] == "2026-07-28"


def test_a_server_that_is_asked_too_often_has_done_nothing() -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "7"})

    async def scenario(link: HttpLink) -> None:
        with pytest.raises(DeviceBusy, match="too often") as error:
            await link.ask("tools/call", {"name": "t"}, 30)
        assert error.value.retry_after_s == 7

    answered_by(busy)(scenario)
