"""Rights given, narrowed and taken by everybody at once, while kernels are killed: I9."""

import asyncio
import random

import pytest
from simulation.register import Deed, Register
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Call, CallTool, Grant, Infer, Revoke, Spawn
from orlop.abi.capabilities import RightRefused
from orlop.abi.errors import KernelError
from orlop.abi.ids import ProcessId, Seq
from orlop.abi.rights import EVERYTHING
from orlop.access.rights import Narrowing, compiled
from orlop.kernel import syscall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import rights

SEEDS = 60
STEPS = 120
WORDS = ("*", "tool", "tool:a.*", "tool:*.x", "tool:a.x", "model", "model:fake", "spawn", "grant")
DEEDS: list[Deed] = [
    *(("tool", name, "") for name in ("a.x", "a.y", "b.x", "b.y", "x")),
    *(("model", name, "") for name in ("fake", "other")),
    *((family, "", "") for family in ("signal", "ask", "grant")),
    ("spawn", "agent", ""),
    ("memory", "notes", "read"),
]


class Town:
    """Processes that do what they like with the rights that they have."""

    def __init__(self, here: Computer, kernel: Kernel, chance: random.Random) -> None:
        self.here = here
        self.kernel = kernel
        self.chance = chance
        self.outcomes = {True: 0, False: 0}
        self.dead: list[Kernel] = []

    def anybody(self) -> Process:
        row = self.chance.choice(list(self.kernel.tables.rows.values()))
        return self.kernel.processes[row.id]

    def words(self) -> tuple[str, ...]:
        return tuple(self.chance.sample(WORDS, self.chance.randint(0, 4)))

    async def step(self) -> None:
        who, whom = self.anybody(), self.anybody()
        narrowing = None
        if self.chance.random() < 0.3:
            narrowing = Narrowing(compiled(self.words()), f"{self.chance.getrandbits(256):064x}")
        right = self.chance.choice(WORDS)
        calls: list[Call] = [
            Spawn(command=("agent",), allow=self.chance.choice([None, self.words()])),
            Grant(process=ProcessId(whom.id), right=right),
            Revoke(process=ProcessId(whom.id), right=right),
            CallTool(tool=self.chance.choice(["a.x", "a.y", "b.x"])),
            Infer(model="fake", prompt="a"),
        ]
        call = self.chance.choice(calls)
        try:
            await result(syscall.enter(self.kernel, who, call, narrowing=narrowing))
            self.outcomes[True] += 1
        except KernelError:
            self.outcomes[False] += 1

    async def operate(self) -> None:
        """An operator's word."""
        right = self.chance.choice(WORDS)
        try:
            if self.chance.random() < 0.5:
                rights.give(self.kernel, self.anybody(), right, EVERYTHING, "an operator")
            else:
                rights.take(self.kernel, self.anybody(), right, "an operator")
        except KernelError:
            pass

    async def die(self) -> None:
        """At any moment: what was not on the disk is lost."""
        if self.chance.random() < 0.3:
            self.kernel.snapshot()
        if self.chance.random() < 0.7:
            await self.kernel.journal.flush()
        self.dead.append(self.kernel)
        await self.here.crash(self.kernel)
        self.kernel = await self.here.boot()
        if not self.kernel.tables.rows:
            await program(self.kernel)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nobody_ever_holds_or_does_more_than_he_was_given(seed: int) -> None:
    chance = random.Random(seed)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        town = Town(here, kernel, chance)
        await program(kernel)
        await program(kernel, allow=("spawn", "grant", "tool:a.*", "model"))
        for _ in range(STEPS):
            dice = chance.random()
            if dice < 0.02:
                await town.die()
            elif dice < 0.12:
                await town.operate()
            else:
                await asyncio.gather(*(town.step() for _ in range(chance.randint(1, 4))))
        kernel = town.kernel
        await kernel.journal.flush()
        stored = await kernel.journal.read(Seq(1), limit=1_000_000)
        events = [(item.header, event) for item in stored if (event := codec.decode(item))]
        register = Register(DEEDS).read(events)
        assert register.checked, f"seed {seed}: nobody did anything"
        assert any(isinstance(event, RightRefused) for _, event in events), f"seed {seed}"
        for row in kernel.tables.rows.values():
            told = compiled(row.rights)
            now = {deed for deed in DEEDS if told.allows(*deed)}
            assert now == register.may(row.id), f"seed {seed}: process {row.pid}"
        assert min(town.outcomes.values()) > 0, f"seed {seed}: {town.outcomes}"
        await here.close(kernel)

    on(Computer, scenario, seed)
