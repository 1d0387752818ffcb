"""Calls that the kernel makes to answer another one: an embedding for a memory.

Through the door as any other: admitted to the budgets of the process that they are for, scheduled,
journaled with intent and outcome.  What they were given and what they gave lies in the events of
the call around them, and is not stored twice.
"""

import asyncio

import msgspec
from msgspec.structs import replace

from orlop.abi.budgets import NOTHING
from orlop.abi.calls import Embed, Infer
from orlop.abi.errors import KernelError, Killed, a_bug
from orlop.abi.events import CallEntered, CallFailed, CallReturned
from orlop.abi.ids import Digest, Nanoseconds
from orlop.abi.replies import Completion, Vectors
from orlop.kernel import sys_infer
from orlop.kernel.admit import Admitted, admit
from orlop.machine.clock import NS_PER_S
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import engines


async def infer(kernel: Kernel, process: Process, outer: Running | None, call: Infer) -> Completion:
    """A model's answer, likewise; what it was shown is what the call around it makes of its own."""
    running = _running(kernel, process, outer, call)
    running.size = len(msgspec.json.encode(call.messages))
    await engines.heard(kernel, call)
    admitted = admit(kernel, process, running)
    _enter(kernel, process, outer, running, admitted, replace(call, messages=()))
    # From here on the call has begun: it must end in the journal, exactly once.
    done: Completion | None = None
    error: KernelError = Killed("the call around it was ended")
    try:
        if admitted.durable_intent:
            await kernel.journal.durable(running.seq)
        done = await sys_infer.infer(kernel, process, running, call, admitted.attempts)
    except KernelError as failure:
        error = failure
        raise
    except asyncio.CancelledError:
        raise
    except Exception as bug:
        error = a_bug("infer", bug)
        raise
    finally:
        bare = replace(done, choices=()) if done is not None else None
        _conclude(kernel, process, running, admitted, bare, error)
    return done


def _running(
    kernel: Kernel, process: Process, outer: Running | None, call: Embed | Infer
) -> Running:
    return Running(
        id=kernel.new_call(),
        process=process.id,
        call=call,
        digest=Digest(b""),
        started_s=kernel.clock.now_s(),
        incarnation=process.row.incarnation,
        narrowing=outer.narrowing if outer is not None else None,
        token=outer.token if outer is not None else "",
    )


def _enter(
    kernel: Kernel,
    process: Process,
    outer: Running | None,
    running: Running,
    admitted: Admitted,
    body: Embed | Infer,
) -> None:
    """Its intent."""
    running.seq = kernel.emit(
        process.id,
        process.row.tenant,
        CallEntered(
            incarnation=process.row.incarnation,
            body=body,
            held=admitted.hold.tokens,
            held_cost=admitted.hold.nano_dollars,
            held_ns=admitted.hold.ns,
            within=outer.id if outer is not None else running.id,
            token=running.token,
        ),
        call=running.id,
    ).seq


async def embed(kernel: Kernel, process: Process, outer: Running | None, call: Embed) -> Vectors:
    """Texts to vectors, on behalf of `outer` (None: of the kernel's own work).

    Raises what the model's engine or a budget says.
    """
    running = _running(kernel, process, outer, call)
    await engines.heard(kernel, call)
    admitted = admit(kernel, process, running)
    _enter(kernel, process, outer, running, admitted, replace(call, inputs=()))
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
        error = a_bug("embed", bug)
        raise
    finally:
        bare = replace(done, vectors=()) if done is not None else None
        _conclude(kernel, process, running, admitted, bare, error)
    return done


def _conclude(
    kernel: Kernel,
    process: Process,
    running: Running,
    admitted: Admitted,
    done: Vectors | Completion | None,
    error: KernelError,
) -> None:
    """Its outcome; safe with the outcome of the call around it."""
    ran = round(running.ran_s(kernel.clock.now_s()) * NS_PER_S)
    ran_ns = Nanoseconds(min(ran, admitted.hold.ns) if admitted.hold.ns else ran)
    event: CallReturned | CallFailed
    if done is not None:
        untold = admitted.hold if admitted.is_untold(done) else NOTHING
        event = CallReturned(
            done=done,
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
    )
