"""llama.cpp's own server, run by an engine host: skipped where `orlop pull smollm2` has not run.

The driver sees it as a server of somebody else's: an address and a key.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from giving_back import goes_on_as_if_never_stopped
from msgspec.structs import replace
from patience import until
from pulled import weights

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Generated
from orlop.devices import engine_host
from orlop.devices.device import Turn
from orlop.devices.llamacpp import LlamaCpp, LlamaCppConfig
from orlop.drivers.llama_server import LlamaServer
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock

WEIGHTS = weights("smollm2")
MODEL = ModelName("smollm2")


@asynccontextmanager
async def serving(folder: Path) -> AsyncGenerator[LlamaServer]:
    """Two slots of 1,024 tokens."""
    config = LlamaCppConfig(
        name=EngineName("host"),
        model=MODEL,
        path=WEIGHTS,
        folder=folder,
        slots=2,
        context_tokens=1024,
    )
    host = LlamaCpp(config, clock=SystemClock(), chance=SystemChance())
    await host.start()
    state = engine_host.read(folder / "host.json")
    assert state is not None
    engine = LlamaServer(
        EngineName("far"),
        state.url,
        clock=SystemClock(),
        chance=SystemChance(),
        key=state.key,
        watch_s=0.05,
    )
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()
        await host.close()


def ask(words: str, tokens: int = 4) -> Infer:
    return Infer(
        model=MODEL,
        messages=(Message("user", words * 60),),
        output_tokens_max=tokens,
        sampling=Sampling(temperature=0.0),
        dialect="openai",
    )


async def say(engine: LlamaServer, program: str, words: str) -> Generated:
    return await engine.infer(ask(words), MODEL, None, 120.0, Turn(program=program))


def test_slots_context_and_load_are_learned(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as engine:
            assert engine.slots == 2
            assert engine.capacity().kv_tokens == 2048
            (card,) = await engine.models()
            assert (card.name, card.context_tokens) == (MODEL, 1024)
            assert not engine.residence.loads
            task = asyncio.ensure_future(
                engine.infer(ask("a long story ", 500), MODEL, lambda _: None, 120.0)
            )
            await until(lambda: (load := engine.load()) is not None and load.running == 1)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(scenario())


def test_a_program_comes_back_to_the_slot_where_its_context_lies(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as engine:
            await say(engine, "a", "red apples ")
            await say(engine, "b", "blue plums ")
            again = await say(engine, "a", "red apples ")
            assert again.usage.cached_tokens > 0.9 * again.usage.input_tokens

    asyncio.run(scenario())


def test_no_tenant_is_helped_by_what_another_has_computed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as engine:
            for program, salt, is_known in (
                ("a", "", False),
                ("b", "11", False),
                ("a", "", True),
                ("c", "22", False),  # In the slot of `b`, whose prompt it shares.
                ("d", "22", False),  # In the slot of `a`.
                ("c", "22", True),
            ):
                turn = Turn(program=program, salt=salt)
                made = await engine.infer(ask("red apples "), MODEL, None, 120.0, turn)
                assert (made.usage.cached_tokens > 0) is is_known, (program, made.usage)

    asyncio.run(scenario())


def test_a_saved_context_is_brought_back_by_the_program_s_next_call(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as engine:
            contexts = engine.contexts
            assert contexts is not None
            first = await say(engine, "a", "red apples ")
            assert await contexts.save("a") >= first.usage.input_tokens
            assert await contexts.save("a") == await contexts.save("nobody") == 0
            await say(engine, "b", "blue plums ")
            await say(engine, "c", "green pears ")
            again = await say(engine, "a", "red apples ")
            assert again.choices == first.choices
            assert again.usage.cached_tokens > 0.9 * again.usage.input_tokens
            await contexts.drop("a")
            await contexts.drop("nobody")

    asyncio.run(scenario())


@pytest.mark.parametrize("stops_after", [0, 1, 7, 40])
def test_a_call_that_gives_its_seat_back_says_in_the_end_what_it_would_have_said(
    tmp_path: Path, stops_after: int
) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as engine:

            async def meanwhile() -> None:
                """Somebody else has the seats, and what lay there is gone."""
                for other in ("b", "c", "d"):
                    await say(engine, other, "blue plums ")

            call = ask("Tell me of the sea, café and 海. ", 60)
            await goes_on_as_if_never_stopped(engine, call, MODEL, stops_after, meanwhile)

    asyncio.run(scenario())


def test_a_call_whose_answer_is_read_by_the_server_is_not_stopped(tmp_path: Path) -> None:
    """A grammar's state is not in its tokens."""

    async def scenario() -> None:
        async with serving(tmp_path) as engine:
            stop = asyncio.Event()
            call = replace(ask("Tell me ", 12), response_format={"type": "json_object"})
            turn = Turn(program="a", yield_now=stop)
            made = await engine.infer(call, MODEL, lambda _: stop.set(), 120.0, turn)
            assert stop.is_set() and made.usage.output_tokens > 1

    asyncio.run(scenario())


def test_what_llama_cpp_would_ignore_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as engine:
            call = Infer(model=MODEL, prompt="once", suffix="the end")
            with pytest.raises(DeviceRefused, match="suffix"):
                await engine.infer(call, MODEL, None, 10.0)

    asyncio.run(scenario())
