"""The kernel: its tables, its devices, and the one way to record what happens."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from orlop.abi.cards import ToolCard
from orlop.abi.commons import TABLED_KINDS
from orlop.abi.devices import ClaimId
from orlop.abi.egress import NetRule
from orlop.abi.errors import Exhausted, KernelError, NotFound, NotReady
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event, Header
from orlop.abi.files import FilesChanged
from orlop.abi.ids import (
    DEFAULT_TENANT,
    KERNEL_PROCESS,
    CallId,
    KeyId,
    Pid,
    ProcessId,
    ScheduleId,
    Seq,
    TaskId,
    TenantId,
)
from orlop.abi.kernels import KernelView
from orlop.abi.limits import FREE_BYTES_MIN, PROCESSES_MAX
from orlop.abi.memory import MemoryErased
from orlop.abi.processes import ProcessSpawned
from orlop.cluster.commons import Commons
from orlop.context.conversation import Namer
from orlop.effects.functions import Offer
from orlop.files.live import FileStore
from orlop.hardware.bell import Bell
from orlop.hardware.claim import Checkpoint
from orlop.hardware.table import DeviceTable
from orlop.machine.chance import Chance, mint
from orlop.machine.clock import Clock
from orlop.machine.ranges import Count, Limit, Many, Seconds
from orlop.machine.tasks import TaskOwner
from orlop.memory.memories import Memories
from orlop.meter.account import Account
from orlop.meter.usage import PriceConfig
from orlop.models.forms import CardConfig
from orlop.models.ladder import LadderConfig
from orlop.models.registry import Registry
from orlop.models.residents import Residents
from orlop.people.house import Desk
from orlop.people.office import Office
from orlop.sandbox.cells import Cells
from orlop.sched.estimates import Estimates
from orlop.sched.scheduler import Scheduler
from orlop.sched.turns import Turns
from orlop.state import snapshot
from orlop.state.clients import Clients
from orlop.state.codec import KIND, decode, encode, once
from orlop.state.elders import Elders, nowhere
from orlop.state.guard import Guard
from orlop.state.launcher import Launcher
from orlop.state.orders import Orders
from orlop.state.process import Process
from orlop.state.process_table import OVER, Row, check
from orlop.state.refusals import Refusals
from orlop.state.tables import Tables
from orlop.state.web import Web
from orlop.store import whole
from orlop.store.journal import Draft, Journal, Part, Stored
from orlop.store.projection import Projection
from orlop.tools.catalog import Catalog
from orlop.tools.outside import Vault
from orlop.tools.schema import Schema
from orlop.tools.systems import Systems

log = logging.getLogger(__name__)

OUTCOMES: Final = frozenset((CallReturned, CallFailed))
"""What an intent may have one of: their key says so to the journal."""

ERASED: Final = str(MemoryErased.__struct_config__.tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfig:
    """The `[kernel]` table of orlop.toml."""

    await_intents: Literal["paid", "always"] = "paid"
    """Intents that are durable before their call runs: those that cost or act, or all."""
    snapshot_events: Many = 20_000
    """Events between two snapshots of the tables: bounds how much a boot reads."""
    restarts_max: Count = 5
    """Restarts in a row of a process that keeps failing; then it stays down."""
    restart_delay_s: Seconds = 0.2
    """Before the second restart in a row; doubles with each.  The first is at once."""
    device_look_s: Limit = 15.0
    """Between two looks at the devices: what they are, their sensors, their health."""


async def no_neighbours() -> Sequence[KernelView]:
    """Of a kernel that shares its database with nobody."""
    return ()


@dataclass(eq=False, slots=True, kw_only=True)
class Kernel:
    """Built by `boot`, top to bottom."""

    clock: Clock
    chance: Chance
    journal: Journal
    registry: Registry
    scheduler: Scheduler
    tools: Catalog
    launcher: Launcher
    config: KernelConfig
    tables: Tables
    namer: Namer
    tasks: TaskOwner
    processes: dict[ProcessId, Process] = field(default_factory=dict)
    clients: Clients = field(default_factory=Clients)
    residents: Residents = field(default_factory=Residents)
    desk: Desk = field(default_factory=Desk)
    """What people are asked by, and who waits for them."""
    systems: Systems = field(default_factory=Systems)
    """External systems, and what they bear."""
    offers: dict[ProcessId, Offer] = field(default_factory=dict)
    """Functions of programs that run."""
    sagas: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """That are not over, and who attends to each."""
    sagas_changed: dict[str, asyncio.Event] = field(default_factory=dict)
    """Set and forgotten when one has moved."""
    vault: Vault = field(default_factory=Vault)
    """Values that are held outside, by their handles."""
    calls_in_flight: int = 0
    calls_parked: int = 0
    snapshot_seq: Seq = Seq(0)
    closing: bool = False
    cards: Mapping[str, CardConfig] = field(default_factory=dict)
    """Models that come in several forms."""
    ladders: Mapping[str, LadderConfig] = field(default_factory=dict)
    """Names under which several models are tried."""
    devices: DeviceTable = field(default_factory=DeviceTable)
    device_look: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: look at the devices now, not at the next interval."""
    web: Web | None = None
    """What asks servers outside."""
    egress: Sequence[NetRule] = ()
    """Hosts that every process may reach."""
    egress_refusals: dict[ProcessId, Refusals] = field(default_factory=dict)
    cells: Cells | None = None
    """Sandboxes; None where programs are not real (the simulation)."""
    devices_seen: asyncio.Event | None = None
    """Set after the first look; None where nobody looks."""
    checkpoints: dict[ClaimId, Checkpoint] = field(default_factory=dict)
    """How each holder of a device saves its state."""
    bells: dict[ClaimId, Bell] = field(default_factory=dict)
    """How each hears that it must leave."""
    estimates: Estimates = field(default_factory=Estimates)
    prices: Mapping[str, PriceConfig] = field(default_factory=dict)
    """Of models, by name or by `engine/name`."""
    files: FileStore | None = None
    """None: this kernel keeps none."""
    guard: Guard = field(default_factory=Guard)
    """The policy in force."""
    memories: Memories | None = None
    """What agents remember between runs."""
    projections: Sequence[Projection] = ()
    """What is too large for the tables, each in a file of its own."""
    commons: Commons | None = None
    """What it shares with other kernels: memories and files; None: it is alone."""
    name: str = ""
    """Among the kernels that share its database; empty where it shares none."""
    neighbours: Callable[[], Awaitable[Sequence[KernelView]]] = no_neighbours
    """Those kernels, itself included."""
    on_arrival: list[Callable[[int], Awaitable[None]]] = field(default_factory=list)
    """Told the number of each journal that is taken over: its events belong to projections too."""
    elders: Elders = field(init=False)
    """Journals of lost kernels, for the record of their processes that live here now."""
    turns: Turns = field(init=False)
    """The scheduler, for tasks."""

    def __post_init__(self) -> None:
        self.turns = Turns(self.scheduler, self.clock)
        self.elders = Elders(self.journal, self.tables.elders, nowhere)
        self.scheduler.on_order = Orders(self.registry.engines, self.tasks).give

    # Recording.

    def emit(
        self,
        process: ProcessId,
        tenant: TenantId,
        event: Event,
        *,
        call: CallId | None = None,
        cause: Seq | None = None,
        args_digest: bytes | None = None,
        parts: tuple[Part, ...] = (),
    ) -> Header:
        """Append one event and fold it into the tables.

        Raises `JournalStopped`, or `Conflict` where the process's state has no such step; then
        nothing has changed.  It is durable once `journal.durable(header.seq)` has returned.
        """
        if (row := self.tables.rows.get(process)) is not None:
            check(row.state, event)
        body, kind = encode(event), KIND[type(event)]
        place = None if self.commons is None else self.commons.place(kind, tenant)
        header = self.journal.append(
            Draft(
                process=process,
                tenant=tenant,
                kind=kind,
                body=body,
                parts=parts,
                call=call,
                cause=cause,
                key=once(cause) if cause is not None and type(event) in OUTCOMES else None,
                args_digest=args_digest,
                place=place,
            )
        )
        self.tables.apply(header, event)
        if place is None or self.commons is None:
            for projection in self.projections:
                projection.put(header, body)
        else:
            self.tables.place = place
            self.commons.appended(header, body)
        self._appended(header)
        return header

    def emit_whole(
        self,
        process: ProcessId,
        tenant: TenantId,
        entered: CallEntered,
        changed: FilesChanged,
        returned: CallReturned,
        *,
        call: CallId,
        args_digest: bytes,
        parts: tuple[Part, ...],
    ) -> Header:
        """Append a call that is over in this moment, as one event, and fold all that it holds.

        For a kernel that has nothing in common with others: an event of those has its own place.
        """
        events: tuple[Event, Event, Event] = (entered, changed, returned)
        bodies = [encode(event) for event in events]
        header = self.journal.append(
            Draft(
                process=process,
                tenant=tenant,
                kind=whole.KIND,
                body=whole.joined(bodies),
                parts=parts,
                call=call,
                key=once(Seq(self.journal.head_seq + 1)),
                args_digest=args_digest,
            )
        )
        for each, event, body in zip(whole.headers(header), events, bodies, strict=True):
            self.tables.apply(each, event)
            for projection in self.projections:
                projection.put(each, body)
        self._appended(header)
        return header

    def _appended(self, header: Header) -> None:
        self._follow(header.process)
        if header.seq - self.snapshot_seq >= self.config.snapshot_events:
            try:
                self.snapshot()
            except KernelError as error:  # The event itself is in: its caller must not hear of it.
                log.warning("no snapshot this time: %s", error.message)

    @property
    def all_projections(self) -> Sequence[Projection]:
        """Of its own journal, and of what it has in common with others."""
        if self.commons is None or self.files is None or self.memories is None:
            return self.projections
        return (*self.projections, self.files.projection, self.memories.projection)

    async def alone(self) -> None:
        """Until the next wait no other kernel writes what all have in common, and all that others
        have written is here.  Raises `NotReady` where one of them does not let go in time."""
        if self.commons is not None:
            await self.commons.pen(self.commons.followers[0])

    def hear(self, stored: Stored) -> None:
        """Another kernel has changed what all have in common."""
        header = stored.header
        if header.kind in TABLED_KINDS and (event := decode(stored)) is not None:
            self.tables.apply(header, event)
        self.tables.place = header.moment
        if self.files is not None:
            self.files.wake()
        if header.kind == ERASED and self.memories is not None:
            self.tasks.start(self.memories.purge(), "erasure")

    async def part(self, tenant: TenantId, name: bytes) -> bytes:
        """Content by its name, from whichever kernel's journal holds it.  Raises `NotFound`."""
        if self.commons is None:
            return await self.journal.part(tenant, name)
        try:
            return await self.journal.part(tenant, name)
        except NotFound:
            return await self.commons.journals.part(tenant, name)

    async def strike(self, seqs: Sequence[Seq]) -> int:
        """Forget the bodies of the events of these moments.  Returns how many."""
        return await (self.journal if self.commons is None else self.commons.journals).strike(seqs)

    def snapshot(self) -> None:
        """Record the tables as they are, so that the next boot starts from here."""
        self.snapshot_seq = Seq(self.journal.head_seq + 1)
        self.emit(KERNEL_PROCESS, DEFAULT_TENANT, snapshot.taken(self.tables))

    def _follow(self, process: ProcessId) -> None:
        """Let the live half of a row know what has become of it."""
        if (live := self.processes.get(process)) is not None:
            row = self.tables.rows.get(process)
            if row is not None:
                moved = row.state is not live.row.state or row.incarnation != live.row.incarnation
                live.row = row
                if moved:
                    live.moved()

    def admitting(self) -> KernelError | None:
        """Why no call can be admitted now, or None."""
        if self.journal.stopped is not None:
            return self.journal.stopped
        if self.closing:
            return NotReady("the kernel is stopping", retry_after_s=1.0)
        return None

    def short(self) -> KernelError | None:
        """Why no new call can be admitted, although what runs may go on, or None."""
        if self.journal.free_bytes_low():
            return NotReady(
                f"less than {FREE_BYTES_MIN >> 20} MiB are free on the journal's disk "
                "(FREE_BYTES_MIN): make room, and calls are admitted again",
                retry_after_s=10.0,
            )
        return None

    # People: what `people.house` asks for.

    @property
    def office(self) -> Office:
        return self.tables.people

    def card_of(self, tool: str) -> ToolCard | None:
        return self.tools.card(tool)

    def wrong_arguments(self, tool: str, arguments: object) -> str:
        return self.tools.schemas(tool).arguments.wrong(arguments)

    def wrong_result(self, tool: str, value: object) -> str:
        return self.tools.schemas(tool).results.wrong(value)

    def wrong_by(self, schema: dict[str, object], value: object) -> str:
        return Schema(schema).wrong(value)

    # Names.

    def new_call(self) -> CallId:
        return CallId(mint("cal", self.chance, self.clock.wall_ns()))

    def new_process(self) -> ProcessId:
        return ProcessId(mint("prc", self.chance, self.clock.wall_ns()))

    def new_task(self) -> TaskId:
        return TaskId(mint("tsk", self.chance, self.clock.wall_ns()))

    def new_key(self) -> KeyId:
        return KeyId(mint("key", self.chance, self.clock.wall_ns()))

    def new_schedule(self) -> ScheduleId:
        return ScheduleId(mint("sch", self.chance, self.clock.wall_ns()))

    # Processes.

    def spawn(self, id: ProcessId, tenant: TenantId, event: ProcessSpawned) -> Process:
        """Record a new process and give it its place in RAM.  Raises `Exhausted`."""
        if len(self.tables.rows) >= PROCESSES_MAX:
            raise Exhausted(f"{PROCESSES_MAX} processes exist (PROCESSES_MAX)", retry_after_s=60.0)
        # From here on only the journal can fail, before anything has changed.
        self.emit(id, tenant, event)
        return self.attach(self.tables.rows[id])

    def attach(self, row: Row) -> Process:
        """The live half of a row."""
        process = Process(row=row)
        process.moved()
        self.processes[row.id] = process
        if row.is_client:
            self.clients.add(process)
        return process

    def accounts(self, process: Process, token: str = "") -> list[Account]:
        """What its calls use, its own first; token: one with a budget that they come with."""
        line = self.tables.budgeted.among(token, process.row.accounts)
        return self.tables.ledger.line(process.row.tenant, line)

    def next_pid(self) -> Pid:
        return Pid(self.tables.next_pid)

    def find(self, reference: str, tenant: TenantId) -> Process:
        """The tenant's process, by pid, id or name.  Raises `NotFound`."""
        row = self.tables.find(reference, tenant)
        return self.processes.get(row.id) or self.attach(row)

    def get(self, id: ProcessId) -> Process:
        """Raises `NotFound`."""
        if (process := self.processes.get(id)) is None:
            raise NotFound(f"no process {id}; `orlop ps --all` lists all")
        return process

    def children(self, id: ProcessId) -> Sequence[Row]:
        return [row for row in self.tables.rows.values() if row.parent == id]

    def forget(self) -> None:
        """Let go of the live halves of processes that have left the table."""
        for id in tuple(self.tables.gone):
            live = self.processes.get(id)
            if live is not None and live.running:
                continue  # Its calls are being concluded.
            self.tables.gone.discard(id)
            if live is not None:
                del self.processes[id]
                self.clients.discard(live)

    def saga_changes(self, id: str) -> asyncio.Event:
        """Set when the saga moves next."""
        return self.sagas_changed.setdefault(id, asyncio.Event())

    def is_over(self, id: ProcessId) -> bool:
        row = self.tables.rows.get(id)
        return row is None or row.state in OVER
