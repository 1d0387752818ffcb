"""The only door into the kernel.  Read `enter` first, then `served`, `live`, and `outcome.py`.

check → replayed? → admit → journal entered → dispatch under a deadline → journal returned or
failed → settle.  Every call ends exactly once: with a result or with one `KernelError`, also when
its process is killed, its client leaves, or we have a bug.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

from orlop.abi.calls import Call, CallTool, Infer, call_name, is_parked
from orlop.abi.errors import (
    BadCall,
    Conflict,
    DeadlineMissed,
    Exhausted,
    Fenced,
    KernelError,
    a_bug,
)
from orlop.abi.events import CallEntered
from orlop.abi.limits import (
    CALL_DEADLINE_S,
    CALL_DEADLINE_S_MAX,
    CALLS_IN_FLIGHT_MAX,
    CALLS_PER_PROCESS_MAX,
    MESSAGES_PER_CALL_MAX,
    PARKED_CALLS_MAX,
    PARKED_S_MAX,
)
from orlop.abi.replies import Done
from orlop.access.rights import Narrowing
from orlop.kernel import brief, held_values, patience, replay
from orlop.kernel.admit import Admitted
from orlop.kernel.dispatch import dispatch
from orlop.kernel.outcome import conclude
from orlop.machine import redaction
from orlop.machine.faults import point
from orlop.people import trust
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import ALIVE
from orlop.state.running import Brief, Phase, Running
from orlop.subsystems import (
    bounds,
    engines,
    file_content,
    offers,
    policy,
    questions,
    rights,
    tainted,
)
from orlop.subsystems.described import Described, describe, root

log = logging.getLogger(__name__)

LOOK_S: Final = 0.001
"""The least between two looks at how long a call has run."""


def enter(
    kernel: Kernel,
    process: Process,
    call: Call,
    *,
    retry: bool = False,
    nonce: str = "",
    incarnation: int | None = None,
    narrowing: Narrowing | None = None,
    detached: bool = False,
) -> Running:
    """Start `call` for `process`; its replies arrive on `Running.replies`.

    retry: the client says that it made this call before and lost the answer; then the earlier
    occurrence (of the same `nonce`, the client's own name for it) is joined or read again.
    incarnation: the caller's, as of when its token was read; its call may have come in slowly.
    narrowing: what its token leaves of the process's rights.
    detached: its client will come back for the answer, so its leaving ends nothing.
    Raises a `KernelError` before anything has changed; every later error arrives on the channel.
    """
    require_current(process, incarnation)
    call = offers.resolved(kernel, process, call)
    call, parts = file_content.prepared(kernel, process, call)
    check(kernel, process, call)
    rights.check(kernel, process, call, narrowing)
    call = held_values.concealed(kernel, process, call)
    # From here on nothing can fail.
    described = describe(kernel, process, call)
    running = Running(
        id=kernel.new_call(),
        process=process.id,
        call=call,
        digest=described.digest,
        started_s=kernel.clock.now_s(),
        incarnation=process.row.incarnation,
        nonce=nonce,
        keep=is_parked(call) or detached,
        detached=detached,
        parts=parts,
        size=described.size,
        narrowing=narrowing,
        root=root(process, call, described),
    )
    start(kernel, process, running, served(kernel, process, running, described, retry))
    return running


def start(
    kernel: Kernel, process: Process, running: Running, work: Coroutine[object, object, Done]
) -> None:
    """From here on the call is one of those in flight, until `run` has ended it."""
    process.running[running.id] = running
    _count(kernel, running.call, 1)
    kernel.tasks.start(run(kernel, process, running, work))


def require_current(process: Process, incarnation: int | None) -> None:
    """Raises `Fenced` for an incarnation of the past."""
    row = process.row
    if incarnation is not None and incarnation != row.incarnation:
        raise Fenced(
            f"this is incarnation {incarnation} of process {row.pid}, which is {row.state} in "
            f"incarnation {row.incarnation}"
        )


def check(kernel: Kernel, process: Process, call: Call) -> None:
    """Everything that can be refused without waiting."""
    if (reason := kernel.admitting() or kernel.short()) is not None:
        raise reason
    if process.row.state not in ALIVE:
        raise Conflict(
            f"process {process.row.pid} is {process.row.state}; `orlop resume {process.row.pid}` "
            "starts it again"
        )
    if process.record is not None and process.record.diverged:
        raise replay.diverged(process.record.diverged)
    if len(process.running) - process.parked >= CALLS_PER_PROCESS_MAX:
        raise Exhausted(
            f"process {process.row.pid} has {CALLS_PER_PROCESS_MAX} calls in flight "
            "(CALLS_PER_PROCESS_MAX)",
            retry_after_s=1.0,
        )
    if is_parked(call):
        if kernel.calls_parked >= PARKED_CALLS_MAX:
            raise Exhausted(f"{PARKED_CALLS_MAX} calls are parked", retry_after_s=60.0)
    elif kernel.calls_in_flight >= CALLS_IN_FLIGHT_MAX:
        raise Exhausted(
            f"{CALLS_IN_FLIGHT_MAX} calls are in flight (CALLS_IN_FLIGHT_MAX)", retry_after_s=1.0
        )
    if isinstance(call, Infer) and len(call.messages) > MESSAGES_PER_CALL_MAX:
        raise BadCall(f"messages: at most {MESSAGES_PER_CALL_MAX}, not {len(call.messages)}")
    seconds = call.hints.deadline_s
    if seconds is not None and not 0 < seconds <= CALL_DEADLINE_S_MAX:
        raise BadCall(f"hints.deadline_s: more than 0 and at most {CALL_DEADLINE_S_MAX:g}")
    bounds.check(call)


async def run(
    kernel: Kernel, process: Process, running: Running, work: Coroutine[object, object, Done]
) -> None:
    """One call from the door to its end; tells the reader exactly once how it ended."""
    running.task = asyncio.current_task()
    done, error = await attempt(process, running, work)
    questions.conclude(kernel, process, running, error)
    process.running.pop(running.id, None)
    _count(kernel, running.call, -1)
    running.finish(done, error)


async def attempt(
    process: Process, running: Running, work: Coroutine[object, object, Done]
) -> tuple[Done | None, KernelError | None]:
    """What `work` came to: a result or one error, whatever happens inside."""
    try:
        return await work, None
    except KernelError as error:
        return None, redaction.clean(error)
    except asyncio.CancelledError:
        return None, running.verdict()
    except Exception as bug:  # The caller is told; the bug goes to the log with its call's name.
        log.exception("a bug in %s of process %d", running.id, process.row.pid)
        return None, a_bug(call_name(running.call), bug)


async def served(
    kernel: Kernel, process: Process, running: Running, described: Described, retry: bool
) -> Done:
    """The call's answer: from the record if that holds one, else by running it."""
    running.require_wanted()
    await process.awake.wait()
    record = await replay.recorded(kernel, process)
    done = await replay.answer(kernel, process, record, running, described, retry=retry)
    if done is not None:
        return done
    await engines.heard(kernel, running.call)
    return await begun(kernel, process, running, described)


async def begun(kernel: Kernel, process: Process, running: Running, described: Described) -> Done:
    """Run a call that no record answers, once rules, people and budgets let it."""
    await tainted.look_up(kernel, process)
    running.labels = tainted.of_call(kernel, process, running, described)
    admitted: Admitted | None = None
    while admitted is None:
        policy.judge(kernel, process, running)
        if not await questions.cleared(kernel, process, running):
            admitted = await patience.admitted(kernel, process, running)
        if admitted is None:  # It has waited, and meanwhile the facts have changed.
            await process.awake.wait()
    record_intent(kernel, process, running, described, admitted)
    # From here on the call has begun: it must end in the journal, exactly once.
    running.keep = running.keep or outlives_its_client(process, running, admitted)
    return await live(kernel, process, running, described, admitted)


def outlives_its_client(process: Process, running: Running, admitted: Admitted) -> bool:
    """Whether the call goes on when nobody listens: its result will be asked for again.

    A tool is not stopped in the middle of its effect; a model call that is paid for is finished
    for a process that can be resumed.
    """
    if not admitted.costs:
        return False
    return isinstance(running.call, CallTool) or not process.row.is_nameless


async def live(
    kernel: Kernel,
    process: Process,
    running: Running,
    described: Described,
    admitted: Admitted,
) -> Done:
    """Run a call whose intent is recorded, record the outcome, settle.

    Raises what the call ended in; by then that is in the journal too.
    """
    done, error = await attempt(process, running, dispatched(kernel, process, running, admitted))
    if kernel.closing and is_parked(running.call) and error is not None:
        raise error  # Its intent stays open: the next boot lets it go on.
    running.phase = Phase.CONCLUDING
    point("door.done")
    return await conclude(kernel, process, running, described, admitted, done, error)


async def dispatched(
    kernel: Kernel, process: Process, running: Running, admitted: Admitted
) -> Done:
    """The handler's work, under the call's deadline, once the intent is as safe as it must be."""
    running.require_wanted()
    point("door.entered")
    if admitted.durable_intent or kernel.config.await_intents == "always":
        await kernel.journal.durable(running.seq)
    point("door.durable")
    running.phase = Phase.RUNNING
    # A timer that cancels the call as anything else does, and no `deadline`: every call has one.
    seconds = admitted.limit_s or deadline_s(running.call)
    if admitted.run_s is not None:
        spend(kernel, running, admitted.run_s)
    alarm = asyncio.get_running_loop().call_later(seconds, overdue, running, seconds)
    try:
        return await dispatch(kernel, process, running, admitted)
    finally:
        alarm.cancel()


def overdue(running: Running, seconds: float) -> None:
    what = call_name(running.call)
    running.cancel(DeadlineMissed(f"{what} took more than {seconds:g} s"))


def spend(kernel: Kernel, running: Running, run_s: float) -> None:
    """End the call once it has had its device for `run_s` seconds; waiting is not counted."""
    if running.phase is not Phase.RUNNING:
        return
    left_s = run_s - running.ran_s(kernel.clock.now_s())
    if left_s > 0:
        loop = asyncio.get_running_loop()
        loop.call_later(max(left_s, LOOK_S), spend, kernel, running, run_s)
        return
    running.cancel(DeadlineMissed(f"it has run for the {run_s:g} s that its budget has left"))


def record_intent(
    kernel: Kernel,
    process: Process,
    running: Running,
    described: Described,
    admitted: Admitted,
) -> None:
    """Append `CallEntered`, or keep it for `conclude`.  Raises `JournalStopped`."""
    entered = CallEntered(
        incarnation=process.row.incarnation,
        body=codec.plain(running.call),
        context=described.context,
        effect=running.effect,
        nonce=running.nonce,
        held=admitted.hold.tokens,
        held_cost=admitted.hold.nano_dollars,
        held_ns=admitted.hold.ns,
        cleared_by=running.cleared_by,
        prompt=prompt_of(kernel, process, running.call),
        labels=tuple(sorted(running.labels)) if running.labels else (),
        decision=policy.recorded(kernel, running),
        token=running.narrowing.token if running.narrowing is not None else running.token,
        undo=admitted.undo,
    )
    if brief.is_brief(kernel, process, running, admitted):
        running.brief = Brief(entered)
        return
    new = len(described.context.new) if described.context is not None else 0
    header = kernel.emit(
        process.id,
        process.row.tenant,
        entered,
        call=running.id,
        args_digest=described.digest,
        parts=tuple(described.parts[len(described.parts) - new :]),
    )
    running.seq = header.seq
    if described.context is not None:
        process.contexts.remember(described.context_digest, header.seq, reply=False)


def prompt_of(kernel: Kernel, process: Process, call: Call) -> str:
    """What its agent's model is told before all else, where its autonomy depends on that."""
    if not kernel.desk.rules or not isinstance(call, Infer):
        return ""
    return trust.prompt_of(kernel, process.row.name, call)


def deadline_s(call: Call) -> float:
    """Seconds that the call may take."""
    longest = PARKED_S_MAX if is_parked(call) else CALL_DEADLINE_S
    return call.hints.deadline_s or longest


def _count(kernel: Kernel, call: Call, by: int) -> None:
    if is_parked(call):
        kernel.calls_parked += by
    else:
        kernel.calls_in_flight += by
