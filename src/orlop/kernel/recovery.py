"""From the journal to the tables, and from the tables to what still lives: boot after a crash."""

import logging
from collections.abc import Callable

from orlop.abi.budgets import NOTHING
from orlop.abi.errors import Interrupted, JournalDamaged
from orlop.abi.events import CallFailed, Snapshot
from orlop.abi.ids import DEFAULT_TENANT, Seq
from orlop.abi.questions import CallRefused, Parked
from orlop.kernel import forgetting, parked_calls
from orlop.people import watch
from orlop.state import codec
from orlop.state.call_table import OpenCall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import ALIVE, OVER, State
from orlop.state.snapshot import restored
from orlop.state.tables import Tables
from orlop.store.journal import Journal
from orlop.subsystems import lifecycle, offers, policies, saga

log = logging.getLogger(__name__)

READ_EVENTS = 4_096
"""Events read at once while booting."""


async def read_tables(
    journal: Journal, progress: Callable[[int, int], None] | None = None
) -> tuple[Tables, Seq]:
    """The newest snapshot and what follows it; the snapshot's sequence number (0: none)."""
    tables, seq = Tables(), Seq(0)
    newest = await journal.latest("kernel.snapshot")
    if newest is not None and newest.body is not None:
        event = codec.decode(newest)
        if not isinstance(event, Snapshot):
            raise JournalDamaged(f"event {newest.header.seq} should be a snapshot, and is not")
        from_snapshot = restored(event)
        if from_snapshot is not None:
            tables, seq = from_snapshot, newest.header.seq
    after = seq
    while after < journal.head_seq:
        for stored in await journal.read(Seq(after + 1), limit=READ_EVENTS):
            # What kernels have in common is told in its own order, by `Commons.join`.
            event = codec.decode(stored) if stored.header.place is None else None
            if event is not None:
                tables.apply(stored.header, event)
            after = stored.header.seq
        if progress is not None:
            progress(after, journal.head_seq)
    return tables, seq


async def recover(kernel: Kernel) -> None:
    """Bring the kernel's live half back: close what was cut off, adopt what lives, resume."""
    policies.begin(kernel)
    await forgetting.finish(kernel)
    for row in sorted(kernel.tables.rows.values(), key=lambda row: row.pid):
        kernel.attach(row)
    for open_call in tuple(kernel.tables.calls.open.values()):
        settle(kernel, open_call)
    for waiting in tuple(kernel.office.questions.parked.values()):
        wait_on(kernel, waiting)
    await kernel.journal.flush()
    saga.recover(kernel)
    kernel.tasks.start(watch.run(kernel), "people")
    offers.recover(kernel)
    for process in tuple(kernel.processes.values()):
        kernel.tasks.start(revive(kernel, process), f"revive {process.row.pid}")


def settle(kernel: Kernel, open_call: OpenCall) -> None:
    """A parked call goes on; any other was cut off, and its whole hold is booked."""
    process = kernel.processes.get(open_call.process)
    if open_call.parked is not None and process is not None and not kernel.is_over(process.id):
        parked_calls.rearm(kernel, process, open_call, open_call.parked)
        return
    lost = Interrupted("the kernel was lost while this call ran")
    held = kernel.tables.ledger.holds.get(open_call.call)
    amount = held.amount if held is not None else NOTHING
    kernel.emit(
        open_call.process,
        open_call.tenant,
        CallFailed(
            code=lost.code,
            message=lost.message,
            booked=amount.tokens,
            booked_cost=amount.nano_dollars,
            ran_ns=amount.ns,
        ),
        call=open_call.call,
        cause=open_call.seq,
    )


def wait_on(kernel: Kernel, waiting: Parked) -> None:
    """A call that waits for a person waits on, as long as its program lives: one that is started
    again makes it again, and finds its question."""
    process = kernel.processes.get(waiting.process)
    if process is not None and process.row.state in ALIVE:
        row = process.row
        if row.is_client or (row.caught_up and kernel.launcher.alive(row)):
            parked_calls.wait_again(kernel, process, waiting)
            return
    lost = Interrupted("the program that made this call was lost")
    refused = CallRefused(code=lost.code, message=lost.message)
    tenant = process.row.tenant if process is not None else DEFAULT_TENANT
    kernel.emit(waiting.process, tenant, refused, call=waiting.call)


async def revive(kernel: Kernel, process: Process) -> None:
    """Adopt a program that outlived the last kernel, or bring it back as its rule says."""
    row = process.row
    if row.is_client or row.state in OVER:
        return
    if row.state is State.NEW:
        await lifecycle.begin(kernel, process, "first")
    elif row.state is State.INTERRUPTED:
        if row.restart != "never":
            await lifecycle.restart(kernel, process, row.incarnation)
    elif row.os_pid is None:
        # No command runs before its shim is in the journal, so nothing of this incarnation has.
        await lifecycle.launch(kernel, process)
    elif kernel.launcher.alive(row) and row.caught_up:
        log.info("process %d outlived the last kernel and goes on", row.pid)
        # A stop or cont may have been delivered and then lost with the kernel, or the other way.
        kernel.launcher.signal(row, "stop" if row.state is State.STOPPED else "cont")
        await lifecycle.supervise(kernel, process)
    elif (found := kernel.launcher.ended(row)) is not None:
        await lifecycle.over(kernel, process, row.incarnation, *found)
    else:
        await begin_again(kernel, process)


async def begin_again(kernel: Kernel, process: Process) -> None:
    """Gone, or in the middle of being answered from its record, where nobody knows how far.

    A survivor is ended before a second copy starts; one that was being resumed is resumed.
    """
    row = process.row
    was_resuming = not row.caught_up and row.mode == "resume"
    kernel.launcher.signal(row, "kill")
    lifecycle.interrupt(kernel, process, "the kernel or the machine was lost")
    if was_resuming:
        await lifecycle.begin(kernel, process, "resume")
    elif row.restart != "never":
        await lifecycle.restart(kernel, process, row.incarnation)
