"""The kernel's tools in the official MCP client, unmodified: both eras, HTTP and command."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

MODES = ("auto", "legacy", "2026-07-28")
ADD = "import json, sys; a = json.load(sys.stdin); print(json.dumps({'sum': a['a'] + a['b']}))"
NOTE = "import os, sys; open(sys.argv[1], 'a').write(os.environ['ORLOP_KEY'] + chr(10))"
TOOLS = """
[tools.add]
command = {add}
description = "Add two numbers."
effect = "pure"
results = {{ type = "object", required = ["sum"] }}

[tools.add.parameters]
type = "object"
required = ["a", "b"]
properties = {{ a = {{ type = "integer" }}, b = {{ type = "integer" }} }}

[tools.note]
command = {note}
effect = "idempotent"

[tools.broken]
command = ["false"]
"""


def config(folder: Path) -> str:
    add = [sys.executable, "-c", ADD]
    note = [sys.executable, "-c", NOTE, str(folder / "notes")]
    return TOOLS.format(add=json.dumps(add), note=json.dumps(note))


@asynccontextmanager
async def over_http(kernel: LiveKernel, mode: str) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {kernel.key}", "orlop-process": f"mcp {mode}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{kernel.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def use(client: Client, notes: Path) -> None:
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert sorted(listed) == ["add", "broken", "note"]
    assert listed["add"].description == "Add two numbers."
    assert listed["add"].input_schema["required"] == ["a", "b"]
    annotations = listed["add"].annotations
    assert annotations is not None and annotations.read_only_hint
    added = await client.call_tool("add", {"a": 40, "b": 2})
    assert added.structured_content == {"sum": 42} and not added.is_error
    several = await asyncio.gather(*(client.call_tool("add", {"a": n, "b": 1}) for n in range(5)))
    assert [one.structured_content for one in several] == [{"sum": n + 1} for n in range(5)]
    wrong = await client.call_tool("add", {"a": "x", "b": 2})
    assert wrong.is_error and "E1001" in str(wrong.content)
    broken = await client.call_tool("broken", {})
    assert broken.is_error and "E2101" in str(broken.content)
    meta = {"orlop/idempotency-key": f"own {notes.name}"}
    await client.call_tool("note", {}, meta=meta)  # type: ignore[arg-type]
    with pytest.raises(MCPError, match="E1201"):
        await client.call_tool("nothing", {})


def test_the_official_client_uses_the_kernels_tools_in_both_eras(tmp_path: Path) -> None:
    async def whole(kernel: LiveKernel) -> None:
        for mode in MODES:
            async with over_http(kernel, mode) as client:
                await use(client, tmp_path / "notes")

    with live_kernel(config(tmp_path)) as kernel:
        asyncio.run(whole(kernel))
        assert (tmp_path / "notes").read_text() == "own notes\n" * 3
        shown = json.loads(kernel.orlop("ps", "--all", "--json"))
        assert {row["name"] for row in shown} >= {f"mcp {mode}" for mode in MODES}


def test_a_program_that_starts_its_servers_as_commands_gets_them_by_orlop_mcp(
    tmp_path: Path,
) -> None:
    async def whole(kernel: LiveKernel) -> None:
        for mode in MODES:
            server = StdioServerParameters(
                command=ORLOP[0],
                args=[*ORLOP[1:], "mcp", "--key", kernel.key, "--home", str(kernel.home)],
                env={**os.environ},
            )
            async with Client(server, mode=mode) as client:
                await use(client, tmp_path / "notes")

    with live_kernel(config(tmp_path)) as kernel:
        asyncio.run(whole(kernel))


def test_nobody_is_served_without_a_token_and_nonsense_is_refused(tmp_path: Path) -> None:
    with live_kernel(config(tmp_path)) as kernel:
        url, auth = f"{kernel.url}/mcp", {"authorization": f"Bearer {kernel.key}"}
        assert httpx2.post(url, content=b"{}").status_code == 401
        for body in (
            b"",
            b"[]",
            b"{}",
            b'{"jsonrpc":"2.0"}',
            b'{"jsonrpc":"2.0","id":1,"method":7}',
        ):
            answered = httpx2.post(url, content=body, headers=auth)
            assert answered.status_code == 400 and "error" in answered.json(), body
        assert httpx2.get(url, headers=auth).status_code == 405
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}
        answered = httpx2.post(url, json=call, headers=auth)
        assert answered.json()["error"]["code"] == -32602
        call["params"] = {"_meta": {"io.modelcontextprotocol/protocolVersion": "1999-01-01"}}
        answered = httpx2.post(url, json=call, headers=auth)
        assert answered.json()["error"]["code"] == -32022
