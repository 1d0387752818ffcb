"""Every remote driver in front of servers that lie, break off or are no engine at all.

A proxy stands before a true engine: the driver starts, and then the proxy answers by itself.
What comes is an error that names the engine and what it did, within the call's time, and no seat is
lost.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import pytest
from engine_surfaces import (
    AnthropicSurface,
    EngineSurface,
    LlamaSurface,
    OllamaSurface,
    SGLangSurface,
    TritonSurface,
    VLLMSurface,
)
from openai_surface import surface
from wrong_engine import respond, wrong_engine

from orlop.abi.calls import Embed, Infer
from orlop.abi.errors import DeadlineMissed, DeviceFailed, DeviceRefused, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.devices.device import Engine, Turn
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.devices.openai import OpenAI
from orlop.drivers.anthropic import Anthropic
from orlop.drivers.cloud import Cloud, CloudTerms
from orlop.drivers.llama_server import LlamaServer
from orlop.drivers.ollama import Ollama
from orlop.drivers.sglang import SGLang
from orlop.drivers.triton import Triton
from orlop.drivers.vllm import VLLM
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock

CLOCK, CHANCE = SystemClock(), SeededChance(1)
NAME, MODEL, VECTORS = EngineName("far"), ModelName("fake"), ModelName("fake-embed")
CALL = Infer(model="fake", messages=(Message("user", "hello"),), dialect="openai")
LIMIT_S = 0.5
PATIENCE_S = 20.0
"""Of the test: a driver that waits for ever is caught by this."""

Made = tuple[Callable[[str], Engine], Callable[[FakeEngine], EngineSurface]]


def bare(url: str) -> str:
    return url.removesuffix("/v1")


CLAUDE = CloudTerms(dialect="anthropic")
DRIVERS: Mapping[str, Made] = {
    "openai": (lambda url: OpenAI(NAME, url, clock=CLOCK, chance=CHANCE), EngineSurface),
    "vllm": (lambda url: VLLM(NAME, url, clock=CLOCK, chance=CHANCE), VLLMSurface),
    "sglang": (lambda url: SGLang(NAME, url, clock=CLOCK, chance=CHANCE), SGLangSurface),
    "ollama": (lambda url: Ollama(NAME, url, clock=CLOCK, chance=CHANCE), OllamaSurface),
    "llama-server": (lambda url: LlamaServer(NAME, url, clock=CLOCK, chance=CHANCE), LlamaSurface),
    "anthropic": (
        lambda url: Anthropic(NAME, bare(url), clock=CLOCK, chance=CHANCE),
        AnthropicSurface,
    ),
    "cloud": (
        lambda url: Cloud(NAME, bare(url), CLAUDE, clock=CLOCK, chance=CHANCE),
        AnthropicSurface,
    ),
    "triton": (lambda url: Triton(NAME, bare(url), clock=CLOCK, chance=CHANCE), TritonSurface),
}


def whole(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def chunked(*chunks: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


PAGE = b"<!doctype html><html><body><h1>Welcome to nginx!</h1></body></html>"
NAN = b'{"choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":NaN}}'
FAR = "far('s| )"
LIES: Mapping[str, tuple[bytes, type[KernelError] | tuple[type[KernelError], ...], str]] = {
    "a page": (whole(PAGE, "text/html"), DeviceFailed, "far answered a page.*Welcome to nginx!"),
    "a page as JSON": (whole(PAGE), DeviceFailed, "far answered a page|can't be read"),
    "a page of a proxy": (
        whole(PAGE, "text/html", "502 Bad Gateway"),
        (DeviceFailed, DeadlineMissed),
        "far answered 502: Welcome to nginx!|far's .* took more than",
    ),
    "nothing": (whole(b""), DeviceFailed, FAR),
    "an empty object": (whole(b"{}"), DeviceFailed, FAR),
    "null": (whole(b"null"), DeviceFailed, FAR),
    "a count that is no number": (whole(NAN), DeviceFailed, FAR),
    "too deep": (whole(b"[" * 100_000), DeviceFailed, FAR),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", (DeviceFailed, DeadlineMissed), FAR),
    "a chunk without end": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nhello\r\n",
        (DeadlineMissed, DeviceFailed),
        FAR,
    ),
    "silence": (b"", DeadlineMissed, "far's .* took more than"),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-ty", DeadlineMissed, "far's .* took more than"),
    "half a body": (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
        DeadlineMissed,
        "far's .* took more than",
    ),
    "a stream that stops": (
        chunked(b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'),
        (DeadlineMissed, DeviceFailed),
        FAR,
    ),
}


class Proxy:
    """Hands through to `port` until `lie` is set, which it says to all that it is asked then."""

    def __init__(self, port: int) -> None:
        self.lie: bytes | None = None
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if self.lie is None:
                await self._pass_on(head, reader, writer)
            else:
                writer.write(self.lie)
                while await reader.read(65_536):
                    pass
        writer.close()

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lengths = [line for line in head.lower().split(b"\r\n") if b"content-length:" in line]
        body = await reader.readexactly(int(lengths[0][15:]) if lengths else 0)
        behind, order = await asyncio.open_connection("127.0.0.1", self._port)
        order.write(head[:-2] + b"connection: close\r\n\r\n" + body)
        while piece := await behind.read(65_536):
            writer.write(piece)
        order.close()


@asynccontextmanager
async def started(made: Made) -> AsyncGenerator[tuple[Engine, Proxy]]:
    making, edge = made
    behind = FakeEngine(EngineName("f"), FakeConfig(), clock=CLOCK, chance=CHANCE)
    async with surface(behind, edge(behind).routes) as (url, _):
        proxy = Proxy(int(url.removesuffix("/v1").rpartition(":")[2]))
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        engine = making(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await engine.start()
        try:
            yield engine, proxy
        finally:
            await engine.close()
            server.close()


async def ask(engine: Engine, *, streams: bool) -> None:
    if isinstance(engine, Triton):
        await engine.embed(Embed(model="fake-embed", inputs=("hello",)), VECTORS, LIMIT_S)
    else:
        sink = (lambda _: None) if streams else None
        await engine.infer(CALL, MODEL, sink, LIMIT_S, Turn(program="prc_7"))


async def lied_to(made: Made, name: str, *, streams: bool) -> None:
    said, errors, told = LIES[name]
    async with started(made) as (engine, proxy):
        proxy.lie = said
        try:
            with pytest.raises(errors, match=told):
                await ask(engine, streams=streams)
            assert engine.card().running == 0
        except BaseException as error:
            error.add_note(f"{name}, {streams=}")
            raise


@pytest.mark.parametrize("made", DRIVERS.values(), ids=DRIVERS.keys())
def test_what_is_no_answer_is_an_error_that_names_the_engine_and_never_a_hang(made: Made) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(PATIENCE_S):
            both = [(name, streams) for name in LIES for streams in (False, True)]
            await asyncio.gather(*(lied_to(made, name, streams=streams) for name, streams in both))

    asyncio.run(scenario())


@pytest.mark.parametrize("said", [b"{}", PAGE, b'{"data":[{"id":7}]}'])
@pytest.mark.parametrize("name", ["openai", "vllm", "sglang", "ollama", "anthropic"])
def test_a_list_of_models_that_is_none_is_told_at_the_start(name: str, said: bytes) -> None:
    async def scenario() -> None:
        making, _ = DRIVERS[name]
        async with wrong_engine(respond(200, said)) as server:
            engine = making(server.url)
            with pytest.raises(
                DeviceFailed, match=r"far('s list of models can't| answered a page)"
            ):
                await engine.start()
            await engine.close()

    asyncio.run(scenario())


def test_sizes_that_can_not_be_true_make_no_call_too_long() -> None:
    async def scenario() -> None:
        listed = b'{"data":[{"id":"m","max_tokens":-1,"max_input_tokens":-5}]}'
        async with wrong_engine(respond(200, listed)) as server:
            engine = DRIVERS["anthropic"][0](server.url)
            await engine.start()
            (card,) = await engine.models()
            assert (card.context_tokens, card.output_tokens_max) == (None, None)
            await engine.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("slots", ["-3", "900000", "NaN"])
def test_a_server_of_slots_that_lies_about_them_has_some_all_the_same(slots: str) -> None:
    async def scenario() -> None:
        props = f'{{"total_slots":{slots},"default_generation_settings":{{"n_ctx":-9}}}}'
        listed = b'{"data":[{"id":"m"}]}'
        async with wrong_engine(respond(200, props.encode()), respond(200, listed)) as server:
            engine = DRIVERS["llama-server"][0](server.url)
            with suppress(DeviceFailed, DeviceRefused):
                await engine.start()
            assert 1 <= engine.capacity().slots <= 256
            assert engine.capacity().kv_tokens is None
            await engine.close()

    asyncio.run(scenario())


def test_a_machine_that_takes_no_connection_is_told_before_the_call_s_time_is_up() -> None:
    async def scenario() -> None:
        engine = OpenAI(NAME, "http://127.0.0.1:9", clock=CLOCK, chance=CHANCE)
        began_s = time.monotonic()
        with pytest.raises(DeviceFailed, match=r"far did not answer at http://127\.0\.0\.1:9/v1"):
            await engine.start()
        assert time.monotonic() - began_s < PATIENCE_S
        await engine.close()

    asyncio.run(scenario())
