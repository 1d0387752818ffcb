"""The town: one kernel after another on the same disk, and the world that outlives them."""

import asyncio
import contextvars
import random
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Final

from simulation.agents import Agent
from simulation.biller import Bill, Biller
from simulation.client import Client, Headers
from simulation.conditions import Conditions
from simulation.plans import plan
from simulation.power import LIFE, DiskOffload, Lives, LoopClock, Power, PowerCut
from simulation.programs import Machine, Program, TownLauncher
from simulation.tools import EFFECTS, TownTool, World
from simulation.witness import Witness

from orlop.abi.calls import Budget, Call, Infer
from orlop.abi.cards import Effect
from orlop.abi.errors import Conflict, JournalStopped
from orlop.abi.ids import DEFAULT_TENANT, EngineName, Nanoseconds, ProcessId, TenantId
from orlop.abi.rights import EVERYTHING, Rights
from orlop.access.principal import Tokens
from orlop.context.conversation import Namer
from orlop.devices.fake import FakeConfig
from orlop.devices.fake_answers import content_of
from orlop.http.auth import Doorman
from orlop.kernel import recovery, syscall
from orlop.kernel.schedule import Schedules
from orlop.machine.chance import SeededChance
from orlop.machine.tasks import TaskOwner
from orlop.meter.usage import PriceConfig
from orlop.models.registry import Registry
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.state.core import Kernel, KernelConfig
from orlop.state.running import Running
from orlop.store.journal import Journal
from orlop.store.keyring import Keyring
from orlop.store.volatile import VolatileTape
from orlop.subsystems import engines
from orlop.tools.catalog import Catalog

FENCED: Final = 4
"""The status of a copy that found that it is not wanted any more."""

NEVER_NS: Final = Nanoseconds(0)
"""When tokens are made: they do not expire here."""


class Trouble(SeededChance):
    """Draws what goes wrong, until all is calm."""

    is_calm = False

    def uniform(self) -> float:
        drawn = super().uniform()
        return 0.999_999 if self.is_calm else drawn


@dataclass(eq=False, slots=True, kw_only=True)
class Life:
    """One kernel from power on to power off."""

    number: int
    power: Power
    context: contextvars.Context
    kernel: Kernel
    doorman: Doorman
    schedules: Schedules
    entered: list[Running] = field(default_factory=list)

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """As a task of the kernel's own, which dies with it."""
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    def enter(
        self, headers: Headers, call: Call, *, retry: bool, nonce: str
    ) -> asyncio.Task[Running]:
        """What the HTTP server does: who is asking, then the door."""
        work = self._enter(headers, call, retry, nonce)
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    def leave(self, running: Running) -> None:
        """What the HTTP server does when a client's connection ends."""
        if self.power.is_on and not running.ended.is_set():
            self.context.run(running.leave)

    async def _enter(self, headers: Headers, call: Call, retry: bool, nonce: str) -> Running:
        process = await self.doorman.process(self.doorman.caller(headers), headers)
        running = syscall.enter(self.kernel, process, call, retry=retry, nonce=nonce)
        self.entered.append(running)
        return running


@dataclass(frozen=True, slots=True)
class Holding:
    """What a token says of a process; what it holds now, the kernel's table says."""

    id: ProcessId
    incarnation: int
    tenant: TenantId = DEFAULT_TENANT
    rights: Rights = EVERYTHING
    budget: Budget = field(default_factory=Budget)


