"""Clouds and Anthropic's API: what they are told so that their caches keep what comes again."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
from engine_surfaces import AnthropicSurface, EngineSurface, Routes
from msgspec.structs import replace
from openai_surface import surface
from patience import until
from wrong_engine import Answer, WrongEngine, hang, pour, respond, wrong_engine

from orlop.abi.calls import Embed, Infer
from orlop.abi.errors import DeadlineMissed, DeviceBusy, DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import ENGINE_RETRIES_MAX
from orlop.abi.messages import Message, Text
from orlop.devices.device import Turn
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.drivers.anthropic import Anthropic
from orlop.drivers.cloud import Cloud, CloudTerms, Dialect, Keep
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock

NAME, MODEL = EngineName("far"), ModelName("fake")
CALL = Infer(model="fake", messages=(Message("user", "hello " * 100),), dialect="openai")
CLOCK, CHANCE = SystemClock(), SeededChance(1)
MINE = Turn(program="prc_7")
SAID = (
    b'{"type":"message","role":"assistant","model":"fake","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":3,"cache_read_input_tokens":9,'
    b'"output_tokens":1}}'
)
MODELS = respond(200, b'{"data":[{"type":"model","id":"fake","max_tokens":8192}]}')


class ChatSurface(EngineSurface):
    @property
    def routes(self) -> Routes:
        return self.chat()


@asynccontextmanager
async def cloud(
    dialect: Dialect, cache: Keep = "5m", config: FakeConfig | None = None, **limits: int
) -> AsyncGenerator[tuple[Cloud, EngineSurface]]:
    behind = FakeEngine(EngineName("f"), config or FakeConfig(), clock=CLOCK, chance=CHANCE)
    edge = AnthropicSurface(behind) if dialect == "anthropic" else ChatSurface(behind)
    async with surface(behind, edge.routes) as (url, _):
        url = url.removesuffix("/v1") if dialect == "anthropic" else url
        terms = CloudTerms(dialect=dialect, cache=cache, **limits)
        engine = Cloud(NAME, url, terms, clock=CLOCK, chance=CHANCE)
        await engine.start()
        try:
            yield engine, edge
        finally:
            await engine.close()


def test_a_program_s_calls_go_to_one_cache() -> None:
    async def scenario() -> None:
        async with cloud("openai") as (engine, edge):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert edge.last("/v1/chat/completions")["prompt_cache_key"] == "prc_7"
            own = replace(CALL, extra={"prompt_cache_key": "theirs"})
            await engine.infer(own, MODEL, None, 5.0, MINE)
            assert edge.last("/v1/chat/completions")["prompt_cache_key"] == "theirs"
        async with cloud("openai", cache="") as (engine, edge):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert "prompt_cache_key" not in edge.last("/v1/chat/completions")

    asyncio.run(scenario())


def test_prompts_are_marked_for_the_time_that_is_set_unless_the_caller_marks_them() -> None:
    async def scenario() -> None:
        async with cloud("anthropic", cache="1h") as (engine, edge):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            mark = {"type": "ephemeral", "ttl": "1h"}
            assert edge.last("/v1/messages")["cache_control"] == mark
            marked = Text("long ago", extra={"cache_control": {"type": "ephemeral"}})
            own = replace(CALL, messages=(Message("user", (marked,)),), dialect="anthropic")
            await engine.infer(own, MODEL, None, 5.0, MINE)
            assert "cache_control" not in edge.last("/v1/messages")
        async with cloud("anthropic", cache="") as (engine, edge):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert "cache_control" not in edge.last("/v1/messages")

    asyncio.run(scenario())


def test_what_a_cache_holds_is_known_by_program_and_so_is_for_how_long() -> None:
    async def scenario() -> None:
        async with cloud("openai") as (engine, _):
            assert engine.kept_tokens("prc_7") == 0
            made = await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert engine.kept_tokens("prc_7") == made.usage.input_tokens > 0
            assert engine.kept_tokens("prc_8") == 0
            assert engine.capacity().prefix_cache_s == 300.0

    asyncio.run(scenario())


def test_what_a_cloud_will_not_take_in_time_is_refused_with_the_time_to_come_back() -> None:
    async def scenario() -> None:
        async with cloud("openai", requests_per_minute=1) as (engine, edge):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            with pytest.raises(DeviceBusy, match="1 requests a minute") as raised:
                await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert 50 < (raised.value.retry_after_s or 0) <= 60
            assert edge.behind.computed == 1

    asyncio.run(scenario())


LIMITS = "anthropic-ratelimit-input-tokens-limit: 60000"
REFUSED = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'


def left(tokens: int) -> str:
    return f"anthropic-ratelimit-input-tokens-remaining: {tokens}"


@asynccontextmanager
async def scripted_cloud(*script: Answer) -> AsyncGenerator[tuple[Cloud, WrongEngine]]:
    async with wrong_engine(MODELS, *script) as server:
        url = server.url.removesuffix("/v1")
        engine = Cloud(
            NAME, url, CloudTerms(dialect="anthropic"), clock=CLOCK, chance=CHANCE, slots=8
        )
        await engine.start()
        try:
            yield engine, server
        finally:
            await engine.close()


def test_a_call_that_was_refused_comes_back_by_itself_and_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        refusal = respond(429, REFUSED, LIMITS, left(40), "retry-after: 1")
        script = (refusal, respond(200, SAID, LIMITS, left(400)), respond(200, SAID))
        async with scripted_cloud(*script) as (engine, server):
            large = asyncio.ensure_future(engine.infer(CALL, MODEL, None, 5.0, MINE))
            await until(lambda: len(server.asked) == 2)
            small = Infer(model="fake", messages=(Message("user", "hi"),), dialect="anthropic")
            await engine.infer(small, MODEL, None, 5.0, Turn(program="prc_8"))
            assert not large.done()  # There was room for a small one only.
            assert (await large).usage.input_tokens == 12
            assert len(server.asked) == 4
            assert engine.quota(MODEL).refusals == 1

    asyncio.run(scenario())


def test_what_a_provider_refuses_for_no_reason_that_it_tells_is_not_asked_for_ever() -> None:
    async def scenario() -> None:
        refusal = respond(429, REFUSED, "retry-after: 0.01")
        async with scripted_cloud(refusal) as (engine, server):
            with pytest.raises(DeviceBusy, match="far answered 429: slow down"):
                await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert len(server.asked) == 1 + 1 + ENGINE_RETRIES_MAX

    asyncio.run(scenario())


def test_a_stream_that_breaks_for_being_busy_is_not_begun_again() -> None:
    async def scenario() -> None:
        async with scripted_cloud(pour(BEGUN, OPENED, GREW, OVERLOADED)) as (engine, server):
            with pytest.raises(DeviceBusy, match="too many"):
                await engine.infer(CALL, MODEL, lambda _: None, 5.0, MINE)
            assert len(server.asked) == 2

    asyncio.run(scenario())


def test_each_model_has_limits_of_its_own() -> None:
    async def scenario() -> None:
        other = ModelName("other")
        async with scripted_cloud(respond(200, SAID, LIMITS, left(50_000))) as (engine, _):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert engine.quota(MODEL).limit("tokens") == 60_000
            assert engine.quota(other).limit("tokens") is None

    asyncio.run(scenario())


def said(tokens: int, cached: int) -> Answer:
    usage = f'"input_tokens":{tokens - cached},"cache_read_input_tokens":{cached}'.encode()
    start = SAID.partition(b'"input_tokens"')[0]
    return respond(200, start + usage + b',"output_tokens":1}}')


def test_prompts_that_the_cache_will_not_keep_are_counted_in_full() -> None:
    async def scenario() -> None:
        script = (said(150, 0), said(160, 0), said(2_000, 160), said(2_010, 2_000))
        async with scripted_cloud(*script) as (engine, _):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert engine.kept_tokens("prc_7") == 150  # Until the next answer says otherwise.
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert engine.kept_tokens("prc_7") == 160
            await engine.infer(CALL, MODEL, None, 5.0, Turn(program="prc_8"))
            assert engine.kept_tokens("prc_8") == 2_000

    asyncio.run(scenario())


@asynccontextmanager
async def scripted(*script: Answer) -> AsyncGenerator[Anthropic]:
    async with wrong_engine(MODELS, *script) as server:
        url = server.url.removesuffix("/v1")
        engine = Anthropic(NAME, url, clock=CLOCK, chance=CHANCE, key="secret")
        await engine.start()
        try:
            yield engine
            assert "x-api-key: secret" in server.asked[-1].head.lower()
            assert "anthropic-version: 2023-06-01" in server.asked[-1].head.lower()
        finally:
            await engine.close()


def test_what_anthropic_reads_from_its_cache_is_counted() -> None:
    async def scenario() -> None:
        async with scripted(respond(200, SAID)) as engine:
            made = await engine.infer(CALL, MODEL, None, 5.0)
            assert (made.usage.input_tokens, made.usage.cached_tokens) == (12, 9)

    asyncio.run(scenario())


def event(name: str, fields: str) -> bytes:
    return f'event: {name}\ndata: {{"type":"{name}"{fields}}}\n\n'.encode()


BEGUN = event("message_start", ',"message":{"role":"assistant","model":"fake","content":[]}')
OPENED = event("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}')
GREW = event("content_block_delta", ',"index":0,"delta":{"type":"text_delta","text":"hi"}')
OVERLOADED = event("error", ',"error":{"type":"overloaded_error","message":"too many"}')
WRONG: Mapping[str, tuple[Answer, type[Exception], str]] = {
    "garbage": (respond(200, b"oh"), DeviceFailed, f"{NAME}'s answer can't be read"),
    "a page": (respond(200, b"<html>oh"), DeviceFailed, f"{NAME} answered a page.*'oh'"),
    "nothing": (respond(200, b"{}"), DeviceFailed, "`content` is required"),
    "cut off": (pour(BEGUN, OPENED, GREW, ends=False), DeviceFailed, "cut"),
    "no end": (pour(BEGUN, OPENED, GREW), DeviceFailed, "cut off before its end"),
    "no order": (pour(BEGUN, GREW), DeviceFailed, "can't be read"),
    "overloaded": (pour(BEGUN, OVERLOADED), DeviceBusy, "too many"),
    "refused": (
        respond(400, b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}'),
        DeviceRefused,
        "answered 400: no",
    ),
    "silent": (hang, DeadlineMissed, "more than 0.3 s"),
}


@pytest.mark.parametrize(("answer", "error", "said"), WRONG.values(), ids=WRONG.keys())
def test_an_api_that_breaks_is_a_clear_error_and_never_a_hang(
    answer: Answer, error: type[Exception], said: str
) -> None:
    async def scenario() -> None:
        async with scripted(answer) as engine:
            with pytest.raises(error, match=said):
                await engine.infer(CALL, MODEL, lambda _: None, 0.3)
            assert engine.card().running == 0

    asyncio.run(scenario())


def test_an_api_without_vectors_says_so() -> None:
    async def scenario() -> None:
        async with scripted(respond(200, SAID)) as engine:
            with pytest.raises(DeviceRefused, match="makes no vectors"):
                await engine.embed(Embed(model="fake", inputs=("a",)), MODEL, 5.0)

    asyncio.run(scenario())
