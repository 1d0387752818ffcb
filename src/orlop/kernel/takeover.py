"""A lost kernel's processes come to live here; a kernel that was lost lets its own ones go.

Invariants:
1. Nothing of another kernel is taken before its epoch is over, and nothing of its journal is
   changed: what it did is read there, and goes on here.
2. Arriving is one event a process, durable before anything of it runs here; done twice, it is done
   once, so whoever is interrupted in the middle begins again.
3. What was in flight ends here as after a crash: `recovery` does not know the difference.
"""

import logging
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from orlop.abi.budgets import BudgetSet
from orlop.abi.errors import JournalDamaged
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, JournalId, ProcessId
from orlop.abi.kernels import JournalKnown, ProcessArrived, ProcessLeft
from orlop.abi.keys import KeyCreated
from orlop.abi.schedules import ScheduleRemoved
from orlop.abi.tenants import TenantCreated, TenantRemoved
from orlop.cluster.peers import Peer
from orlop.cluster.witness import Seen
from orlop.kernel import recovery
from orlop.people.carrying import carried
from orlop.state import codec
from orlop.state.arrivals import Belongings, packed
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import OVER, Row, State
from orlop.state.tables import Tables
from orlop.store.journal import Journal
from orlop.store.rows import Stored
from orlop.subsystems import lifecycle, policies

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What has become of a take-over."""

    journal: JournalId
    number: int
    processes: tuple[ProcessId, ...]


async def take_over(kernel: Kernel, peer: Peer, host: str, seen: Seen | None) -> Taken:
    """Let the processes of a kernel arrive whose epoch is over; nothing of them runs yet.

    Durable on return.  host: ours.  seen: of its journal, by us, while it lived.  Raises
    `JournalDamaged`.
    """
    introduction = JournalKnown(number=0, journal=peer.journal, schema=peer.schema, host=peer.host)
    elder = await kernel.elders.reach(introduction)
    await require(elder, seen)
    tables, _ = await recovery.read_tables(elder)
    await told(kernel, tables)
    number = introduce(kernel, introduction, tables)
    await kernel.elders.put(number, elder)
    if is_owed(kernel, tables):
        await kernel.alone()
    arrived: list[ProcessId] = []
    meet(kernel, tables)
    for row in sorted(tables.rows.values(), key=lambda row: row.pid):
        if row.state not in OVER and not is_here(kernel, row.id):
            arrive(kernel, tables, row, elder, number, is_near=peer.host == host)
            arrived.append(row.id)
    take_orders(kernel, tables)
    await kernel.journal.flush()
    log.warning(
        "kernel %s on %s is lost: %d processes live here now", peer.journal, peer.host, len(arrived)
    )
    return Taken(peer.journal, number, tuple(arrived))


async def told(kernel: Kernel, tables: Tables) -> None:
    """What all kernels have in common, as the lost one knew it too: a key that was revoked here is
    no key there."""

    def apply(stored: Stored) -> None:
        if (event := codec.decode(stored)) is not None:
            tables.apply(stored.header, event)

    if kernel.commons is not None:
        await kernel.commons.tell(tables.place, apply)


def is_owed(kernel: Kernel, tables: Tables) -> bool:
    """Whether it has tenants or keys of a time when they were not all kernels'."""
    known = kernel.tables
    return bool(
        tables.tenants.rows.keys() - known.tenants.rows.keys()
        or tables.keys.rows.keys() - known.keys.rows.keys()
    )


async def require(elder: Journal, seen: Seen | None) -> None:
    """Raises `JournalDamaged` where the journal lacks what was seen of it."""
    if seen is None:
        return
    found = await elder.read(seen.seq, seen.seq)
    if not found or found[0].header.hash.hex() != seen.hash:
        raise JournalDamaged(
            f"journal {elder.id} does not hold event {seen.seq} as it was seen here before: was the"
            " database restored from a backup?"
        )


def introduce(kernel: Kernel, elder: JournalKnown, tables: Tables) -> int:
    """Give the journal a number here, and those that it refers to itself."""
    numbers = {known.journal: known.number for known in kernel.tables.elders.values()}
    numbers[kernel.journal.id] = 0
    for journal in (elder.journal, *(known.journal for known in tables.elders.values())):
        numbers.setdefault(journal, max(numbers.values()) + 1)
    ours = {0: numbers[elder.journal]}
    ours |= {known.number: numbers[known.journal] for known in tables.elders.values()}
    heard = [
        replace(
            known,
            number=ours[known.number],
            elders={theirs: ours[its] for theirs, its in known.elders.items() if its in ours},
        )
        for known in tables.elders.values()
    ]
    heard.append(replace(elder, number=ours.pop(0), elders=ours))
    for known in heard:
        if known.number and kernel.tables.elders.get(known.number) != known:
            kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, known)
    return heard[-1].number


def meet(kernel: Kernel, tables: Tables) -> None:
    """Tenants that are not known here, with their own policies: before anything of theirs comes."""
    for row in tables.tenants.rows.values():
        if row.name in kernel.tables.tenants.rows:
            continue
        made = TenantCreated(tenant=row.name, sandbox=row.sandbox, note=row.note)
        kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, made)
        sets = tables.policies.of(row.name)
        for said in (sets.current, sets.shadow):
            if said is not None:
                kernel.emit(KERNEL_PROCESS, row.name, said)
        policies.restore(kernel, row.name)
        if not row.is_open:
            removed = TenantRemoved(tenant=row.name, reason="before it was taken over")
            kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, removed)


