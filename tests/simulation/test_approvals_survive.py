"""Approvals while kernels are killed under agents and people: none lost, none used twice."""

import asyncio
import random

import pytest
from simulation.doomed import Doomed, Till
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.errors import KernelError
from orlop.abi.ids import ProcessId
from orlop.abi.questions import AnswerOrder
from orlop.kernel import syscall
from orlop.people import answering, asking
from orlop.state.core import Kernel

ORDERS = 4
SEEDS = 60


class Town(Doomed):
    """And what was told."""

    def __init__(self, here: Computer, kernel: Kernel, chance: random.Random) -> None:
        super().__init__(here, kernel, chance)
        self.approved: list[str] = []

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
        assert sorted(str(paid["order"]) for paid in till.paid.values()) == list("0123"), told
        await here.close(town.kernel)

    on(lambda: Computer(tools=[till]), scenario, seed)
