"""Calls that queue when another engine becomes able to serve them: loaded, back, or new."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from movable_engine import Movable, MovableEngine
from msgspec.structs import replace
from small_kernel import Computer, ask, on, program, result

from orlop.abi.cards import EngineCard
from orlop.abi.ids import EngineName
from orlop.abi.replies import Completion
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.sched.check import check
from orlop.state.core import Kernel
from orlop.subsystems import engines, residence
from orlop.subsystems.held import hot

MODEL, CALL_S, LOAD_S, CALLS = "m", 1.0, 4.0, 20


class Moody(FakeEngine):
    """May be away."""

    is_away = False

    def card(self) -> EngineCard:
        card = super().card()
        return replace(card, health="failing", reason="away") if self.is_away else card


def server(here: Computer, name: str, **config: object) -> Moody:
    """One seat."""
    terms = FakeConfig(
        models=(MODEL,),
        embed_models=(),
        slots=1,
        tokens=1,
        decode_s=CALL_S,
        **config,  # type: ignore[arg-type]
    )
    return Moody(EngineName(name), terms, clock=here.clock, chance=SeededChance(2))


async def add(kernel: Kernel, engine: FakeEngine) -> None:
    kernel.registry.add(engine)
    await engine.start()
    kernel.registry.learn(engine.name, await engine.models())
    residence.attend(kernel, engine)


async def served(
    here: Computer, kernel: Kernel, meanwhile: Callable[[], Awaitable[None]]
) -> tuple[Counter[str], float]:
    """By whom, of calls that came at once; and how long all of them took."""
    process, began_s = await program(kernel), here.clock.now_s()

    async def call(number: int) -> str:
        asked = replace(ask(f"number {number}"), model=MODEL)
        done = await result(syscall.enter(kernel, process, asked))
        assert isinstance(done, Completion) and done.facts.load_s == 0
        return done.facts.engine

    calls = [asyncio.create_task(call(number)) for number in range(CALLS)]
    await here.clock.sleep(0.1)
    await meanwhile()
    check(kernel.scheduler, here.clock.now_s())
    engines = Counter(await asyncio.gather(*calls))
    assert not len(kernel.scheduler.waiting)
    return engines, here.clock.now_s() - began_s


def test_a_call_that_queues_goes_where_its_model_has_been_loaded_meanwhile() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await add(kernel, server(here, "near"))
        movable = Movable(MODEL, here.clock, size=1, load_s=LOAD_S)
        chance = SeededChance(2)
        other = MovableEngine(
            movable, clock=here.clock, chance=chance, call_s=CALL_S, name="other", slots=1
        )
        await add(kernel, other)
        kernel.tasks.start(residence.run(kernel), "residence")
        (row,) = kernel.residents
        by, took_s = await served(here, kernel, lambda: hot(kernel, row))
        assert took_s < LOAD_S + (CALLS - LOAD_S) / 2 + 2 * CALL_S, "else it takes 20 s"
        assert by["other"] >= 7 and other.asked_cold == 0
        assert row.running == 0, "a model that nobody needs is held by nobody"

    on(Computer, scenario)


def test_a_call_that_queues_goes_to_an_engine_that_is_back() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        away = server(here, "away")
        for engine in (server(here, "near"), away):
            await add(kernel, engine)
        away.is_away = True

        async def back() -> None:
            away.is_away = False
            kernel.tasks.start(engines.keep(kernel, away, paid=False), "keep")
            await here.clock.sleep(0.1)

        by, took_s = await served(here, kernel, back)
        assert by["away"] >= 9 and took_s < CALLS / 2 + 2 * CALL_S

    on(Computer, scenario)


@pytest.mark.parametrize("paid", [False, True])
def test_a_newcomer_serves_those_that_wait_unless_it_costs_what_nobody_has_agreed_to(
    paid: bool,
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await add(kernel, server(here, "near"))
        new = server(here, "new")

        async def comes() -> None:
            kernel.registry.add(new)
            kernel.tasks.start(engines.keep(kernel, new, paid=paid), "keep")
            await here.clock.sleep(0.1)

        by, _ = await served(here, kernel, comes)
        assert (by["new"] >= 9) is not paid

    on(Computer, scenario)


def test_who_may_be_served_by_one_engine_only_stays_with_it() -> None:
    """A model's name with its engine names one."""

    async def scenario(here: Computer, kernel: Kernel) -> None:
        await add(kernel, server(here, "near"))
        process = await program(kernel)
        asked = replace(ask("hello"), model=f"near/{MODEL}")
        running = [syscall.enter(kernel, process, asked) for _ in range(4)]
        await here.clock.sleep(0.1)
        await add(kernel, server(here, "new"))
        kernel.tasks.start(
            engines.keep(kernel, kernel.registry.engines[EngineName("new")], paid=False), "keep"
        )
        found = [await result(one) for one in running]
        assert {one.facts.engine for one in found if isinstance(one, Completion)} == {"near"}

    on(Computer, scenario)