def is_here(kernel: Kernel, process: ProcessId) -> bool:
    """Whether it has arrived already: with another kernel's, or before we were interrupted."""
    row = kernel.tables.rows.get(process)
    return row is not None and row.state is not State.ELSEWHERE


def arrive(
    kernel: Kernel, tables: Tables, row: Row, elder: Journal, number: int, *, is_near: bool
) -> None:
    """is_near: its programs ran on this machine, so what is left of them can be ended."""
    near = row if is_near else replace(row, os_pid=None, os_started=None)
    own, calls, seen = row.accounts[:1], tables.calls, partial(kernel.elders.seen, number)
    brought = Belongings(
        row=near,
        account=tables.ledger.row(row.tenant, own[0]) if own else None,
        holds=[held for held in tables.ledger.holds.values() if held.accounts[:1] == own],
        open_calls=[
            replace(one, seq=seen(one.seq)) for one in calls.open.values() if one.process == row.id
        ],
        unknown=[
            replace(one, seq=seen(one.seq))
            for one in calls.unknown_effects()
            if one.process == row.id
        ],
        settled=[
            replace(one, seq=seen(one.seq))
            for one in calls.settled_effects()
            if one.process == row.id
        ],
        questions=[one for one in tables.people.questions.rows.values() if one.process == row.id],
        sagas=[saga for saga in tables.sagas.rows.values() if saga.process == row.id],
    )
    kernel.journal.adopt(row.id, elder.process_head(row.id))
    event = ProcessArrived(pid=kernel.next_pid(), elder=number, state=packed(brought))
    kernel.emit(row.id, row.tenant, event)
    kernel.attach(kernel.tables.rows[row.id])
    for question in brought.questions:
        kernel.desk.stir(question.id)
    for waiting in tables.people.questions.parked.values():
        if waiting.process == row.id:
            kernel.emit(row.id, row.tenant, waiting.parked, call=waiting.call)


def take_orders(kernel: Kernel, tables: Tables) -> None:
    """Clients' keys, schedules, limits, grants and people's tokens, as far as nobody has said
    anything else here."""
    for key in tables.keys.rows.values():
        if key.id not in kernel.tables.keys.rows:
            created = KeyCreated(
                key_id=key.id,
                name=key.name,
                secret_digest=key.secret_digest,
                team=key.team,
                rights=key.rights,
                expires_ns=key.expires_ns,
                operator=key.operator,
            )
            kernel.emit(KERNEL_PROCESS, key.tenant, created)
    for schedule in tables.schedules.rows.values():
        if schedule.set.schedule not in kernel.tables.schedules.rows:
            again = replace(schedule.set, start_ns=schedule.decided_ns)
            kernel.emit(KERNEL_PROCESS, schedule.tenant, again)
    for tenant, order in carried(kernel, tables.people):
        kernel.emit(KERNEL_PROCESS, tenant, order)
    for account in tables.ledger.state().accounts:
        known = kernel.tables.ledger.accounts.get((account.tenant, account.name))
        if account.source == "set" and (known is None or known.source != "set"):
            limit = BudgetSet(account=account.name, limit=account.limit)
            kernel.emit(KERNEL_PROCESS, account.tenant, limit)


async def revive(kernel: Kernel, taken: Taken) -> None:
    """What was cut off ends, and what may go on does, as its restart rule says."""
    arrived = [kernel.get(id) for id in taken.processes]
    for call in tuple(kernel.tables.calls.open.values()):
        if call.process in taken.processes:
            recovery.settle(kernel, call)
    for waiting in tuple(kernel.office.questions.parked.values()):
        if waiting.process in taken.processes:
            recovery.wait_on(kernel, waiting)
    await kernel.journal.flush()
    for process in arrived:
        kernel.tasks.start(_go_on(kernel, process), f"take over {process.row.pid}")


async def _go_on(kernel: Kernel, process: Process) -> None:
    row = process.row
    was_resuming = not row.caught_up and row.mode == "resume"
    if row.is_client:
        return
    if row.state is State.NEW:
        await lifecycle.begin(kernel, process, "first")
    elif was_resuming:
        await lifecycle.begin(kernel, process, "resume")
    elif row.restart != "never":
        await lifecycle.restart(kernel, process, row.incarnation)
    else:  # It waits for somebody to resume it; but what is left of it ends.
        kernel.launcher.signal(row, "kill")


async def leave(kernel: Kernel, peer: Peer) -> None:
    """This kernel was lost, and `peer` has its processes.  Durable on return."""
    for row in tuple(kernel.tables.rows.values()):
        if row.state not in OVER:
            kernel.launcher.signal(row, "kill")
            left = ProcessLeft(process=row.id, journal=peer.journal, host=peer.host, url=peer.url)
            kernel.emit(KERNEL_PROCESS, row.tenant, left)
    for schedule in tuple(kernel.tables.schedules.rows.values()):
        removed = ScheduleRemoved(schedule=schedule.set.schedule)
        kernel.emit(KERNEL_PROCESS, schedule.tenant, removed)
    await kernel.journal.flush()
