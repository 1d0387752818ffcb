"""Queues before engines that come, go, load and unload: nobody waits where he need not.

Safety: whoever waits waits for every engine that could serve him, give or take a moment, and no
engine is asked while its model is not there.  Liveness: every call is answered.
"""

import asyncio
import os
import random
from dataclasses import dataclass, field

import pytest
from movable_engine import Movable, MovableEngine
from msgspec.structs import replace
from small_kernel import Computer, ask, on, program, result

from orlop.abi.cards import EngineCard
from orlop.abi.errors import DeviceFailed, KernelError
from orlop.abi.replies import Completion
from orlop.abi.residency import ModelOrder
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.sched.check import check
from orlop.sched.work import Work
from orlop.state.core import Kernel
from orlop.subsystems import engines, models, residence

SEEDS = int(os.environ.get("ORLOP_SEEDS", "50"))
FIRST = int(os.environ.get("ORLOP_FIRST_SEED", "0"))
DAY_S = 120.0
MOMENT_S = 0.05


class Moody(MovableEngine):
    """May be away."""

    is_away = False

    def card(self) -> EngineCard:
        card = super().card()
        return replace(card, health="failing", reason="away") if self.is_away else card


@dataclass(eq=False)
class House:
    chance: random.Random
    fleet: list[Moody] = field(default_factory=list)
    answered: int = 0
    moved: int = 0


async def build(here: Computer, kernel: Kernel, house: House) -> None:
    """Of each model a few engines with few seats; the first one is hot and stays."""
    for model in ("m0", "m1"):
        for number in range(house.chance.randint(2, 3)):
            movable = Movable(model, here.clock, size=1, load_s=house.chance.choice((0.3, 2.0)))
            movable.state = "disk" if number else "hot"
            engine = Moody(
                movable,
                clock=here.clock,
                chance=SeededChance(3),
                call_s=house.chance.choice((0.3, 1.5)),
                name=f"{model}-{number}",
                slots=house.chance.randint(1, 2),
            )
            kernel.registry.add(engine)
            kernel.tasks.start(engines.keep(kernel, engine, paid=False), engine.name)
            house.fleet.append(engine)
    await here.clock.sleep(0.1)
    kernel.tasks.start(residence.run(kernel), "residence")


async def customer(here: Computer, kernel: Kernel, house: House) -> None:
    """Asks for several things at once, thinks, asks again."""
    process, number = await program(kernel), 0
    while here.clock.now_s() < DAY_S:
        calls = []
        for _ in range(house.chance.randint(1, 6)):
            number += 1
            call = replace(ask(f"{number}"), model=house.chance.choice(("m0", "m1")))
            calls.append(asyncio.create_task(result(syscall.enter(kernel, process, call))))
        for done in await asyncio.gather(*calls):
            assert isinstance(done, Completion)
            house.answered += 1
        await here.clock.sleep(house.chance.expovariate(1.0))


async def operator(here: Computer, kernel: Kernel, house: House) -> None:
    """Loads and unloads, and engines go away and come back; never the first ones."""
    others = [engine for engine in house.fleet if not engine.name.endswith("-0")]
    while here.clock.now_s() < DAY_S:
        await here.clock.sleep(house.chance.uniform(0.1, 6.0))
        engine = house.chance.choice(others)
        match house.chance.randrange(4):
            case 0:
                engine.is_away = not engine.is_away
            case 1:
                await order(kernel, engine, "unload")
            case _:
                await order(kernel, engine, "load")
    for engine in others:
        engine.is_away = False


async def order(kernel: Kernel, engine: Moody, what: str) -> None:
    name = f"{engine.name}/{engine.movable.model}"
    try:
        if what == "load":
            await models.obey(kernel, ModelOrder(model=name, order="load"))
        else:
            await models.obey(kernel, ModelOrder(model=name, order="unload"))
    except (KernelError, DeviceFailed):
        pass  # It is in use, or away.


async def inspector(here: Computer, kernel: Kernel, house: House) -> None:
    """What could serve a call that waits is looked up anew; it must know of it within a moment."""
    late: dict[Work, tuple[str, ...]] = {}
    while here.clock.now_s() < DAY_S:
        check(kernel.scheduler, here.clock.now_s())
        kernel.residents.check()
        assert not any(engine.asked_cold for engine in house.fleet)
        found: dict[Work, tuple[str, ...]] = {}
        for work, again in tuple(kernel.turns._again.items()):
            ready = {
                name
                for name in again()
                if kernel.scheduler.stations[name].attached and name not in work.candidates
            }
            if ready:
                found[work] = tuple(sorted(ready))
        for work, names in found.items():
            assert late.get(work) != names, f"{work.process} could be served by {names}"
        late = found
        await here.clock.sleep(MOMENT_S)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_who_waits_waits_for_all_that_could_serve_him(seed: int) -> None:
    async def day(here: Computer, kernel: Kernel) -> None:
        house = House(random.Random(seed))
        await build(here, kernel, house)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(house.chance.randint(2, 6)):
                tasks.create_task(customer(here, kernel, house))
            tasks.create_task(operator(here, kernel, house))
            tasks.create_task(inspector(here, kernel, house))
        assert house.answered > 20, f"seed {seed}"
        assert not len(kernel.scheduler.waiting), f"seed {seed}"

    on(Computer, day, seed)
