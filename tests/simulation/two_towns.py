"""Kernels on one database in virtual time: machines are lost, cut off, and come back.

A machine that is lost takes its programs along.  One that is cut off goes on until it knows.  What
agents did is counted in the world outside: nothing twice, nothing told and lost, no two copies.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from simulation.power import LoopClock, Power
from simulation.programs import Machine, Program, TownLauncher
from simulation.town_common import Shelf, TownCommon
from simulation_loop import simulate

from orlop.abi.calls import Call, CallTool, Spawn
from orlop.abi.cards import ToolCard
from orlop.abi.errors import Conflict, DeviceFailed, Fenced, JournalStopped, KernelError, NotReady
from orlop.abi.ids import BootId, JournalId, ProcessId, Seq, TenantId
from orlop.abi.kernels import JournalKnown
from orlop.abi.memory import Item, Recall, Recalled, Remember, Remembered
from orlop.abi.replies import Delta, Reply, ToolResult
from orlop.abi.tenants import TenantOrder
from orlop.cluster.commons import Commons
from orlop.cluster.peers import Me, Peer
from orlop.cluster.witness import Witness
from orlop.context.conversation import Namer
from orlop.kernel import hearing, recovery, syscall
from orlop.kernel.lease import Lease
from orlop.machine.chance import Chance, SeededChance
from orlop.machine.offload import InlineOffload
from orlop.machine.tasks import TaskOwner
from orlop.memory import memories as memory
from orlop.memory.memories import MemoryConfig
from orlop.models.registry import Registry
from orlop.people.house import Desk
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.state.core import Kernel, KernelConfig
from orlop.state.process import Process
from orlop.store.audit import Audit
from orlop.store.chain import GENESIS
from orlop.store.journal import Journal
from orlop.store.keyring import Keyring
from orlop.store.signing_keys import PublicKey
from orlop.store.volatile import VolatileTape
from orlop.subsystems import lifecycle, tenants
from orlop.tools.catalog import Catalog

P = ParamSpec("P")
R = TypeVar("R")

LEASE_S: Final = 4.0
AGENTS: Final = 3
STEPS: Final = 10
TENANT = TenantId("acme")
"""Whose all of them are: each kernel that has one of its processes knows it."""

SHARED: Final = "common/town"
LONGEST_S: Final = 600.0
NAMES: Final = ("east", "west", "south")


@dataclass
class Place:
    """A kernel's row in the database."""

    me: Me
    until_s: float | None
    taken_by: JournalId | None = None
    is_taken: bool = False


@dataclass
class Database:
    """What all share: rows, and the tapes on which the journals are."""

    places: dict[JournalId, Place] = field(default_factory=dict)
    tapes: dict[str, VolatileTape] = field(default_factory=dict)
    shelf: Shelf = field(init=False)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.tapes)


