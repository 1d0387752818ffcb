"""The kernel's tables: a fold of the journal, and the kernel itself in the order of its boot."""

import logging
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.budgets import NOTHING
from orlop.abi.calls import PARKED, Call
from orlop.abi.cards import Measured
from orlop.abi.devices import ClaimId, DeviceName
from orlop.abi.errors import JournalDamaged, NotFound
from orlop.abi.events import (
    BudgetRemoved,
    BudgetSet,
    CallEntered,
    CallFailed,
    CallReturned,
    DeviceChanged,
    DeviceClaimed,
    DeviceErased,
    DeviceReleased,
    Event,
    Header,
    KeyCreated,
    KeyRevoked,
    ModelLoaded,
    ModelMeasured,
    ModelPinned,
    ProcessSpawned,
    ProcessStarted,
    ScheduleFired,
    ScheduleRemoved,
    ScheduleSet,
    Snapshot,
)
from orlop.abi.ids import (
    CallId,
    EngineName,
    KeyId,
    ModelName,
    Nanoseconds,
    Pid,
    ProcessId,
    ScheduleId,
    Seq,
    TenantId,
)
from orlop.abi.limits import COLD_STARTS_KEPT
from orlop.abi.questions import Question, QuestionAnswered, QuestionAsked, QuestionExpired
from orlop.abi.tools import Manifest, ToolChanged, ToolPinned
from orlop.kernel import accounts
from orlop.kernel.process import Row, State, reduce, spawn_row
from orlop.kernel.question_table import Questions
from orlop.kernel.record import is_unknown
from orlop.machine.clock import NS_PER_S
from orlop.meter import ledger
from orlop.meter.ledger import Held, Ledger, LedgerState

log = logging.getLogger(__name__)

STATE_FORMAT: Final = 2
"""Of the snapshot's body; another format is not read, and the journal is read from the start."""

PID_DIGITS_MAX: Final = 18
"""Python refuses to read numbers of thousands of digits."""

EXITED_KEPT_MAX: Final = 2_000
"""Exited processes that stay in the table; older ones are in the journal only."""


class KeyRow(Struct, frozen=True, kw_only=True):
    id: KeyId
    name: str
    secret_digest: str
    created_ns: Nanoseconds
    team: str = ""


class ScheduleRow(Struct, frozen=True, kw_only=True):
    """A schedule.  `decided_ns`: all runs due up to then are started or skipped."""

    set: ScheduleSet
    tenant: TenantId
    decided_ns: Nanoseconds
    last_ns: Nanoseconds | None = None
    process: ProcessId | None = None
    """Of the newest run."""
    runs: int = 0
    skipped: int = 0


class OpenCall(Struct, frozen=True, kw_only=True):
    """An intent without an outcome."""

    call: CallId
    process: ProcessId
    tenant: TenantId
    seq: Seq
    wall_ns: Nanoseconds
    parked: Call | None
    """The call itself if it is parked: it is re-armed at boot."""
    incarnation: int = 0
    nonce: str = ""
    digest: bytes = b""
    effect: str = ""
    """Of a tool call."""
    was_cut_off: bool = False
    """An earlier call of the same effect was: unless this one returns, nobody knows any more."""


class UnknownEffect(Struct, frozen=True):
    """A tool call began and was cut off: whether it took effect, only its tool may know."""

    process: ProcessId
    digest: bytes
    effect: str


class ModelRow(Struct, frozen=True, kw_only=True):
    """What is remembered of a model on an engine: what its cold starts took, newest last."""

    engine: EngineName
    model: ModelName
    bytes: int = 0
    starts: dict[str, tuple[float, ...]] = {}
    """Seconds, by where it lay."""
    pinned: bool | None = None
    """What an operator has said; None: nothing."""


class State2(Struct, kw_only=True):
    """A snapshot's body, format 2.  (Format 1 had no ledger.)"""

    next_pid: int
    rows: list[Row]
    keys: list[KeyRow]
    schedules: list[ScheduleRow]
    open_calls: list[OpenCall]
    unknown: list[UnknownEffect]
    exited: list[ProcessId]
    models: list[ModelRow] = []
    devices: list[DeviceChanged] = []
    claims: list[DeviceClaimed] = []
    unerased: dict[DeviceName, TenantId] = {}
    measured: list[Measured] = []
    manifests: dict[str, Manifest] = {}
    questions: list[Question] = []
    ledger: LedgerState


