"""Writes of small files are one event: intent, versions and outcome together.

Invariant: nothing is waited for between the admission of such a call and its event, so whatever it
was admitted by (budgets, versions) still holds, and nobody can see it half done.
"""

from orlop.abi.errors import Broken
from orlop.abi.events import CallReturned
from orlop.abi.files import WriteFiles
from orlop.abi.ids import Seq
from orlop.abi.limits import BLOB_BYTES_MIN
from orlop.kernel.admit import Admitted
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import files


def is_brief(kernel: Kernel, process: Process, running: Running, admitted: Admitted) -> bool:
    """Whether `sys_file.write` will wait for nothing, nor anybody for the call's intent."""
    call, store = running.call, kernel.files
    if not isinstance(call, WriteFiles) or store is None or not store.projection.is_ready:
        return False
    if kernel.commons is not None or kernel.config.await_intents == "always":
        return False
    if admitted.durable_intent or admitted.undo is not None:
        return False
    brought = {part.name.hex() for part in running.parts if len(part.data) <= BLOB_BYTES_MIN}
    tenant = process.row.tenant
    return all(
        kernel.tables.files.mount(tenant, one.path) is None
        and all(piece.name in brought for piece in one.pieces)
        for one in call.files
    )


def emit(kernel: Kernel, process: Process, running: Running, returned: CallReturned) -> Seq:
    """Record all of it.  Its versions count from here on."""
    brief = running.brief
    if brief is None or brief.changed is None:
        raise Broken(f"call {running.id} has changed nothing")
    header = kernel.emit_whole(
        process.id,
        process.row.tenant,
        brief.entered,
        brief.changed,
        returned,
        call=running.id,
        args_digest=running.digest,
        parts=running.parts,
    )
    running.seq = header.seq
    files.store(kernel).note(process.row.tenant, brief.changed.changes, brief.sizes, header.moment)
    return header.seq


def enter(kernel: Kernel, process: Process, running: Running) -> None:
    """It has failed: its intent comes before its outcome, as any call's does."""
    if running.brief is not None:
        running.seq = kernel.emit(
            process.id,
            process.row.tenant,
            running.brief.entered,
            call=running.id,
            args_digest=running.digest,
        ).seq
        running.brief = None


def next_seq(kernel: Kernel) -> Seq:
    """That the event will have."""
    return Seq(kernel.journal.head_seq + 1)
