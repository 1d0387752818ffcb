"""Approvals while kernels are killed under agents and people: none lost, none used twice."""

import asyncio
import random
from collections.abc import Mapping

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import KernelError
from orlop.abi.ids import ProcessId
from orlop.abi.questions import AnswerOrder
from orlop.kernel import syscall
from orlop.people import answering, asking
from orlop.state.core import Kernel

ORDERS = 4
SEEDS = 60


class Till:
    """Pays once a key, as an idempotent tool promises; a call takes up to three seconds."""

    card = ToolCard(name="pay", effect="idempotent", approval="always", approval_s=1e6)

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.attempts: list[tuple[str, object]] = []
        self.paid: dict[str, object] = {}

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.attempts.append((key, arguments["order"]))
        await asyncio.sleep(self.chance.uniform(0, 2))
        self.paid[key] = arguments["order"]
        await asyncio.sleep(self.chance.uniform(0, 1))
        return "paid"

    async def happened(self, key: str) -> bool | None:
        return None


class Town:
    """The kernel of the moment, and what was told."""

    def __init__(self, here: Computer, kernel: Kernel, chance: random.Random) -> None:
        self.here = here
        self.kernel = kernel
        self.chance = chance
        self.approved: list[str] = []
        self.kills = 0
        self.dead: list[Kernel] = []
        """What waits in one that crashed must not be collected before the loop ends."""
        self.up = asyncio.Event()
        self.up.set()

    async def agent(self, process: ProcessId, order: int) -> None:
        """Make one call until it is answered."""
        while True:
            await self.up.wait()
            kernel = self.kernel
            try:
                call = CallTool(tool="pay", arguments={"order": order})
                await result(syscall.enter(kernel, kernel.processes[process], call))
                return
            except (KernelError, KeyError, AssertionError):
                await asyncio.sleep(self.chance.uniform(0.1, 0.5))

    async def person(self) -> None:
        """Approve what waits, now and then; a word that was told must hold."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2))
            await self.up.wait()
            kernel = self.kernel
            try:
                for row in asking.listed(kernel, closed=False):
                    await answering.answer(
                        kernel, row.id, AnswerOrder(verdict="approve", person="Grace")
                    )
                    self.approved.append(row.id)
            except KernelError:
                pass

    async def doom(self, kills: int) -> None:
        for _ in range(kills):
            await asyncio.sleep(self.chance.uniform(0, 3))
            self.kills += 1
            self.dead.append(self.kernel)
            self.up.clear()
            await self.here.crash(self.kernel)
            self.kernel = await self.here.boot()
            self.up.set()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_approval_is_used_exactly_once_whenever_the_kernel_dies(seed: int) -> None:
    chance = random.Random(seed)
    till = Till(chance)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = (await program(kernel)).id
        town = Town(here, kernel, chance)
        helpers = [
            asyncio.create_task(town.person()),
            asyncio.create_task(town.doom(chance.randint(1, 8))),
        ]
        await asyncio.gather(*(town.agent(process, order) for order in range(ORDERS)))
        await helpers[1]
        helpers[0].cancel()
        rows = list(town.kernel.tables.people.questions.rows.values())
        told = f"seed {seed}, {town.kills} kills: {[(row.arguments, row.state) for row in rows]}"
        assert sorted(str(row.arguments["order"]) for row in rows) == list("0123"), told
        assert all(row.state == "done" for row in rows), told
        assert set(town.approved) <= {row.id for row in rows}, told
        assert len(town.approved) == len(set(town.approved)), told
        assert sorted(str(order) for order in till.paid.values()) == list("0123"), told
        await here.close(town.kernel)

    on(lambda: Computer(tools=[till]), scenario, seed)