class Town:
    """`lives`: kernels so far.  `kills`: kernels, programs and shims that were killed."""

    def __init__(self, seed: int, conditions: Conditions) -> None:
        self.seed = seed
        self.conditions = conditions
        self.random = random.Random(f"town {seed}")
        self.chance = SeededChance(seed)
        self.trouble = Trouble(seed + 1)
        self.clock = LoopClock()
        self.tape = VolatileTape()
        self.keyring = Keyring.volatile(self.chance)
        self.tokens = Tokens.volatile(SeededChance(seed), "orlo_operator")
        self.machine = Machine(self._body, self.chance)
        self.world = World()
        self.witness = Witness(self.paid_for)
        self.bills: defaultdict[str, Bill] = defaultdict(Bill)
        """What engines did for each agent, whatever any kernel remembers."""
        self.engines = [self._engine(number) for number in range(conditions.engines)]
        self.tasks = TaskOwner("the town")
        self.life: Life | None = None
        self.lives = 0
        self.kills = 0
        self.passed_at: tuple[str, int] | None = None
        """The fault point, and at which passing from now on it strikes."""
        self._tasks_of = Lives()
        self._power = Power(is_on=False)
        self._risen = asyncio.Event()
        self._fallen = asyncio.Event()
        asyncio.get_running_loop().set_task_factory(self._tasks_of)

    # The kernel's lives.

    async def up(self) -> Life:
        """The kernel that runs, once one does."""
        while self.life is None or not self.life.power.is_on:
            await self._risen.wait()
        return self.life

    async def boot(self) -> Life:
        """Power on.  A boot that is cut short is begun again."""
        while True:
            self.lives += 1
            self._power = power = Power()
            context = contextvars.copy_context()
            context.run(LIFE.set, self.lives)
            loop = asyncio.get_running_loop()
            rising = loop.create_task(self._rise(power, context), context=context.copy())
            lost = loop.create_task(power.lost.wait())
            await asyncio.wait((rising, lost), return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
            gone = rising.cancelled() or not rising.done()
            if power.is_on and not gone and not isinstance(rising.exception(), JournalStopped):
                self.life = rising.result()
                self._risen.set()
                return self.life
            self.mend_disk()
            power.cut()
            await self.bury()
            await asyncio.gather(rising, return_exceptions=True)

    def cut(self) -> None:
        """SIGKILL to the kernel: nothing that it does reaches the world any more."""
        if self._power.is_on:
            self.kills += 1
            self._power.cut()
            self.machine.lose_waiting()
            self._risen.clear()
            self._fallen.set()

    async def keep_up(self) -> None:
        """The supervisor: boot again whenever the kernel is gone."""
        while True:
            await self._fallen.wait()
            await self.bury()
            await self.clock.sleep(self.random.random() * self.conditions.outage_s)
            await self.boot()

    async def bury(self) -> None:
        """Whatever the dead kernel had running is gone before the next one begins."""
        self._fallen.clear()
        await self._tasks_of.end(self.lives)
        self.tape.crash(self.chance)

    def mend_disk(self) -> None:
        """Somebody has made room, or put in another disk."""
        self.tape.faults.commit_fails_at = self.tape.faults.anchor_fails_at = 0

    def pass_point(self, name: str) -> None:
        """The hook of `machine.faults`."""
        if self.passed_at is None or not self._power.is_on or LIFE.get() != self.lives:
            return
        wanted, left = self.passed_at
        if name != wanted:
            return
        self.passed_at = (wanted, left - 1) if left > 1 else None
        if left <= 1:
            self.cut()
            if name.startswith("journal."):
                raise PowerCut(name)

    async def _rise(self, power: Power, context: contextvars.Context) -> Life:
        """As `assembly.build` and `boot.run` do it."""
        conditions = self.conditions
        journal = Journal(
            self.tape,
            self.keyring,
            self.clock,
            self.chance,
            DiskOffload(power, self.chance, conditions.commit_s),
            DiskOffload(power, self.chance, conditions.commit_s / 10),
        )
        await journal.open("simulation", "town", self.lives)
        tables, snapshot_seq = await recovery.read_tables(journal)
        kernel = Kernel(
            clock=self.clock,
            chance=self.chance,
            journal=journal,
            registry=Registry(self.engines, {}),
            scheduler=Scheduler(SchedulerConfig(policy=conditions.policy)),
            tools=Catalog([self._tool(effect, power) for effect in EFFECTS]),
            launcher=TownLauncher(self.machine, power, self.chance),
            config=KernelConfig(
                await_intents=conditions.await_intents,
                snapshot_events=conditions.snapshot_events,
                restarts_max=2,
            ),
            tables=tables,
            namer=Namer(journal.name_of),
            prices={"tiny": PriceConfig(input=1.0, output=4.0), "small": PriceConfig(input=2.0)},
            tasks=TaskOwner("kernel"),
            snapshot_seq=snapshot_seq,
        )
        await recovery.recover(kernel)
        schedules = Schedules(kernel)
        kernel.tasks.start(schedules.run(), "schedules")
        for engine in self.engines:
            kernel.tasks.start(engines.keep(kernel, engine, paid=False))
        return Life(
            number=self.lives,
            power=power,
            context=context,
            kernel=kernel,
            doorman=Doorman(kernel, self.tokens),
            schedules=schedules,
        )

    def _tool(self, effect: Effect, power: Power) -> TownTool:
        return TownTool(
            effect,
            self.world,
            power,
            self.trouble,
            tool_s=self.conditions.tool_s,
            faults=self.conditions.tool_faults,
        )

    def _engine(self, number: int) -> Biller:
        fault = self.conditions.engine_faults / 4
        config = FakeConfig(
            slots=self.conditions.slots,
            models=("tiny", "small"),
            embed_models=("vectors",),
            decode_s=self.conditions.decode_s,
            refuse=fault,
            busy=fault,
            die=fault,
            fail=fault,
            kv_tokens=self.conditions.kv_tokens,
            host_tokens=self.conditions.host_tokens,
            continues=self.conditions.continues,
            tally=True,
        )
        name = EngineName(f"engine{number}")
        return Biller(name, config, self.bills, clock=self.clock, chance=self.trouble)

    # Who lives there.

    def paid_for(self, call: Infer) -> int:
        content, _ = content_of(call)
        return sum(engine.computed_by[content] for engine in self.engines)

    async def _body(self, program: Program) -> int:
        """A command as the machine runs it: an agent with its token, or a schedule's errand."""
        if program.command[0] != "agent":
            await self.clock.sleep(self.random.random() * 3)
            return 0
        token = self.tokens.process(Holding(program.id, program.incarnation), NEVER_NS)
        fields = {"authorization": f"Bearer {token}"}
        try:
            return await self.agent(program.command, fields, program.awake).run()
        except Conflict:
            return FENCED

    def agent(
        self, command: tuple[str, ...], fields: dict[str, str], awake: asyncio.Event
    ) -> Agent:
        way = plan(command, self.conditions)
        client = Client(
            self, fields, self.trouble, drop=self.conditions.drop, named=not way.is_official
        )
        return Agent(command[1], way, client, self.witness, self.chance, awake)
