"""One kernel in virtual time on a disk in RAM, for tests of one behaviour of the kernel."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from simulation.power import LoopClock, Power
from simulation.programs import Machine, Program, TownLauncher
from simulation_loop import simulate

from orlop.abi.calls import Infer, Spawn
from orlop.abi.ids import DEFAULT_TENANT, EngineName
from orlop.abi.messages import Message
from orlop.abi.replies import Delta, Done
from orlop.context.conversation import Namer
from orlop.devices.device import Tool
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.kernel import recovery
from orlop.kernel.shutdown import shut_down
from orlop.machine.chance import SeededChance
from orlop.machine.offload import InlineOffload
from orlop.machine.tasks import TaskOwner
from orlop.models.registry import Registry
from orlop.people.house import Desk
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.state.core import Kernel, KernelConfig
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.store.journal import Journal
from orlop.store.keyring import Keyring
from orlop.store.volatile import VolatileTape
from orlop.subsystems import lifecycle
from orlop.tools.catalog import Catalog

T = TypeVar("T")


async def _until_ended(program: Program) -> int:
    await asyncio.Event().wait()
    return 0


@dataclass(eq=False, kw_only=True)
class Computer:
    """What outlives a kernel: the disk, the programs, the engine."""

    engine_config: FakeConfig = field(default_factory=FakeConfig)
    tools: Sequence[Tool] = ()
    desk: Callable[[], Desk] = Desk
    body: Callable[[Program], Coroutine[object, object, int]] = _until_ended
    config: KernelConfig = field(default_factory=KernelConfig)
    power: Power = field(default_factory=Power)

    def __post_init__(self) -> None:
        self.chance = SeededChance(1)
        self.clock = LoopClock()
        self.tape = VolatileTape()
        self.keyring = Keyring.volatile(self.chance)
        self.machine = Machine(self.body, self.chance)
        self.engine = FakeEngine(
            EngineName("engine"), self.engine_config, clock=self.clock, chance=self.chance
        )

    async def boot(self) -> Kernel:
        """As `orlop.boot` does it; the engine is ready when it returns."""
        journal = Journal(self.tape, self.keyring, self.clock, self.chance, InlineOffload())
        await journal.open("test", "here", 1)
        tables, snapshot_seq = await recovery.read_tables(journal)
        kernel = Kernel(
            clock=self.clock,
            chance=self.chance,
            journal=journal,
            registry=Registry([self.engine], {}),
            scheduler=Scheduler(SchedulerConfig()),
            tools=Catalog(self.tools),
            launcher=TownLauncher(self.machine, self.power, self.chance),
            config=self.config,
            desk=self.desk(),
            tables=tables,
            namer=Namer(journal.name_of),
            tasks=TaskOwner("kernel"),
            snapshot_seq=snapshot_seq,
        )
        await self.engine.start()
        kernel.registry.learn(self.engine.name, await self.engine.models())
        await recovery.recover(kernel)
        return kernel

    async def crash(self, kernel: Kernel) -> None:
        """SIGKILL: what is not on the disk is lost, and waiting shims start nothing."""
        self.power.cut()
        self.tape.stop()
        self.machine.lose_waiting()
        await kernel.tasks.close()
        self.tape.crash(self.chance)
        self.power = Power()

    async def close(self, kernel: Kernel) -> None:
        await shut_down(kernel)
        await kernel.journal.close()
        await self.machine.close()


def on(
    computer: Callable[[], Computer],
    scenario: Callable[[Computer, Kernel], Coroutine[object, object, T]],
    seed: int = 1,
) -> T:
    """Run `scenario` on a fresh kernel, which is shut down after it."""

    async def whole() -> T:
        here = computer()
        kernel = await here.boot()
        outcome = await scenario(here, kernel)
        await here.close(kernel)
        return outcome

    return simulate(seed, whole())


def ask(text: str, **how: object) -> Infer:
    return Infer(model="fake", messages=(Message("user", text),), **how)  # type: ignore[arg-type]


async def program(kernel: Kernel, **how: object) -> Process:
    """A process that runs a command until it is ended."""
    spawn = Spawn(command=("agent",), **how)  # type: ignore[arg-type]
    process = await lifecycle.create(kernel, spawn, DEFAULT_TENANT)
    await lifecycle.start(kernel, process, "first")
    return process


async def result(running: Running) -> Done:
    """What the call returned; raises what it ended in."""
    async for reply in running.replies:
        if not isinstance(reply, Delta):
            return reply
    raise AssertionError("no end")


async def state(process: Process, wanted: str) -> None:
    """Return when the process's state is `wanted`."""
    while process.row.state != wanted:
        await process.changed.wait()


__all__ = ["Computer", "ask", "on", "program", "result", "state"]