class TownPeers:
    """As PostgreSQL does it: each method is one transaction."""

    def __init__(self, database: Database, clock: LoopClock, machine: "Town") -> None:
        self._places = database.places
        self._tapes = database.tapes
        self._shelf = database.shelf
        self._clock = clock
        self._machine = machine

    def join(self, me: Me) -> Peer | None:
        self._reach()
        found = self._places.get(me.journal)
        if found is not None and found.taken_by is not None and not found.is_taken:
            raise NotReady("being taken over", retry_after_s=1.0)
        heir = None if found is None else found.taken_by
        self._places[me.journal] = Place(me, self._clock.now_s() + LEASE_S, heir, heir is not None)
        return None if heir is None else self._peer(self._places[heir])

    def settled(self, me: Me) -> None:
        place = self._mine(me)
        place.taken_by, place.is_taken = None, False

    def renew(self, me: Me) -> None:
        self._mine(me).until_s = self._clock.now_s() + LEASE_S

    def tell(self, me: Me, token_keys: Sequence[PublicKey]) -> None:
        """Nobody has tokens here."""

    def all(self) -> list[Peer]:
        self._reach()
        return [self._peer(place) for place in self._places.values()]

    def take(self, me: Me, journal: JournalId) -> bool:
        self._reach()
        place = self._places[journal]
        if place.until_s is None or place.until_s >= self._clock.now_s():
            return False
        if place.taken_by is not None and place.taken_by != me.journal:
            heir = self._places.get(place.taken_by)
            if place.is_taken or heir is None or heir.taken_by != me.journal:
                return False
        elif place.is_taken:
            return False
        place.taken_by, place.is_taken = me.journal, False
        self._tapes[place.me.schema].end_epoch(me.boot)
        self._shelf.let_go(journal)
        self._machine.shake()
        return True

    def taken(self, me: Me, journal: JournalId) -> None:
        self._reach()
        place = self._places[journal]
        if place.taken_by == me.journal:
            place.is_taken = True

    def leave(self, me: Me) -> None:
        self._mine(me).until_s = None

    def close(self) -> None:
        pass

    def _reach(self) -> None:
        if self._machine.is_cut_off:
            raise JournalStopped("the database can't be reached")

    def _mine(self, me: Me) -> Place:
        self._reach()
        place = self._places.get(me.journal)
        if place is None or place.me.boot != me.boot:
            raise Fenced("this is another life's lease")
        if place.taken_by is not None and not place.is_taken:
            raise Fenced("taken over")
        return place

    def _peer(self, place: Place) -> Peer:
        head = self._tapes[place.me.schema].head()
        return Peer(
            journal=place.me.journal,
            schema=place.me.schema,
            host=place.me.host,
            url=place.me.url,
            epoch=place.me.epoch,
            lease_s=None if place.until_s is None else place.until_s - self._clock.now_s(),
            head=Seq(0) if head is None else head.seq,
            head_hash=GENESIS if head is None else head.hash,
            taken_by=place.taken_by,
            is_taken=place.is_taken,
        )


class TownWitness(Witness):
    """In RAM: it is lost with its machine, as a home is that burns."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))

    def keep(self, now_s: float) -> None:
        pass


class Disk:
    """Takes its time, and now and then a long one; once the machine is lost, nothing gets there."""

    def __init__(self, power: Power, chance: Chance) -> None:
        self._power, self._chance = power, chance
        self._turn = asyncio.Lock()

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._turn:
            await asyncio.sleep(self._chance.uniform() ** 8 * 0.5)
            if not self._power.is_on:
                raise JournalStopped("the machine is lost")
            return work(*args, **kwargs)

    def close(self) -> None:
        pass


@dataclass
class World:
    """What has really happened, seen by nobody's journal."""

    values: dict[str, int] = field(default_factory=dict)
    """By effect key."""
    keys: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    versions: dict[str, int] = field(default_factory=dict)
    """Of what all agents write: which one each step is."""
    known: int = 0
    """The newest version of what all agents write that any of them was told of."""
    told: dict[str, object] = field(default_factory=dict)
    """What an agent heard as the answer to a step, the first time."""
    newest: dict[str, int] = field(default_factory=dict)
    """The incarnation of each agent that began a tool last."""
    done: set[str] = field(default_factory=set)
    towns: list["Town"] = field(default_factory=list)


class Note:
    """An idempotent tool: the same key, the same value."""

    def __init__(self, world: World, town: "Town", chance: Chance) -> None:
        self._world, self._town, self._chance = world, town, chance

    @property
    def card(self) -> ToolCard:
        return ToolCard(name="note", effect="idempotent", concurrency=8)

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        step = str(arguments["step"])
        if not self._town.power.is_on:
            raise DeviceFailed("the machine is lost")
        await asyncio.sleep(self._chance.uniform() * 0.4)
        if not self._town.power.is_on:
            raise DeviceFailed("the machine is lost")
        self._world.keys[step].add(key)
        value = self._world.values.setdefault(key, len(self._world.values))
        await asyncio.sleep(self._chance.uniform() * 0.4)
        return {"value": value}

    async def happened(self, key: str) -> bool | None:
        return key in self._world.values