@dataclass(eq=False, slots=True)
class Tables:
    """Rows by id.  `apply` is the only thing that changes them, live and at boot alike."""

    next_pid: int = 2
    rows: dict[ProcessId, Row] = field(default_factory=dict)
    keys: dict[KeyId, KeyRow] = field(default_factory=dict)
    schedules: dict[ScheduleId, ScheduleRow] = field(default_factory=dict)
    open_calls: dict[CallId, OpenCall] = field(default_factory=dict)
    unknown: dict[tuple[ProcessId, bytes], list[str]] = field(default_factory=dict)
    """Effects of cut-off tool calls that were not made again, by process and digest."""
    devices: dict[DeviceName, DeviceChanged] = field(default_factory=dict)
    """What was last said of each."""
    claims: dict[ClaimId, DeviceClaimed] = field(default_factory=dict)
    """Those that are held."""
    unerased: dict[DeviceName, TenantId] = field(default_factory=dict)
    """Devices that a tenant had alone, and that are not erased since."""
    measured: dict[tuple[ModelName, str], Measured] = field(default_factory=dict)
    """The newest measurement of each artefact of each card."""
    manifests: dict[str, Manifest] = field(default_factory=dict)
    """What servers say of their tools, by the tool's name."""
    questions: Questions = field(default_factory=Questions)
    """To people."""
    exited: dict[ProcessId, None] = field(default_factory=dict)
    """Exited processes, the longest ago first."""
    pids: dict[Pid, ProcessId] = field(default_factory=dict)
    key_ids: dict[str, KeyId] = field(default_factory=dict)
    """Of each key that is not revoked, by its secret's digest."""
    models: dict[tuple[EngineName, ModelName], ModelRow] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    """What budgets allow, and what is used and held of them."""
    gone: set[ProcessId] = field(default_factory=set)
    """Processes that have left the table, and that nobody has taken leave of yet."""

    def apply(self, header: Header, event: Event) -> None:  # noqa: C901 (one row a kind)
        """Fold one event in."""
        match event:
            case ProcessSpawned():
                self._spawned(header, event)
                self.next_pid = max(self.next_pid, event.pid + 1)
                if event.schedule is not None and event.due_ns is not None:
                    self._fired(event.schedule, event.due_ns, header.process, 1)
            case CallEntered() | CallReturned() | CallFailed():
                self._call(header, event)
            case KeyCreated() | KeyRevoked():
                self._key(header, event)
            case BudgetSet() | BudgetRemoved():
                self._limit(header, event)
            case ScheduleSet() | ScheduleRemoved() | ScheduleFired():
                self._schedule(header, event)
            case ModelLoaded() | ModelPinned() | ModelMeasured():
                self._model(event)
            case ToolPinned() | ToolChanged():
                self.manifests[event.tool] = manifest(self.manifests.get(event.tool), event)
            case QuestionAsked() | QuestionAnswered() | QuestionExpired():
                self.questions.fold(header, event, self.rows.get(header.process))
            case DeviceChanged() | DeviceClaimed() | DeviceReleased() | DeviceErased():
                self._device(event)
            case _:
                self._process(header, event)

    def _spawned(self, header: Header, event: ProcessSpawned) -> None:
        parent = self.rows.get(event.parent) if event.parent is not None else None
        line = accounts.names(header.process, event, parent.accounts if parent is not None else ())
        row = self.rows[header.process] = spawn_row(header, event, line)
        self.pids[event.pid] = header.process
        self.ledger.join(row.tenant, line, header.wall_ns)
        self._budget(row, header)

    def _budget(self, row: Row, header: Header) -> None:
        label = f"process {row.pid} ({row.name})"
        self.ledger.of_process(row.tenant, row.accounts[0], label, row.budget, header.wall_ns)

    def _limit(self, header: Header, event: BudgetSet | BudgetRemoved) -> None:
        """An operator's word; without it, a process has its own budget again."""
        if isinstance(event, BudgetSet):
            self.ledger.allow(header.tenant, event.account, event.limit, header.wall_ns)
            return
        self.ledger.allow(header.tenant, event.account, None, header.wall_ns)
        row = self.rows.get(ProcessId(event.account.partition(":")[2]))
        if row is not None and row.accounts[0] == event.account:
            self._budget(row, header)

    def _process(self, header: Header, event: Event) -> None:
        row = self.rows.get(header.process)
        if row is None:
            return
        row = self.rows[row.id] = reduce(row, header, event)
        if isinstance(event, ProcessStarted) and event.budget is not None:
            self._budget(row, header)
        if row.state is State.EXITED:
            self.exited[row.id] = None
            while len(self.exited) > EXITED_KEPT_MAX:
                self._drop(next(iter(self.exited)))
        else:
            self.exited.pop(row.id, None)

    def _drop(self, oldest: ProcessId) -> None:
        row = self.rows.pop(oldest)
        del self.exited[oldest], self.pids[row.pid]
        self.ledger.leave(row.tenant, row.accounts)
        self.gone.add(oldest)
        for process, digest in tuple(self.unknown):
            if process == oldest:
                del self.unknown[process, digest]

    def _call(self, header: Header, event: CallEntered | CallReturned | CallFailed) -> None:
        assert header.call is not None
        self.questions.call(header, event)
        if isinstance(event, CallEntered):
            self.open_calls[header.call] = OpenCall(
                call=header.call,
                process=header.process,
                tenant=header.tenant,
                seq=header.seq,
                wall_ns=header.wall_ns,
                parked=event.body if isinstance(event.body, PARKED) else None,
                incarnation=event.incarnation,
                nonce=event.nonce,
                digest=header.args_digest or b"",
                effect=event.effect,
                was_cut_off=self._resolve(header, event.effect),
            )
            self._hold(header, event)
        else:
            self.ledger.settle(header.call, accounts.used(event), header.wall_ns)
            call = self.open_calls.pop(header.call, None)
            if call is not None and call.effect and _is_open_still(call, event):
                self.unknown.setdefault((call.process, call.digest), []).append(call.effect)
        if (row := self.rows.get(header.process)) is not None:
            self.rows[row.id] = reduce(row, header, event)

    def _hold(self, header: Header, event: CallEntered) -> None:
        row, amount = self.rows.get(header.process), accounts.held(event)
        if row is None or header.call is None or amount == NOTHING:
            return
        held = Held(
            call=header.call,
            tenant=row.tenant,
            accounts=row.accounts,
            amount=amount,
            second=header.wall_ns // NS_PER_S,
        )
        self.ledger.hold(held, header.wall_ns)

    def _resolve(self, header: Header, effect: str) -> bool:
        """Whether a call takes over the effect of one that was cut off."""
        place = (header.process, header.args_digest or b"")
        effects = self.unknown.get(place)
        if effects is None or effect not in effects:
            return False
        effects.remove(effect)
        if not effects:
            del self.unknown[place]
        return True

    def _key(self, header: Header, event: KeyCreated | KeyRevoked) -> None:
        if isinstance(event, KeyCreated):
            self.keys[event.key_id] = KeyRow(
                id=event.key_id,
                name=event.name,
                secret_digest=event.secret_digest,
                created_ns=header.wall_ns,
                team=event.team,
            )
            self.key_ids[event.secret_digest] = event.key_id
        elif (key := self.keys.pop(event.key_id, None)) is not None:
            del self.key_ids[key.secret_digest]

    def _device(self, event: DeviceChanged | DeviceClaimed | DeviceReleased | DeviceErased) -> None:
        match event:
            case DeviceChanged():
                self.devices[event.device] = event
            case DeviceClaimed():
                self.claims[event.claim.id] = event
            case DeviceReleased():
                row = self.claims.pop(event.claim, None)
                alone = [left.claim for left in self.claims.values() if left.claim.exclusive]
                others = {claim.device for claim in alone}
                if row is not None and row.claim.exclusive and event.device not in others:
                    self.unerased[event.device] = row.claim.tenant
            case DeviceErased():
                self.unerased.pop(event.device, None)

    def _schedule(
        self, header: Header, event: ScheduleSet | ScheduleRemoved | ScheduleFired
    ) -> None:
        match event:
            case ScheduleSet():
                self.schedules[event.schedule] = ScheduleRow(
                    set=event, tenant=header.tenant, decided_ns=event.start_ns
                )
            case ScheduleRemoved():
                self.schedules.pop(event.schedule, None)
            case ScheduleFired():
                self._fired(event.schedule, event.due_ns, event.process, event.runs)

    def _fired(
        self, id: ScheduleId, due_ns: Nanoseconds, process: ProcessId | None, runs: int
    ) -> None:
        row = self.schedules.get(id)
        if row is None or row.decided_ns >= due_ns:
            return
        started = process is not None
        self.schedules[id] = replace(
            row,
            decided_ns=due_ns,
            last_ns=due_ns if started else row.last_ns,
            process=process if started else row.process,
            runs=row.runs + (runs if started else 0),
            skipped=row.skipped + (0 if started else runs),
        )

    def _model(self, event: ModelLoaded | ModelPinned | ModelMeasured) -> None:
        if isinstance(event, ModelMeasured):
            self.measured[event.measured.card, event.measured.artefact] = event.measured
            return
        place = (event.engine, event.model)
        row = self.models.get(place) or ModelRow(engine=event.engine, model=event.model)
        if isinstance(event, ModelPinned):
            self.models[place] = replace(row, pinned=event.pinned)
            return
        newest = (*row.starts.get(event.origin, ()), event.seconds)[-COLD_STARTS_KEPT:]
        starts = {**row.starts, event.origin: newest}
        self.models[place] = replace(row, bytes=event.bytes or row.bytes, starts=starts)

    def find(self, reference: str) -> Row:
        """A row by pid, id, or name if only one live process has it.  Raises `NotFound`."""
        if reference.isascii() and reference.isdecimal() and len(reference) <= PID_DIGITS_MAX:
            id = self.pids.get(Pid(int(reference)))
            found = [self.rows[id]] if id is not None else []
        elif (row := self.rows.get(ProcessId(reference))) is not None:
            return row
        else:
            named = [row for row in self.rows.values() if row.name == reference]
            alive = [row for row in named if row.state is not State.EXITED]
            found = alive or named[-1:]
        if len(found) > 1:
            pids = ", ".join(str(row.pid) for row in found)
            raise NotFound(f"{len(found)} processes are called {reference!r}: pids {pids}")
        if not found:
            raise NotFound(f"no process {reference!r}; `orlop ps --all` lists all")
        return found[0]

    def snapshot(self) -> Snapshot:
        state = State2(
            next_pid=self.next_pid,
            rows=list(self.rows.values()),
            keys=list(self.keys.values()),
            schedules=list(self.schedules.values()),
            open_calls=list(self.open_calls.values()),
            unknown=[
                UnknownEffect(process, digest, effect)
                for (process, digest), effects in self.unknown.items()
                for effect in effects
            ],
            exited=list(self.exited),
            models=list(self.models.values()),
            devices=list(self.devices.values()),
            claims=list(self.claims.values()),
            unerased=self.unerased,
            measured=list(self.measured.values()),
            manifests=self.manifests,
            questions=list(self.questions.rows.values()),
            ledger=self.ledger.state(),
        )
        return Snapshot(format=STATE_FORMAT, state=msgspec.Raw(msgspec.json.encode(state)))


