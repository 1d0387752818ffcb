"""Calls that the kernel makes to answer another one: an embedding for a memory.

Through the door as any other: admitted to the budgets of the process that they are for, scheduled,
journaled with intent and outcome.  What they were given and what they gave lies in the events of
the call around them, and is not stored twice.
"""

import asyncio

from msgspec.structs import replace

from orlop.abi.budgets import NOTHING
from orlop.abi.calls import Embed
from orlop.abi.errors import Broken, KernelError, Killed
from orlop.abi.events import CallEntered, CallFailed, CallReturned
from orlop.abi.ids import Digest, Nanoseconds
from orlop.abi.replies import Vectors
from orlop.kernel import engines, sys_infer
from orlop.kernel.admit import Admitted, admit
from orlop.kernel.core import Kernel
from orlop.kernel.process import Process
from orlop.kernel.running import Running
from orlop.machine.clock import NS_PER_S


async def embed(
    kernel: Kernel, process: Process, outer: Running | None, call: Embed
) -> Vectors:
    """Texts to vectors, on behalf of `outer` (None: of the kernel's own work).  Raises what the model's engine or a budget says."""
    running = Running(
        id=kernel.new_call(),
        process=process.id,
        call=call,
        digest=Digest(b""),
        started_s=kernel.clock.now_s(),
        incarnation=process.row.incarnation,
    )
    await engines.heard(kernel, call)
    admitted = admit(kernel, process, running)
    running.seq = kernel.emit(
        process.id,
        process.row.tenant,
        CallEntered(
            incarnation=process.row.incarnation,
            body=replace(call, inputs=()),
            held=admitted.hold.tokens,
            held_cost=admitted.hold.nano_dollars,
            held_ns=admitted.hold.ns,
            within=outer.id if outer is not None else running.id,
        ),
        call=running.id,
    ).seq
    # From here on the call has begun: it must end in the journal, exactly once.
    done: Vectors | None = None
    error: KernelError = Killed("the call around it was ended")
    try:
        if admitted.durable_intent:
            await kernel.journal.durable(running.seq)
        done = await sys_infer.embed(kernel, process, running, call, admitted.cards)
    except KernelError as failure:
        error = failure
        raise
    except asyncio.CancelledError:
        raise
    except Exception as bug:
        error = Broken(f"a bug in embed: {bug!r}")
        raise
    finally:
        _conclude(kernel, process, running, admitted, done, error)
    return done


def _conclude(
    kernel: Kernel,
    process: Process,
    running: Running,
    admitted: Admitted,
    done: Vectors | None,
    error: KernelError,
) -> None:
    """Its outcome; safe with the outcome of the call around it."""
    ran = round(running.ran_s(kernel.clock.now_s()) * NS_PER_S)
    ran_ns = Nanoseconds(min(ran, admitted.hold.ns) if admitted.hold.ns else ran)
    event: CallReturned | CallFailed
    if done is not None:
        untold = admitted.hold if admitted.is_untold(done) else NOTHING
        event = CallReturned(
            done=replace(done, vectors=()),
            ran_ns=ran_ns,
            booked=untold.tokens,
            booked_cost=untold.nano_dollars,
        )
    else:
        booked = admitted.hold if running.asked else NOTHING
        event = CallFailed(
            code=error.code,
            message=error.message,
            booked=booked.tokens,
            booked_cost=booked.nano_dollars,
            ran_ns=ran_ns,
            asked=running.asked,
        )
    kernel.emit(
        process.id,
        process.row.tenant,
        event,
        call=running.id,
        cause=running.seq,
        key=running.id.encode(),
    )
