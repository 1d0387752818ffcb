"""Models that compete for too little memory, under random callers, failing loads, lost engines.

Safety: no device holds more than its budget, no engine is asked while its model is not there, and
what the kernel believes is consistent.  Liveness: a patient call is answered, or told how the load
failed that it waited for; nobody waits longer than all others' turns and loads together.
"""

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from movable_engine import Movable, MovableEngine
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, Exhausted
from orlop.abi.hints import Hints
from orlop.abi.messages import Message
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.models.residency import State, Terms
from orlop.state.core import Kernel
from orlop.subsystems import residence

SEEDS = int(os.environ.get("ORLOP_SEEDS", "50"))
FIRST = int(os.environ.get("ORLOP_FIRST_SEED", "0"))
DEVICE = "arithmetic"
DAY_S = 300.0
PATIENT_S = 3_000.0
CALL_S_MAX = 4.0
FAILING_S_MAX = 10.0


@dataclass(eq=False)
class Conditions:
    """What the seed chooses."""

    chance: random.Random
    budget: int
    movables: list[Movable]
    engines: list[MovableEngine] = field(default_factory=list)
    answered: int = 0
    told: int = 0
    longest_s: float = 0.0

    def bound_s(self) -> float:
        """Of each model a turn (two cold starts), its load, its leaving, and its calls' end."""
        slowest_s = max(movable.load_s for movable in self.movables)
        return len(self.movables) * (3.2 * slowest_s + CALL_S_MAX + 1.0) + FAILING_S_MAX


def conditions(seed: int, here: Computer) -> Conditions:
    chance = random.Random(seed)
    budget = chance.randint(4, 12)
    movables = [
        Movable(
            f"m{number}",
            here.clock,
            size=chance.randint(1, budget),
            load_s=chance.choice((0.2, 1.0, 3.0)),
            sleeps=chance.random() < 0.3,
        )
        for number in range(chance.randint(2, 6))
    ]
    return Conditions(chance, budget, movables)


async def open_house(here: Computer, kernel: Kernel, now: Conditions) -> None:
    kernel.residents.budgets = {DEVICE: now.budget}
    kernel.residents.terms = Terms(memory_price=now.chance.choice((0.0, 1e6, 1e9)))
    for movable in now.movables:
        call_s = now.chance.choice((0.2, 1.0, CALL_S_MAX))
        engine = MovableEngine(movable, clock=here.clock, chance=SeededChance(3), call_s=call_s)
        now.engines.append(engine)
        kernel.registry.add(engine)
        await engine.start()
        kernel.registry.learn(engine.name, await engine.models())
        residence.attend(kernel, engine)
    residence.begin(kernel, now.engines)
    kernel.tasks.start(residence.run(kernel), "residence")


async def customer(here: Computer, kernel: Kernel, now: Conditions, likes: Sequence[str]) -> None:
    """Asks for one of a few models, thinks, asks again; each call waits as long as it takes."""
    process = await program(kernel)
    think_s = now.chance.choice((0.01, 0.1, 1.0, 10.0))
    number = 0
    while here.clock.now_s() < DAY_S:
        began_s, number = here.clock.now_s(), number + 1
        call = Infer(
            model=now.chance.choice(likes),
            messages=(Message("user", f"{process.row.pid} {number}"),),
            hints=Hints(deadline_s=PATIENT_S),
        )
        try:
            await result(syscall.enter(kernel, process, call))
            now.answered += 1
        except (DeviceFailed, Exhausted):
            now.told += 1
            await here.clock.sleep(1.0)
        now.longest_s = max(now.longest_s, here.clock.now_s() - began_s)
        await here.clock.sleep(think_s * now.chance.uniform(0.5, 1.5))


async def mischief(here: Computer, kernel: Kernel, now: Conditions) -> None:
    """Loads that fail for a while; engines that lose an idle model."""
    while here.clock.now_s() < DAY_S:
        await here.clock.sleep(now.chance.uniform(5.0, 60.0))
        movable = now.chance.choice(now.movables)
        row = next(row for row in kernel.residents if row.model == movable.model)
        if now.chance.random() < 0.5:
            movable.failing = "out of memory"
            await here.clock.sleep(now.chance.uniform(1.0, FAILING_S_MAX))
            movable.failing = ""
        elif row.state is State.HOT and not row.running and not row.waiting:
            movable.state = "disk"
            row_seen = movable.resident()[movable.model]
            residence.look(kernel, row, row_seen)


async def inspector(here: Computer, kernel: Kernel, now: Conditions) -> None:
    """Looks all the time, at moments of its own."""
    while here.clock.now_s() < DAY_S:
        kernel.residents.check()
        assert kernel.residents.held_bytes(DEVICE) <= now.budget
        assert not any(engine.asked_cold for engine in now.engines)
        await here.clock.sleep(now.chance.uniform(0.01, 1.0))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_models_share_what_memory_there_is_and_nobody_waits_for_ever(seed: int) -> None:
    async def day(here: Computer, kernel: Kernel) -> None:
        now = conditions(seed, here)
        await open_house(here, kernel, now)
        names = [str(movable.model) for movable in now.movables]
        customers = [
            customer(here, kernel, now, now.chance.sample(names, now.chance.randint(1, len(names))))
            for _ in range(now.chance.randint(2, 10))
        ]
        async with asyncio.TaskGroup() as tasks:
            for work in (*customers, mischief(here, kernel, now), inspector(here, kernel, now)):
                tasks.create_task(work)
        assert now.answered, f"seed {seed}"
        assert now.longest_s <= now.bound_s(), f"seed {seed}: waited {now.longest_s:.0f} s"

    on(Computer, day, seed)
