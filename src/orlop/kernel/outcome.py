"""How a call ends: its outcome in the journal, its holds settled, and only then its answer told."""

import logging
from typing import Final

from msgspec.structs import replace

from orlop.abi.budgets import NOTHING
from orlop.abi.contexts import Context
from orlop.abi.errors import (
    BadCall,
    Broken,
    DeviceBusy,
    DeviceRefused,
    KernelError,
)
from orlop.abi.events import CallFailed, CallReturned
from orlop.abi.files import Contents
from orlop.abi.ids import Nanoseconds, Seq
from orlop.abi.memory import Recalled
from orlop.abi.replies import Completion, Done
from orlop.context.conversation import extend
from orlop.kernel import brief, replay
from orlop.kernel.admit import Admitted
from orlop.machine.clock import NS_PER_S
from orlop.machine.faults import point
from orlop.state import accounts, codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.store.journal import Part
from orlop.subsystems import (
    file_content,
    memory_content,
    tainted,
)
from orlop.subsystems.described import Described

log = logging.getLogger(__name__)

UNUSED: Final = (BadCall, DeviceBusy, DeviceRefused)
"""Errors of an engine that has computed nothing.  After any other, only it knows what it has."""


async def conclude(
    kernel: Kernel,
    process: Process,
    running: Running,
    described: Described,
    admitted: Admitted,
    done: Done | None,
    error: KernelError | None,
) -> Done:
    """Record the outcome, settle, and wait until both are safe."""
    event, parts = outcome(kernel, process, running, admitted, done, error)
    event = tainted.labelled(kernel, process, running, event, done, parts)
    seq: Seq | None = None
    try:
        seq = recorded(kernel, process, running, event, parts)
        if admitted.is_limited and (incident := accounts.exceeded(admitted.hold, event)):
            log.warning("%s billed more than was held for %s", incident.engine, running.id)
            kernel.emit(process.id, process.row.tenant, incident, call=running.id, cause=seq)
    finally:
        replay.note(process, running, event, seq)
    if len(parts) == 1 and described.context is not None:
        whole = extend(described.context_digest, parts[0].name)
        process.contexts.remember(whole, running.seq, reply=True)
    point("door.outcome")
    await kernel.journal.durable(seq)
    point("door.told")
    if done is None:
        raise error or Broken(f"call {running.id} ended in nothing")
    return replay.with_facts(done, seq=seq)


def recorded(
    kernel: Kernel,
    process: Process,
    running: Running,
    event: CallReturned | CallFailed,
    parts: tuple[Part, ...],
) -> Seq:
    if running.brief is not None and isinstance(event, CallReturned):
        return brief.emit(kernel, process, running, event)
    brief.enter(kernel, process, running)
    return kernel.emit(
        process.id,
        process.row.tenant,
        event,
        call=running.id,
        cause=running.seq,
        parts=parts,
    ).seq


def outcome(
    kernel: Kernel,
    process: Process,
    running: Running,
    admitted: Admitted,
    done: Done | None,
    error: KernelError | None,
) -> tuple[CallReturned | CallFailed, tuple[Part, ...]]:
    """The event that says how the call ended, and the messages it brings."""
    if isinstance(done, Completion):
        tenant = process.row.tenant
        parts = tuple(kernel.namer.part(tenant, choice.message) for choice in done.choices)
        returned = codec.returned(done, parts, running.deltas)
        return settled(returned, kernel, running, admitted), parts
    if isinstance(done, (Contents, Context)):
        return settled(CallReturned(done=file_content.bare(done)), kernel, running, admitted), ()
    if isinstance(done, Recalled):
        return settled(CallReturned(done=memory_content.bare(done)), kernel, running, admitted), ()
    if done is not None:
        return settled(CallReturned(done=done), kernel, running, admitted), ()
    return failed(kernel, running, admitted, error or Broken("a call ended in nothing")), ()


def failed(kernel: Kernel, running: Running, admitted: Admitted, error: KernelError) -> CallFailed:
    """Books all that was held, unless it is known that nothing was used."""
    is_known = not running.asked or isinstance(error, UNUSED)
    booked = NOTHING if is_known else admitted.hold
    return CallFailed(
        code=error.code,
        message=error.message,
        retry_after_s=error.retry_after_s,
        booked=booked.tokens,
        booked_cost=booked.nano_dollars,
        ran_ns=ran_ns(kernel, running, admitted),
        asked=running.asked,
    )


def settled(
    event: CallReturned, kernel: Kernel, running: Running, admitted: Admitted
) -> CallReturned:
    """What it used beside what its engine has told: the time, and all of a usage not told."""
    untold = admitted.hold if admitted.is_untold(event.done) else NOTHING
    return replace(
        event,
        ran_ns=ran_ns(kernel, running, admitted),
        booked=untold.tokens,
        booked_cost=untold.nano_dollars,
    )


def ran_ns(kernel: Kernel, running: Running, admitted: Admitted) -> Nanoseconds:
    """How long it ran; what the kernel needs to end a call at its deadline is not the caller's."""
    ns = round(running.ran_s(kernel.clock.now_s()) * NS_PER_S)
    return Nanoseconds(min(ns, admitted.hold.ns) if admitted.hold.ns else ns)