class Town:
    """One machine: its kernels one after another, its programs."""

    def __init__(self, name: str, database: Database, world: World, seed: int) -> None:
        self.name, self.world = name, world
        self._database = database
        self._chance = SeededChance(seed)
        self.clock = LoopClock()
        self.tape = database.tapes[name] = VolatileTape()
        self.power = Power()
        self.machine = Machine(self._agent, self._chance)
        self.is_cut_off = False
        self.is_dark = False
        self.calm_s = 0.0
        self._graves: list[Kernel] = []
        """What waits there for a disk that is gone waits for ever, and is no bug."""
        self._shakes: list[asyncio.Future[None]] = []
        self.kernel: Kernel | None = None
        self._lease: Lease | None = None
        self._witness = TownWitness()

    async def boot(self, keyring: Keyring) -> None:
        """Raises `JournalStopped` where it is not the time for it."""
        journal = Journal(
            self.tape,
            keyring,
            self.clock,
            self._chance,
            Disk(self.power, self._chance),
        )
        await journal.open("test", self.name, 1)
        tables, snapshot_seq = await recovery.read_tables(journal)

        async def open_tape(name: str) -> Journal:
            there = self._database.tapes[name]
            elder = Journal(there, keyring, self.clock, self._chance, InlineOffload())
            await elder.open_for_reading()
            return elder

        async def reach(known: JournalKnown) -> Journal:
            return await open_tape(known.schema)

        common = TownCommon(self._database.shelf, lambda: self.is_cut_off or not self.power.is_on)
        wire = Disk(self.power, self._chance)
        commons = Commons(journal, common, wire, open_tape, self.clock)
        memories = memory.build(journal, self.clock, None, MemoryConfig(), commons)
        commons.followers = (memories.projection,)
        kernel = Kernel(
            clock=self.clock,
            chance=self._chance,
            journal=journal,
            registry=Registry([], {}),
            scheduler=Scheduler(SchedulerConfig()),
            tools=Catalog([Note(self.world, self, self._chance)]),
            launcher=TownLauncher(self.machine, self.power, self._chance),
            config=KernelConfig(restarts_max=1_000, restart_delay_s=0.01),
            desk=Desk(),
            tables=tables,
            namer=Namer(journal.name_of),
            tasks=TaskOwner(self.name),
            snapshot_seq=snapshot_seq,
            memories=memories,
            projections=(memories.evidence,),
            commons=commons,
        )
        kernel.elders.reach = reach
        me = Me(
            journal=journal.id,
            schema=self.name,
            host=self.name,
            url=self.name,
            boot=BootId(journal.boot),
            epoch=journal.epoch,
        )
        peers = TownPeers(self._database, self.clock, self)
        self._lease = Lease(
            kernel,
            me,
            LEASE_S,
            self._witness,
            holding=peers,
            asking=peers,
            hold=InlineOffload(),
            ask=InlineOffload(),
        )
        commons.told = kernel.hear
        try:
            await self._lease.join()
            await commons.join(tables.place)
        except JournalStopped:
            await journal.close()
            raise
        await recovery.recover(kernel)
        hearing.begin(kernel)
        self._lease.begin()
        for keeping in (commons.run(), memories.projection.run(), memories.evidence.run()):
            kernel.tasks.start(keeping, "commons")
        self.kernel = kernel

    def shake(self) -> None:
        """It has begun to take another one over: sometimes it is lost itself in the middle."""
        loop = asyncio.get_running_loop()
        if loop.time() < self.calm_s and self._chance.uniform() < 0.4:
            delay_s = self._chance.uniform() * 0.1
            self._shakes.append(asyncio.ensure_future(self._lose_soon(delay_s)))

    async def _lose_soon(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self.kernel is not None:
            await self.lose()

    async def lose(self) -> None:
        """The machine, with all that runs on it."""
        kernel, self.kernel, self.is_dark = self.kernel, None, True
        self.power.cut()
        self.tape.stop()
        for program in self.machine.alive():
            self.machine.kill_shim(program)
        if kernel is not None:
            self._graves.append(kernel)
            await kernel.tasks.close()
        self.tape.crash(self._chance)
        self.power, self._witness, self.is_dark = Power(), TownWitness(), False

    async def give_up(self) -> None:
        """A kernel whose journal has stopped ends, and its supervisor starts the next."""
        kernel, self.kernel = self.kernel, None
        assert kernel is not None
        for program in self.machine.alive():
            self.machine.kill_shim(program)
        await kernel.tasks.close()
        await kernel.journal.close()

    async def spawn(self, name: str) -> None:
        assert self.kernel is not None
        spawn = Spawn(command=(name,), name=name, restart="on-failure")
        if self.kernel.tables.tenants.find(TENANT) is None:
            with suppress(Conflict):  # The other town was faster, and this one has heard of it.
                await tenants.create(self.kernel, TenantOrder(name=TENANT, sandbox=None))
        process = await lifecycle.create(self.kernel, spawn, TENANT)
        await lifecycle.start(self.kernel, process, "first")

    async def _agent(self, program: Program) -> int:
        """A program: each step is a tool call; what it hears must be what it heard before."""
        name = program.command[0]
        for number in range(STEPS):
            kernel, power = self.kernel, self.power
            process = None if kernel is None else kernel.processes.get(program.id)
            if kernel is None or process is None:
                return 1
            step = f"{name}-{number}"
            try:
                call = CallTool(tool="note", arguments={"step": step})
                answer = await self._call(kernel, process, call, program)
                await self._remember(kernel, process, step, power, program)
            except KernelError:
                return 1
            if answer is None or not power.is_on:
                return 1
            assert isinstance(answer, ToolResult)
            said = self.world.told.setdefault(step, answer.value)
            assert said == answer.value, f"{step}: told {said}, then {answer.value}"
            await asyncio.sleep(self._chance.uniform())
        self.world.done.add(name)
        return 0

    async def _call(
        self, kernel: Kernel, process: Process, call: Call, program: Program
    ) -> Reply | None:
        """Its answer; None where there is none."""
        running = syscall.enter(kernel, process, call, incarnation=program.incarnation)
        answer: Reply | None = None
        async for reply in running.replies:
            if not isinstance(reply, Delta):
                answer = reply
        return answer

    async def _remember(
        self, kernel: Kernel, process: Process, step: str, power: Power, program: Program
    ) -> None:
        """All agents write one memory.  Who reads it knows all that anybody was told of before,
        whichever kernel that was; and nobody writes anything twice."""
        world, known = self.world, self.world.known
        item = Item(text=step, key="all")
        wrote = await self._call(
            kernel, process, Remember(items=(item,), namespace=SHARED, embed=False), program
        )
        found = await self._call(kernel, process, Recall(key="all", namespaces=(SHARED,)), program)
        if not isinstance(wrote, Remembered) or not isinstance(found, Recalled):
            raise NotReady("there was no answer")
        if not power.is_on:
            return
        version, seen = wrote.written[0].version, found.memories[0].version
        assert seen >= version, f"{step}: wrote version {version}, and read {seen}"
        assert wrote.facts.replayed or version > known, f"{step}: {known}, then {version}"
        assert found.facts.replayed or seen >= known, f"{step}: {known}, then {seen}"
        said = world.versions.setdefault(step, version)
        assert said == version, f"{step} is version {said}, then {version}"
        world.known = max(world.known, seen)
        for town in world.towns:
            await town.know(world.known)

    async def know(self, version: int) -> None:
        """Whoever looks at this town now must find what any town has told."""
        kernel, power = self.kernel, self.power
        if kernel is None or kernel.memories is None:
            return
        try:
            await kernel.memories.current()
            memory = kernel.memories.with_key(TENANT, SHARED, "all")
            place = None if memory is None else kernel.memories.place(memory)
        except KernelError:
            return
        if power.is_on and kernel.journal.stopped is None:
            newest = 0 if place is None else place.newest
            assert newest >= version, f"{self.name} knows {newest}, and {version} was told"


async def day(seed: int) -> tuple[World, Database]:
    chance = SeededChance(seed * 7 + 1)
    database, world = Database(), World()
    keyring = Keyring.volatile(SeededChance(seed))
    count = 2 + int(chance.uniform() * 2)
    towns = [Town(name, database, world, seed * 10 + at) for at, name in enumerate(NAMES[:count])]
    world.towns += towns
    for town in towns:
        await town.boot(keyring)
    for number in range(AGENTS):
        await towns[number % 2].spawn(f"agent{number}")
    calm_s = asyncio.get_running_loop().time() + 60.0
    for town in towns:
        town.calm_s = calm_s
    keepers = [asyncio.ensure_future(supervise(town, keyring, chance, calm_s)) for town in towns]
    mayhem = asyncio.ensure_future(make_trouble(towns, chance, calm_s))
    async with asyncio.timeout(LONGEST_S):
        while len(world.done) < AGENTS:
            await asyncio.sleep(1.0)
            for keeper in keepers:
                if keeper.done():
                    keeper.result()
    for task in (mayhem, *keepers):
        task.cancel()
    await asyncio.sleep(1.0)
    for town in towns:
        if town.kernel is not None:
            await check_elders(town.kernel)
            await town.give_up()
        await town.machine.close()
    return world, database


async def supervise(town: Town, keyring: Keyring, chance: Chance, calm_s: float) -> None:
    """Starts a kernel wherever there is none."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(0.5)
        if town.kernel is not None and town.kernel.journal.stopped is not None:
            await town.give_up()
        if town.kernel is None and not town.is_dark:
            is_calm = loop.time() > calm_s
            await asyncio.sleep(chance.uniform() * (2.0 if is_calm else 12.0))
            try:
                await town.boot(keyring)
            except JournalStopped:
                continue


async def make_trouble(towns: list[Town], chance: Chance, calm_s: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < calm_s:
        await asyncio.sleep(chance.uniform() * 8.0)
        town = towns[int(chance.uniform() * len(towns))]
        if town.kernel is None:
            continue
        if chance.uniform() < 0.5:
            await town.lose()
        else:
            town.is_cut_off = True
            await asyncio.sleep(chance.uniform() * 3 * LEASE_S)
            town.is_cut_off = False
    for town in towns:
        town.is_cut_off = False


async def check_elders(kernel: Kernel) -> None:
    """All that a lost kernel's journal holds can be had, for projections too."""
    for number, known in kernel.tables.elders.items():
        seqs = [stored.header.seq async for stored, _ in kernel.elders.events(number)]
        assert seqs and seqs == list(range(1, len(seqs) + 1)), known


def check(world: World, database: Database) -> None:
    """I1 was asserted by the agents; I2, I8 and the processes' own sequences are here."""
    assert len(world.told) == AGENTS * STEPS
    assert sorted(world.versions.values()) == list(range(1, AGENTS * STEPS + 1)), "each was once"
    for step, keys in world.keys.items():
        assert len(keys) == 1, f"{step} was done under {len(keys)} keys"
    numbers: defaultdict[ProcessId, list[int]] = defaultdict(list)
    for name, tape in database.tapes.items():
        found = Audit(tape, None, whole=True, progress=None).run()
        assert not found.damage, f"{name}: {found.damage}"
        for row in tape.rows(Seq(1), None, 1_000_000):
            header = header_of(row.text)
            if str(header["process"]) != "prc_kernel":
                numbers[ProcessId(str(header["process"]))].append(int(str(header["process_seq"])))
    for process, taken in numbers.items():
        assert len(taken) == len(set(taken)), f"two events of {process} have one number"


def header_of(text: bytes) -> Mapping[str, object]:
    found: Mapping[str, object] = json.loads(text)
    return found


def run(seed: int) -> None:
    world, database = simulate(seed, day(seed))
    check(world, database)
