"""The kernel's tables: a fold of the journal, and the kernel itself in the order of its boot."""

from dataclasses import dataclass, field
from typing import Final

from orlop.abi.budgets import NOTHING, AccountName, BudgetRemoved, BudgetSet
from orlop.abi.capabilities import TokenBudgeted, TokenRevoked
from orlop.abi.devices import DeviceChanged, DeviceClaimed, DeviceErased, DeviceReleased
from orlop.abi.effects import EffectSettled
from orlop.abi.egress import EgressClosed, EgressRefused
from orlop.abi.errors import NotFound
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event, Header
from orlop.abi.files import FileEvent
from orlop.abi.ids import Pid, ProcessId, Seq, TenantId
from orlop.abi.kernels import (
    BodiesPruned,
    JournalKnown,
    KernelsEvent,
    ProcessArrived,
    ProcessLeft,
    TenantForgotten,
)
from orlop.abi.keys import KeyCreated, KeyRevoked
from orlop.abi.limits import WEBHOOKS_KNOWN_MAX
from orlop.abi.memory import MemoryKindSet, MemoryModelChosen, MemoryShared
from orlop.abi.people import PeopleEvent
from orlop.abi.policy import PolicyRemoved, PolicySet
from orlop.abi.processes import ProcessSpawned, ProcessStarted
from orlop.abi.residency import ModelLoaded, ModelMeasured, ModelPinned
from orlop.abi.sagas import SagaDecided, SagaEvent, SagaUndoing, SagaUndone
from orlop.abi.schedules import ScheduleFired, ScheduleRemoved, ScheduleSet
from orlop.abi.tenants import TenantCreated, TenantRemoved
from orlop.abi.tools import Manifest, ToolChanged, ToolPinned, ToolsOffered
from orlop.abi.webhooks import WebhookReceived
from orlop.access.policy_table import Policies
from orlop.files.rules import FileTable
from orlop.machine.clock import NS_PER_S
from orlop.meter.ledger import Held, Ledger
from orlop.people.office import Office
from orlop.state import accounts, saga_holds
from orlop.state.arrivals import belongings, settled_row
from orlop.state.call_table import Calls
from orlop.state.claim_table import Claims
from orlop.state.egress_table import EgressTable
from orlop.state.key_table import Keys
from orlop.state.memory_table import MemoryTable
from orlop.state.model_table import Models
from orlop.state.process_table import OVER, Row, book, reduce, spawn_row
from orlop.state.record import is_unknown
from orlop.state.saga_table import Sagas
from orlop.state.schedule_table import ScheduleTable
from orlop.state.tenant_table import Tenants
from orlop.state.token_budgets import TokenBudgets
from orlop.state.token_table import RevokedTokens

PID_DIGITS_MAX: Final = 18
"""Python refuses to read numbers of thousands of digits."""

EXITED_KEPT_MAX: Final = 2_000
"""Exited processes that stay in the table; older ones are in the journal only."""


