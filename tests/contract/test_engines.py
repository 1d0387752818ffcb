"""What every driver must do, asked of each driver; the remote one over a real socket."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

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
from msgspec.structs import replace
from openai_surface import surface
from patience import until

from orlop.abi.calls import Embed, Infer, Sampling
from orlop.abi.errors import BadCall, DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message, ToolSpec
from orlop.abi.replies import Delta, Generated
from orlop.devices.device import Engine
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

FAKE, VECTORS = ModelName("fake"), ModelName("fake-embed")
Opened = AbstractAsyncContextManager[tuple[Engine, FakeEngine]]
Driver = Callable[[FakeConfig], Opened]


def fake(config: FakeConfig) -> FakeEngine:
    return FakeEngine(EngineName("f"), config, clock=SystemClock(), chance=SeededChance(1))


@asynccontextmanager
async def arithmetic(config: FakeConfig) -> AsyncGenerator[tuple[Engine, FakeEngine]]:
    engine = fake(config)
    await engine.start()
    yield engine, engine
    await engine.close()


Making = Callable[[str], Engine]
CLOCK, CHANCE = SystemClock(), SeededChance(1)
NAME = EngineName("r")


def served(making: Making, edge: Callable[[FakeEngine], EngineSurface] = EngineSurface) -> Driver:
    """A driver, over a real socket, of a server that speaks as `edge` does."""

    @asynccontextmanager
    async def opened(config: FakeConfig) -> AsyncGenerator[tuple[Engine, FakeEngine]]:
        behind = fake(config)
        async with surface(behind, edge(behind).routes) as (url, _):
            engine = making(url)
            await engine.start()
            try:
                yield engine, behind
            finally:
                await engine.close()

    return opened


def bare(url: str) -> str:
    return url.removesuffix("/v1")


CLAUDE = CloudTerms(dialect="anthropic")
ALL: Mapping[str, Driver] = {
    "fake": arithmetic,
    "openai": served(lambda url: OpenAI(NAME, url, clock=CLOCK, chance=CHANCE)),
    "vllm": served(lambda url: VLLM(NAME, url, clock=CLOCK, chance=CHANCE), VLLMSurface),
    "sglang": served(lambda url: SGLang(NAME, url, clock=CLOCK, chance=CHANCE), SGLangSurface),
    "ollama": served(lambda url: Ollama(NAME, url, clock=CLOCK, chance=CHANCE), OllamaSurface),
    "llama-server": served(
        lambda url: LlamaServer(NAME, url, clock=CLOCK, chance=CHANCE), LlamaSurface
    ),
    "anthropic": served(
        lambda url: Anthropic(NAME, bare(url), clock=CLOCK, chance=CHANCE), AnthropicSurface
    ),
    "cloud": served(lambda url: Cloud(NAME, url, CloudTerms(), clock=CLOCK, chance=CHANCE)),
    "cloud-anthropic": served(
        lambda url: Cloud(NAME, bare(url), CLAUDE, clock=CLOCK, chance=CHANCE), AnthropicSurface
    ),
    "triton": served(
        lambda url: Triton(NAME, bare(url), clock=CLOCK, chance=CHANCE), TritonSurface
    ),
}
_MESSAGES_LACK = frozenset(("choices", "logprobs", "prompt", "vectors"))
LACKS: Mapping[str, frozenset[str]] = {
    "anthropic": _MESSAGES_LACK,
    "cloud-anthropic": _MESSAGES_LACK,
    "triton": frozenset(("chat", "choices", "logprobs", "prompt")),
}
"""What an engine has no words for: that is refused, see the last test."""


def drivers(*needs: str) -> pytest.MarkDecorator:
    able = [name for name in ALL if not LACKS.get(name, frozenset()) & set(needs)]
    return pytest.mark.parametrize("opened", [pytest.param(ALL[name], id=name) for name in able])


def ask(text: str, model: ModelName = FAKE) -> Infer:
    return Infer(model=model, messages=(Message("user", text),), dialect="openai")


async def infer(engine: Engine, call: Infer) -> tuple[list[Delta], Generated]:
    """Streamed and whole; both must say the same."""
    deltas: list[Delta] = []
    streamed = await engine.infer(call, FAKE, deltas.append, 10.0)
    whole = await engine.infer(call, FAKE, None, 10.0)
    assert streamed.choices == whole.choices
    assert streamed.usage == whole.usage
    return deltas, streamed


@drivers("chat")
def test_the_deltas_of_a_stream_are_its_message(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            deltas, made = await infer(engine, ask("where is my order?"))
            assert "".join(delta.text for delta in deltas) == made.choices[0].message.content
            assert len(deltas) > 1
            assert made.usage.output_tokens == 12
            assert made.usage.input_tokens > 0

    asyncio.run(scenario())


@drivers("chat")
def test_the_same_call_has_the_same_answer_and_another_has_another(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            first = await infer(engine, ask("one"))
            assert await infer(engine, ask("one")) == first
            assert (await infer(engine, ask("two")))[1].choices != first[1].choices

    asyncio.run(scenario())


@drivers("chat", "choices")
def test_several_choices_come_under_their_numbers(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            call = replace(ask("three of them"), sampling=Sampling(n=3))
            deltas, made = await infer(engine, call)
            assert [choice.index for choice in made.choices] == [0, 1, 2]
            for choice in made.choices:
                said = [delta.text for delta in deltas if delta.choice == choice.index]
                assert "".join(said) == choice.message.content

    asyncio.run(scenario())


@drivers("chat")
def test_a_tool_call_comes_with_its_id_its_name_and_all_its_arguments(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            call = ask('please [[tool look_up {"order":17}]]')
            deltas, made = await infer(engine, replace(call, tools=(ToolSpec("look_up"),)))
            (use,) = made.choices[0].message.tool_uses
            assert made.choices[0].finish == "tool_calls"
            assert (use.name, use.arguments) == ("look_up", '{"order":17}')
            pieces = [piece for delta in deltas for piece in delta.tool_uses]
            assert [piece.id for piece in pieces] == [use.id, ""]
            assert "".join(piece.arguments for piece in pieces) == use.arguments

    asyncio.run(scenario())


@drivers("chat", "logprobs")
def test_logprobs_come_token_by_token(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig(tokens=3)) as (engine, _):
            call = replace(ask("how sure?"), sampling=Sampling(logprobs=True, top_logprobs=2))
            deltas, made = await infer(engine, call)
            (choice,) = made.choices
            assert "".join(entry.token for entry in choice.logprobs) == choice.message.content
            assert tuple(entry for delta in deltas for entry in delta.logprobs) == choice.logprobs
            assert all(len(entry.top) == 2 for entry in choice.logprobs)

    asyncio.run(scenario())


@drivers("prompt")
def test_a_prompt_without_messages_is_completed(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            call = Infer(model=FAKE, prompt="Once upon a time", output_tokens_max=4)
            deltas, made = await infer(engine, call)
            assert made.choices[0].finish == "length"
            assert "".join(delta.text for delta in deltas) == made.choices[0].message.content

    asyncio.run(scenario())


@drivers("vectors")
def test_vectors_come_in_the_order_of_their_texts(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig(dimensions=8)) as (engine, _):
            texts = ("late parcel", "broken cup", "late parcel")
            embedded = await engine.embed(Embed(model=VECTORS, inputs=texts), VECTORS, 10.0)
            first, second, third = embedded.vectors
            assert first == third != second
            assert len(first) == 8
            assert sum(value * value for value in first) == pytest.approx(1.0)

    asyncio.run(scenario())


@drivers("chat", "vectors")
def test_what_models_there_are_is_told(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            cards = {card.name: card for card in await engine.models()}
            assert cards[FAKE].kind == "chat"
            assert cards[VECTORS].kind == "embed"
            assert {card.engine for card in cards.values()} == {engine.name}
            assert engine.card().health == "ready"

    asyncio.run(scenario())


@drivers()
def test_an_unknown_model_is_refused_with_the_engine_s_own_words(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, behind):
            with pytest.raises(DeviceRefused, match=r"no chat model `nobody`|no model 'nobody'"):
                await engine.infer(ask("hello"), ModelName("nobody"), None, 10.0)
            assert behind.computed == 0

    asyncio.run(scenario())


@drivers("chat")
def test_cancelling_a_call_stops_the_engine_s_work_on_it(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig(decode_s=0.05, tokens=1000)) as (engine, behind):
            for sink in (None, lambda _: None):
                task = asyncio.ensure_future(engine.infer(ask("long"), FAKE, sink, 60.0))
                await until(lambda: behind.running > 0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await until(lambda: behind.running == 0)
            assert behind.computed == 0
            assert engine.card().running == 0

    asyncio.run(scenario())


@drivers("chat")
def test_an_engine_that_dies_in_the_middle_fails_its_calls_and_comes_back(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig(decode_s=0.01, tokens=500)) as (engine, behind):
            deltas: list[Delta] = []
            task = asyncio.ensure_future(engine.infer(ask("hi"), FAKE, deltas.append, 60.0))
            await until(lambda: len(deltas) > 2)
            behind.die(0.05)
            with pytest.raises(DeviceFailed, match=r"dead for a while|broke after"):
                await task
            await until(lambda: behind.card().health == "ready")
            call = replace(ask("again"), output_tokens_max=2)
            assert (await engine.infer(call, FAKE, None, 10.0)).choices

    asyncio.run(scenario())


@drivers("chat")
def test_many_calls_at_once_get_each_its_own_answer(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig(decode_s=0.001)) as (engine, _):

            async def one(number: int) -> str:
                call = ask(f"[[say answer {number}]]")
                made = await engine.infer(call, FAKE, lambda _: None, 60.0)
                return made.choices[0].message.text()

            said = await asyncio.gather(*(one(number) for number in range(40)))
            assert said == [f"answer {number}" for number in range(40)]

    asyncio.run(scenario())


UNSAYABLE: Mapping[str, Infer] = {
    "choices": replace(ask("three"), sampling=Sampling(n=3)),
    "logprobs": replace(ask("how sure?"), sampling=Sampling(logprobs=True)),
    "prompt": Infer(model=FAKE, prompt=(1, 2, 3)),
    "chat": replace(ask("look it up"), tools=(ToolSpec("look_up"),)),
}
REFUSALS = [
    pytest.param(ALL[name], UNSAYABLE[what], id=f"{name}-{what}")
    for name, lacks in LACKS.items()
    for what in sorted(lacks & set(UNSAYABLE))
]


@pytest.mark.parametrize(("opened", "call"), REFUSALS)
def test_what_an_engine_has_no_words_for_is_refused_and_not_ignored(
    opened: Driver, call: Infer
) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, behind):
            with pytest.raises((DeviceRefused, BadCall)):
                await engine.infer(call, FAKE, None, 10.0)
            assert behind.computed == 0

    asyncio.run(scenario())


@drivers()
def test_what_it_can_hold_is_told_without_waiting(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            capacity = engine.capacity()
            assert capacity.slots == engine.slots > 0
            assert capacity.kv_tokens is None or capacity.kv_tokens > 0
            assert capacity.moves_contexts == (engine.contexts is not None)
            load = engine.load()
            assert load is None or (load.running, load.waiting) >= (0, 0)

    asyncio.run(scenario())


@drivers()
def test_a_driver_can_be_started_again_and_leaves_nothing_behind(opened: Driver) -> None:
    async def scenario() -> None:
        async with opened(FakeConfig()) as (engine, _):
            await engine.start()
            assert engine.card().health == "ready"
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())
