"""The operating system of the town: programs under shims, which outlive the kernel."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from simulation.power import LIFE, Power

from orlop.abi.ids import ProcessId
from orlop.machine.chance import Chance
from orlop.machine.tasks import TaskOwner
from orlop.state.process_table import Row

DYING_S = 0.05
"""How long a program may go on after a SIGKILL was sent to it, at most."""


@dataclass(eq=False, slots=True, kw_only=True)
class Program:
    """One incarnation's command and its shim."""

    id: ProcessId
    incarnation: int
    os_pid: int
    command: tuple[str, ...]
    begun: bool = False
    is_ending: bool = False
    """It was sent a signal that ends it."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


Body = Callable[[Program], Coroutine[object, object, int]]
"""Runs a program's command to its exit status."""


class Machine:
    """All programs that were ever started.  `statuses`: what shims have left behind."""

    def __init__(self, body: Body, chance: Chance) -> None:
        self._body = body
        self._chance = chance
        self._tasks = TaskOwner("the world")
        self.programs: dict[int, Program] = {}
        self.statuses: dict[tuple[ProcessId, int], tuple[int, str]] = {}

    def start(self, row: Row) -> Program:
        program = Program(
            id=row.id,
            incarnation=row.incarnation,
            os_pid=1_000 + len(self.programs),
            command=row.command,
        )
        program.awake.set()
        self.programs[program.os_pid] = program
        return program

    def go(self, program: Program) -> None:
        """Invariant: a process has one program, and none beside it that may go on."""
        if not program.begun and not program.over.is_set():
            twins = [each for each in self.alive() if each.id == program.id and each.begun]
            assert all(twin.is_ending for twin in twins), f"a second copy of {program.command}"
            program.begun = True
            program.task = self._tasks.start(self._run(program))

    def alive(self) -> list[Program]:
        return [each for each in self.programs.values() if not each.over.is_set()]

    def kill(self, program: Program) -> None:
        """SIGKILL to the command: the shim lives to tell."""
        self._end(program, (-9, "killed by signal 9"))

    def kill_shim(self, program: Program) -> None:
        """The command dies with it, and nobody tells."""
        self._end(program, None)

    def lose_waiting(self) -> None:
        """The kernel is gone: shims that wait for its word start nothing."""
        for program in self.alive():
            if not program.begun:
                self._end(program, None)

    def signal(self, program: Program, number: int) -> None:
        """It takes a moment; until then the program may call."""
        program.is_ending = True
        self._tasks.start(self._kill_slowly(program, (-number, f"killed by signal {number}")))

    async def close(self) -> None:
        await self._tasks.close()

    async def _kill_slowly(self, program: Program, status: tuple[int, str]) -> None:
        await asyncio.sleep(self._chance.uniform() * DYING_S)
        self._end(program, status)

    async def _run(self, program: Program) -> None:
        status = await self._body(program)
        self._end(program, (status, ""))

    def _end(self, program: Program, status: tuple[int, str] | None) -> None:
        if program.over.is_set():
            return
        if status is not None and program.begun:
            self.statuses[program.id, program.incarnation] = status
        program.over.set()
        if program.task is not None and program.task is not asyncio.current_task():
            program.task.cancel()


class TownLauncher:
    """One kernel's hand on the machine; dead when the kernel is."""

    def __init__(self, machine: Machine, power: Power, chance: Chance) -> None:
        self._machine = machine
        self._power = power
        self._chance = chance

    async def launch(self, row: Row) -> tuple[int, float]:
        await asyncio.sleep(self._chance.uniform() * 0.02)
        if not self._power.is_on:
            await asyncio.Event().wait()
        program = self._machine.start(row)
        return program.os_pid, float(program.os_pid)

    def go(self, row: Row) -> None:
        program = self._program(row)
        if self._power.is_on and program is not None:
            _outside(lambda: self._machine.go(program))

    def alive(self, row: Row) -> bool:
        program = self._program(row)
        return program is not None and not program.over.is_set()

    def ended(self, row: Row) -> tuple[int, str] | None:
        return self._machine.statuses.get((row.id, row.incarnation))

    def tally(self, row: Row) -> dict[str, int]:
        return {}

    def signal(self, row: Row, name: str) -> None:
        program = self._program(row)
        if program is None or program.over.is_set() or not self._power.is_on:
            return
        match name:
            case "stop":
                program.awake.clear()
            case "cont":
                program.awake.set()
            case _:
                number = {"kill": 9, "term": 15, "int": 2}[name]
                _outside(lambda: self._machine.signal(program, number))

    async def watch(self, row: Row) -> None:
        program = self._program(row)
        if program is not None:
            await program.over.wait()

    def _program(self, row: Row) -> Program | None:
        return None if row.os_pid is None else self._machine.programs.get(row.os_pid)


def _outside(act: Callable[[], None]) -> None:
    """As the world does it: what is started here outlives the kernel."""
    context = contextvars.copy_context()
    context.run(LIFE.set, 0)
    context.run(act)