@dataclass(eq=False, slots=True)
class Tables:
    """Rows by id.  `apply` is the only thing that changes them, live and at boot alike."""

    next_pid: int = 2
    rows: dict[ProcessId, Row] = field(default_factory=dict)
    tenants: Tenants = field(default_factory=Tenants)
    keys: Keys = field(default_factory=Keys)
    tokens: RevokedTokens = field(default_factory=RevokedTokens)
    budgeted: TokenBudgets = field(default_factory=TokenBudgets)
    """Narrowed tokens with budgets of their own."""
    egress: EgressTable = field(default_factory=EgressTable)
    """What processes have sent out."""
    schedules: ScheduleTable = field(default_factory=ScheduleTable)
    calls: Calls = field(default_factory=Calls)
    claims: Claims = field(default_factory=Claims)
    """Of devices."""
    models: Models = field(default_factory=Models)
    memory: MemoryTable = field(default_factory=MemoryTable)
    """Shares, schemas and models of memories; these themselves are a projection."""
    manifests: dict[str, Manifest] = field(default_factory=dict)
    """What servers say of their tools, by the tool's name."""
    people: Office = field(default_factory=Office)
    """What they are asked, what they allow, who they are."""
    sagas: Sagas = field(default_factory=Sagas)
    offers: dict[ProcessId, ToolsOffered] = field(default_factory=dict)
    """Functions of programs."""
    webhooks: dict[str, ProcessId] = field(default_factory=dict)
    """What each message has started, by `NAME/ID`; the newest."""
    policies: Policies = field(default_factory=Policies)
    """What they are decided by."""
    files: FileTable = field(default_factory=FileTable)
    """What is said of folders; files themselves are a projection."""
    exited: dict[ProcessId, None] = field(default_factory=dict)
    """Exited processes, the longest ago first."""
    pids: dict[Pid, ProcessId] = field(default_factory=dict)
    is_pruned: bool = False
    """Some of what was said is no longer kept."""
    elders: dict[int, JournalKnown] = field(default_factory=dict)
    """Journals of kernels that were lost, whose processes live here now, by their numbers."""
    ledger: Ledger = field(default_factory=Ledger)
    """What budgets allow, and what is used and held of them."""
    place: Seq = Seq(0)
    """The newest event in them of those that kernels have in common."""
    gone: set[ProcessId] = field(default_factory=set)
    """Processes that have left the table, and that nobody has taken leave of yet."""

    def apply(self, header: Header, event: Event) -> None:  # noqa: C901 (one row a kind)
        """Fold one event in."""
        if isinstance(event, (CallEntered, CallReturned, CallFailed)):  # As most are.
            self._call(header, event)
            return
        if isinstance(event, PeopleEvent):
            self._people(header, event)
            return
        if isinstance(event, FileEvent):
            self.files.fold(header, event)
            return
        match event:
            case ProcessSpawned():
                self._spawned(header, event)
            case EgressClosed() | EgressRefused():
                self.egress.fold(header, event)
            case TokenRevoked() | TokenBudgeted():
                self._token(header, event)
            case KeyCreated() | KeyRevoked():
                self.keys.fold(header, event)
            case BudgetSet() | BudgetRemoved():
                self._limit(header, event)
            case ScheduleSet() | ScheduleRemoved() | ScheduleFired():
                self.schedules.fold(header, event)
            case ModelLoaded() | ModelPinned() | ModelMeasured():
                self.models.fold(event)
            case ToolPinned() | ToolChanged():
                self.manifests[event.tool] = manifest(self.manifests.get(event.tool), event)
            case MemoryShared() | MemoryKindSet() | MemoryModelChosen():
                self.memory.fold(header, event)
            case _ if isinstance(event, SagaEvent):
                self._saga(header, event)
            case WebhookReceived():
                self._webhook(header, event)
            case ToolsOffered():
                if header.process in self.rows:
                    self.offers[header.process] = event
            case EffectSettled():
                self._settled(header, event)
            case PolicySet() | PolicyRemoved():
                self.policies.fold(header, event)
            case DeviceChanged() | DeviceClaimed() | DeviceReleased() | DeviceErased():
                self.claims.fold(event)
            case _ if isinstance(event, KernelsEvent):
                self._moved(header, event)
            case _:
                self._process(header, event)

    def _saga(self, header: Header, event: SagaEvent) -> None:
        owner = self.rows.get(header.process)
        self.sagas.fold(header, event, owner)
        if isinstance(event, SagaUndoing) and owner is not None:
            self.policies.undoing(header, event.tool, owner.accounts)
        if isinstance(event, SagaDecided | SagaUndone) and event.saga in self.sagas.rows:
            saga_holds.settle(self.ledger, self.sagas.rows[event.saga], header)

    def _settled(self, header: Header, event: EffectSettled) -> None:
        self.calls.judged(header, event)
        for saga in self.sagas.settled(header, event):
            saga_holds.settle(self.ledger, saga, header)

    def _webhook(self, header: Header, event: WebhookReceived) -> None:
        self.webhooks[f"{event.name}/{event.message}"] = header.process
        while len(self.webhooks) > WEBHOOKS_KNOWN_MAX:
            del self.webhooks[next(iter(self.webhooks))]

    def _people(self, header: Header, event: PeopleEvent) -> None:
        row = self.rows.get(header.process)
        pid, name = (row.pid, row.name) if row is not None else (None, "")
        self.people.fold(header, event, pid, name)

    def _spawned(self, header: Header, event: ProcessSpawned) -> None:
        parent = self.rows.get(event.parent) if event.parent is not None else None
        above = parent.accounts if parent is not None else ()
        if event.token:
            above = (*self.budgeted.line(event.token), *above)
        line = accounts.names(header.process, event, above)
        row = self.rows[header.process] = spawn_row(header, event, line)
        self.pids[event.pid] = header.process
        self.next_pid = max(self.next_pid, event.pid + 1)
        self.ledger.join(row.tenant, line, header.wall_ns)
        if event.parent is not None:
            self.policies.inherit(event.parent, header.process)
        self._budget(row, header)
        if event.schedule is not None and event.due_ns is not None:
            self.schedules.fired(event.schedule, event.due_ns, header.process, 1)

    def _moved(self, header: Header, event: KernelsEvent) -> None:
        match event:
            case TenantForgotten():
                self.is_pruned = True
                self._forget(event.tenant)
            case BodiesPruned():
                self.is_pruned = True
            case TenantCreated() | TenantRemoved():
                self.tenants.fold(header, event)
            case JournalKnown():
                self.elders[event.number] = event
            case ProcessArrived():
                self._arrived(header, event)
            case ProcessLeft():
                self._left(header, event)

    def _arrived(self, header: Header, event: ProcessArrived) -> None:
        """Another kernel's process lives here now; maybe once more."""
        if (earlier := self.rows.pop(header.process, None)) is not None:
            self.exited.pop(earlier.id, None)
            self.pids.pop(earlier.pid, None)
            self.ledger.leave(earlier.tenant, earlier.accounts)
        brought = belongings(event)
        row = self.rows[header.process] = settled_row(brought.row, event.pid)
        self.pids[event.pid] = row.id
        self.next_pid = max(self.next_pid, event.pid + 1)
        self.ledger.join(row.tenant, row.accounts, header.wall_ns)
        if brought.account is not None:
            self.ledger.carry(brought.account)
        for held in brought.holds:
            self.ledger.hold(held, header.wall_ns)
        self.calls.put(brought.open_calls, brought.unknown, brought.settled)
        for question in brought.questions:
            self.people.questions.put(question)
        for saga in brought.sagas:
            self.sagas.put(saga)

    def _left(self, header: Header, event: ProcessLeft) -> None:
        """Its calls end, and are booked, where it lives now."""
        row = self.rows.get(event.process)
        if row is None or row.state in OVER:
            return
        self.rows[row.id] = reduce(row, header, event)
        self.exited[row.id] = None
        for call in [one for one in self.calls.open.values() if one.process == row.id]:
            del self.calls.open[call.call]
            self.ledger.settle(call.call, NOTHING, header.wall_ns)
        for saga in [one for one in self.sagas.rows.values() if one.process == row.id]:
            saga_holds.settle(self.ledger, saga, header, leaves=True)

    def _budget(self, row: Row, header: Header) -> None:
        label = f"process {row.pid} ({row.name})"
        self.ledger.of_process(row.tenant, row.accounts[0], label, row.budget, header.wall_ns)

    def _token(self, header: Header, event: TokenRevoked | TokenBudgeted) -> None:
        if isinstance(event, TokenRevoked):
            self.tokens.fold(header, event)
        elif (row := self.rows.get(header.process)) is not None:
            whose = f"process {row.pid} ({row.name})"
            self.budgeted.fold(header, event, whose, self.ledger)

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
        if isinstance(event, ProcessStarted):
            self.budgeted.drop(row.id, self.ledger)
            if event.budget is not None:
                self._budget(row, header)
        if row.state in OVER:
            self.exited[row.id] = None
            while len(self.exited) > EXITED_KEPT_MAX:
                self._drop(next(iter(self.exited)))
        else:
            self.exited.pop(row.id, None)

    def _drop(self, oldest: ProcessId) -> None:
        row = self.rows.pop(oldest)
        del self.exited[oldest], self.pids[row.pid]
        self.ledger.leave(row.tenant, row.accounts)
        self.budgeted.drop(oldest, self.ledger)
        self.gone.add(oldest)
        self.calls.drop(oldest)
        self.offers.pop(oldest, None)
        self.policies.drop(oldest)
        self.egress.drop(oldest)
        self.people.drop(oldest)

    def _forget(self, tenant: TenantId) -> None:
        """Keep nothing that a removed tenant has said: snapshots are not sealed with its key."""
        row = self.tenants.rows.get(tenant)
        if row is None or row.is_open:
            return
        for id in [one.id for one in self.rows.values() if one.tenant == tenant]:
            self.exited.setdefault(id)
            self._drop(id)
        self.tenants.forget(tenant)
        self.tokens.forget(tenant)
        self.people.forget(tenant)
        self.sagas.forget(tenant)
        self.policies.forget(tenant)
        self.files.forget(tenant)
        self.memory.forget(tenant)
        self.ledger.forget(tenant)

    def _call(self, header: Header, event: CallEntered | CallReturned | CallFailed) -> None:
        assert header.call is not None
        saga = self.sagas.call(header, event)
        row = self.rows.get(header.process)
        if isinstance(event, CallEntered):
            self.calls.entered(header.call, header, event)
            name, line = (row.name, row.accounts) if row is not None else ("", ())
            self.people.entered(header, event, name)
            if row is not None:
                used = self.budgeted.among(event.token, line)
                self._hold(row, header, event, used)
                if event.undo is not None and saga is not None:
                    saga_holds.hold(self.ledger, header, event, row.tenant, used)
            self.policies.entered(header, event, name, line)
        else:
            self.ledger.settle(header.call, accounts.used(event), header.wall_ns)
            self.calls.ended(header.call, event)
            self.policies.ended(header, event)
            is_lost = isinstance(event, CallFailed) and is_unknown(event.code)
            self.people.ended(header, event, is_lost=is_lost)
            if saga is not None:
                saga_holds.settle(self.ledger, saga, header)
        if row is not None:
            self.rows[row.id] = book(row, header, event)

    def _hold(
        self, row: Row, header: Header, event: CallEntered, line: tuple[AccountName, ...]
    ) -> None:
        amount = accounts.held(event)
        if header.call is None or amount is NOTHING:
            return
        held = Held(
            call=header.call,
            tenant=row.tenant,
            accounts=line,
            amount=amount,
            second=header.wall_ns // NS_PER_S,
        )
        self.ledger.hold(held, header.wall_ns)

    def find(self, reference: str, tenant: TenantId) -> Row:
        """A row of the tenant's by pid, id, or name if only one live process has it.

        Raises `NotFound`, of others' processes in the same words.
        """
        is_pid = reference.isascii() and reference.isdecimal() and len(reference) <= PID_DIGITS_MAX
        id = self.pids.get(Pid(int(reference))) if is_pid else ProcessId(reference)
        row = self.rows.get(id) if id is not None else None
        if row is not None and row.tenant == tenant:
            return row
        found: list[Row] = []
        if not is_pid:
            own = (row for row in self.rows.values() if row.tenant == tenant)
            named = [row for row in own if row.name == reference]
            alive = [row for row in named if row.state not in OVER]
            found = alive or named[-1:]
        if len(found) > 1:
            pids = ", ".join(str(row.pid) for row in found)
            raise NotFound(f"{len(found)} processes are called {reference!r}: pids {pids}")
        if not found:
            raise NotFound(f"no process {reference!r}; `orlop ps --all` lists all")
        return found[0]


def manifest(known: Manifest | None, event: ToolPinned | ToolChanged) -> Manifest:
    """What was agreed stays known while the server says something else."""
    if isinstance(event, ToolPinned):
        return Manifest(pinned=event)
    return Manifest(pinned=known.pinned if known is not None else None, changed=event)