def manifest(known: Manifest | None, event: ToolPinned | ToolChanged) -> Manifest:
    """What was agreed stays known while the server says something else."""
    if isinstance(event, ToolPinned):
        return Manifest(pinned=event)
    return Manifest(pinned=known.pinned if known is not None else None, changed=event)


def _is_open_still(call: OpenCall, event: CallReturned | CallFailed) -> bool:
    """Whether nobody knows, after this outcome, if the call's effect has happened."""
    if not isinstance(event, CallFailed):
        return False
    return call.was_cut_off or (event.asked and is_unknown(event.code))


def restored(snapshot: Snapshot) -> Tables | None:
    """The tables as they were; None where the format is another release's."""
    if snapshot.format != STATE_FORMAT:
        log.warning("the snapshot has format %d; reading the whole journal", snapshot.format)
        return None
    try:
        state = msgspec.json.decode(snapshot.state, type=State2)
    except msgspec.DecodeError as error:
        raise JournalDamaged(f"the newest snapshot can't be read: {error}") from error
    tables = Tables(
        next_pid=state.next_pid,
        rows={row.id: row for row in state.rows},
        keys={row.id: row for row in state.keys},
        schedules={row.set.schedule: row for row in state.schedules},
        open_calls={call.call: call for call in state.open_calls},
        exited=dict.fromkeys(state.exited),
        pids={row.pid: row.id for row in state.rows},
        key_ids={row.secret_digest: row.id for row in state.keys},
        models={(row.engine, row.model): row for row in state.models},
        devices={row.device: row for row in state.devices},
        claims={row.claim.id: row for row in state.claims},
        unerased=state.unerased,
        measured={(row.card, row.artefact): row for row in state.measured},
        manifests=state.manifests,
        ledger=ledger.restored(state.ledger),
    )
    for row in state.rows:
        for account in tables.ledger.line(row.tenant, row.accounts):
            account.rows += 1
    for question in state.questions:
        tables.questions.put(question)
    for left in state.unknown:
        tables.unknown.setdefault((left.process, left.digest), []).append(left.effect)
    return tables
