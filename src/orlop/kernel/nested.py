"""Calls within a call: an embedding that a memory needs, a tool that code asks for.

Through the door as any other: admitted to the budgets of the process that they are for, scheduled,
journaled with intent and outcome.  What they were given and what they gave lies in the events of
the call around them, and is not stored twice.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Call, CallTool, Embed, Infer, call_name
from orlop.abi.errors import KernelError, Killed, a_bug
from orlop.abi.events import CallEntered, CallFailed, CallReturned
from orlop.abi.ids import Digest
from orlop.abi.replies import Completion, ToolResult, Vectors
from orlop.kernel import outcome, sys_infer
from orlop.kernel.admit import Admitted, admit
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import engines

NestedCall = Embed | Infer | CallTool
Answer = TypeVar("Answer", Completion, Vectors, ToolResult)


async def infer(kernel: Kernel, process: Process, outer: Running | None, call: Infer) -> Completion:
    """A model's answer, on behalf of `outer` (None: of the kernel's own work).

    Raises what the model's engine or a budget says.
    """
    running = within(kernel, process, outer, call)
    running.size = len(msgspec.json.encode(call.messages))
    await engines.heard(kernel, call)
    admitted = admit(kernel, process, running)
    work = partial(sys_infer.infer, kernel, process, running, call, admitted.attempts)
    return await carried_out(kernel, process, outer, running, admitted, work)


async def embed(kernel: Kernel, process: Process, outer: Running | None, call: Embed) -> Vectors:
    """Texts to vectors, likewise."""
    running = within(kernel, process, outer, call)
    await engines.heard(kernel, call)
    admitted = admit(kernel, process, running)
    work = partial(sys_infer.embed, kernel, process, running, call, admitted.cards)
    return await carried_out(kernel, process, outer, running, admitted, work)


def within(kernel: Kernel, process: Process, outer: Running | None, call: NestedCall) -> Running:
    """It may do what the call around it may, and uses the same budgets."""
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


async def carried_out(
    kernel: Kernel,
    process: Process,
    outer: Running | None,
    running: Running,
    admitted: Admitted,
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """From its intent to its outcome, which is safe with that of the call around it."""
    running.seq = kernel.emit(
        process.id,
        process.row.tenant,
        CallEntered(
            incarnation=process.row.incarnation,
            body=_asked(running.call),
            held=admitted.hold.tokens,
            held_cost=admitted.hold.nano_dollars,
            held_ns=admitted.hold.ns,
            within=outer.id if outer is not None else running.id,
            token=running.token,
        ),
        call=running.id,
    ).seq
    # From here on the call has begun: it must end in the journal, exactly once.
    done: Answer | None = None
    error: KernelError = Killed("the call around it was ended")
    try:
        if admitted.durable_intent:
            await kernel.journal.durable(running.seq)
        done = await work()
    except KernelError as failure:
        error = failure
        raise
    except Exception as bug:
        error = a_bug(call_name(running.call), bug)
        raise
    finally:
        event: CallReturned | CallFailed = outcome.failed(kernel, running, admitted, error)
        if done is not None:
            returned = CallReturned(done=_answered(done))
            event = outcome.settled(returned, kernel, running, admitted)
        kernel.emit(process.id, process.row.tenant, event, call=running.id, cause=running.seq)
    return done


def _asked(call: Call) -> Call:
    """Without what the events around it say."""
    match call:
        case Infer():
            return replace(call, messages=())
        case Embed():
            return replace(call, inputs=())
        case _:
            return call


def _answered(done: Completion | Vectors | ToolResult) -> Completion | Vectors | ToolResult:
    match done:
        case Completion():
            return replace(done, choices=())
        case Vectors():
            return replace(done, vectors=())
        case _:
            return done
