"""What is known of models, and what is not known yet."""

import asyncio

import pytest

from orlop.abi.cards import ModelCard
from orlop.abi.errors import NotFound
from orlop.abi.ids import EngineName, ModelName
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock
from orlop.models.registry import Registry

ONE, OTHER = EngineName("one"), EngineName("other")


def registry() -> Registry:
    engines = [
        FakeEngine(name, FakeConfig(), clock=SystemClock(), chance=SeededChance(1))
        for name in (ONE, OTHER)
    ]
    return Registry(engines, {"gpt": ModelName("small")})


def card(engine: EngineName) -> ModelCard:
    return ModelCard(name=ModelName("small"), engine=engine, kind="chat", context_tokens=100)


def test_a_call_waits_for_an_engine_that_has_not_said_yet_what_it_runs() -> None:
    async def scenario() -> None:
        known = registry()
        waiting = asyncio.ensure_future(known.heard("gpt", "chat"))
        known.heard_of(OTHER)
        await asyncio.sleep(0)
        assert not waiting.done()
        known.learn(ONE, [card(ONE)])
        await waiting
        assert known.find("gpt", "chat") == [card(ONE)]

    asyncio.run(scenario())


def test_a_known_model_waits_for_nobody() -> None:
    async def scenario() -> None:
        known = registry()
        known.learn(ONE, [card(ONE)])
        await known.heard("one/small", "chat")

    asyncio.run(scenario())


def test_a_model_is_unknown_once_all_engines_have_been_heard_of() -> None:
    async def scenario() -> None:
        known = registry()
        known.learn(ONE, [card(ONE)])
        known.learn(OTHER, [])
        await known.heard("large", "chat")
        with pytest.raises(NotFound, match="there is: small"):
            known.find("large", "chat")

    asyncio.run(scenario())


def test_an_alias_of_nothing_is_told_with_what_it_stands_for() -> None:
    known = registry()
    for engine in (ONE, OTHER):
        known.learn(engine, [])
    with pytest.raises(NotFound, match=r"'gpt' here \(\[models.aliases\] has it stand for 'small'"):
        known.find("gpt", "chat")
