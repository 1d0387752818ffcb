"""Answers from the record, and what happens when a program leaves its path."""

import asyncio

from msgspec.structs import replace

from orlop.abi.calls import Infer, Patch
from orlop.abi.errors import (
    Diverged,
    JournalDamaged,
    KernelError,
    from_code,
)
from orlop.abi.events import CallFailed, CallReturned, Event
from orlop.abi.hints import Facts
from orlop.abi.ids import Seq
from orlop.abi.limits import DIVERGENCE_GRACE_S
from orlop.abi.processes import Answered, ProcessCaughtUp
from orlop.abi.processes import Diverged as DivergedEvent
from orlop.abi.replies import (
    Completion,
    Delta,
    Done,
    Patched,
    ToolUseDelta,
)
from orlop.kernel.difference import difference
from orlop.kernel.refusal import waits_for_a_person
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.record import Record, Recorded, newest
from orlop.state.running import Running
from orlop.subsystems import history
from orlop.subsystems.described import Described


async def recorded(kernel: Kernel, process: Process) -> Record:
    """The process's record, read from the journal if it is not in RAM.

    One call reads it; others wait meanwhile, and go on in the order in which they came.
    """
    if process.record is not None:
        return process.record
    reading = process.reading = process.reading or asyncio.Lock()
    async with reading:
        if process.record is None:
            record = await history.load(kernel, process)
            process.record = process.record or record  # Of a new incarnation, maybe.
            process.reading = None
        return process.record


async def answer(
    kernel: Kernel,
    process: Process,
    record: Record,
    running: Running,
    described: Described,
    *,
    retry: bool,
) -> Done | None:
    """The call's answer from the record, or None if it has to run.

    Raises the recorded error in a replay, `Diverged` where the record holds no such call.
    """
    if retry or running.nonce:
        done = await _retried(kernel, process, record, running, far=retry)
        if done is not None:
            return done
    parked = record.take_parked(running.digest)
    if parked is not None:
        _note_answer(kernel, process, record, Answered(parked.seq, running.nonce))
        if (done := await _joined(running, parked)) is not None:
            record.remember(_as_recorded(record, running, parked.seq, done))
            return done
    if isinstance(running.call, Patch) and _is_unpatched(record, running, running.call):
        return Patched(applies=False, facts=Facts(call=running.id))
    if record.mode == "first" or not (record.remaining or record.answers_only):
        return None
    if (found := record.take(running.digest)) is not None:
        return await _deliver(kernel, process, record, running, found)
    if await _goes_on(kernel, process, record, running, described):
        return None
    return await _miss(kernel, process, record, running)


async def _goes_on(
    kernel: Kernel, process: Process, record: Record, running: Running, described: Described
) -> bool:
    """Whether a call that the record has no answer for is on its path all the same, and runs.

    Raises what it is refused with, if it is.
    """
    is_live = not record.answers_only
    if is_live and (record.take_unfinished(running.digest) or isinstance(running.call, Patch)):
        return True
    if record.answers.get(running.digest):
        return False  # A strict record has its answer, but not next.
    return await waits_for_a_person(kernel, process, running, described, is_live=is_live)


def _is_unpatched(record: Record, running: Running, call: Patch) -> bool:
    """A change that the record knows nothing of came after it: the run keeps to its old path, also
    once it is live, since a later incarnation will be told the same."""
    is_told = record.mode != "first" and (record.remaining or record.answers_only)
    if is_told and running.digest not in record.answers:
        record.unpatched |= {call.name}
    return call.name in record.unpatched


async def _retried(
    kernel: Kernel, process: Process, record: Record, running: Running, *, far: bool
) -> Done | None:
    """The earlier occurrence of a call that its client makes again: join it, or read it again.

    A client that gives its calls names is heard even where the first attempt arrives last.
    far: look for it in the journal too.
    """
    for twin in tuple(process.running.values()):
        if twin is running:
            break  # Those that came later wait for this one.
        if twin.digest == running.digest and twin.nonce == running.nonce:
            await _joined(running, twin)
            break
    found = newest(record.past, running.digest, record.incarnation, running.nonce)
    if found is None and far and record.forgot:
        past = await history.recent(kernel, process)
        found = newest(past, running.digest, record.incarnation, running.nonce)
    if found is None or not found.ok:
        return None
    return await _read(kernel, process, running, found)


async def _joined(running: Running, earlier: Running) -> Done | None:
    """What an earlier call that still runs comes to.  Whoever asks for `running` gets its id: the
    journal knows no other."""
    running.shown = earlier.reply_id
    earlier.hear()
    await earlier.ended.wait()
    if earlier.done is None:
        running.shown = None
    return earlier.done


async def _deliver(
    kernel: Kernel, process: Process, record: Record, running: Running, found: Recorded
) -> Done:
    """Answer from the record; from now on that is this incarnation's own call, for retries."""
    process.calls_replayed += 1
    record.remember(replace(found, incarnation=record.incarnation, nonce=running.nonce))
    answered = [Answered(each.intent, each.nonce) for each in record.past]
    _note_answer(kernel, process, record, *answered)
    return await _read(kernel, process, running, found)


def _note_answer(kernel: Kernel, process: Process, record: Record, *answered: Answered) -> None:
    """Once nothing is left to be answered, a crash no longer begins the process again: then the
    journal has to tell which calls this incarnation has made already."""
    if record.remaining == 0 and not record.answers_only:
        caught_up = ProcessCaughtUp(incarnation=process.row.incarnation, answered=answered)
        kernel.emit(process.id, process.row.tenant, caught_up)


def _as_recorded(record: Record, running: Running, intent: Seq, done: Done) -> Recorded:
    """A parked call of an earlier incarnation, as this one's own."""
    return Recorded(
        intent=intent,
        digest=running.digest,
        incarnation=record.incarnation,
        outcome=done.facts.seq,
        ok=True,
        nonce=running.nonce,
    )


async def _read(kernel: Kernel, process: Process, running: Running, found: Recorded) -> Done:
    """A recorded outcome, as its caller got it then; a stream in its recorded pieces."""
    assert found.outcome is not None
    await kernel.journal.durable(found.outcome)
    stored = await history.outcome(kernel, found.outcome)
    event = codec.decode(stored)
    match event:
        case CallFailed():
            raise from_code(event.code, event.message, event.retry_after_s)
        case CallReturned():
            done, deltas = await history.restore(kernel, process.row.tenant, event)
        case _:
            raise JournalDamaged(f"event {found.outcome} should be an outcome, and is not")
    running.shown = done.facts.call
    if isinstance(running.call, Infer) and running.call.stream and isinstance(done, Completion):
        for delta in deltas or whole(done):
            running.replies.put_nowait(delta)
    return with_facts(done, seq=stored.header.seq, replayed=True)


def whole(completion: Completion) -> list[Delta]:
    """A completion that was not streamed, in one piece a choice."""
    return [
        Delta(
            choice=choice.index,
            text=choice.message.text(),
            reasoning=choice.message.reasoning,
            refusal=choice.message.refusal,
            tool_uses=tuple(
                ToolUseDelta(index, use.id, use.name, use.arguments)
                for index, use in enumerate(choice.message.tool_uses)
            ),
            logprobs=choice.logprobs,
        )
        for choice in completion.choices
    ]


async def _miss(kernel: Kernel, process: Process, record: Record, running: Running) -> Done | None:
    """A call that is not in the record, or not there yet.

    Concurrent calls may come back in another order, and one branch of a program may be past its
    record while another still follows it.  So the call waits while others take answers; only when
    nobody has for `DIVERGENCE_GRACE_S` has the program left its path.
    """
    while record.remaining and not record.diverged:
        progress = record.progress
        try:
            async with asyncio.timeout(DIVERGENCE_GRACE_S):
                await progress.wait()
        except TimeoutError:
            break
        if (found := record.take(running.digest)) is not None:
            return await _deliver(kernel, process, record, running, found)
    if record.diverged:
        raise diverged(record.diverged)
    if not record.remaining and not record.answers_only:
        return None
    await _diverge(kernel, process, record, running)
    return None


async def _diverge(kernel: Kernel, process: Process, record: Record, running: Running) -> None:
    """Journal the difference; then stop the process, or let it go on live."""
    nearest = record.order[0] if record.order else None
    text = await difference(kernel, process, running.call, nearest)
    rule = "stop" if record.answers_only else process.row.on_divergence
    if rule == "stop":
        record.diverged = text
    dropped = record.drop() if rule == "continue" else ()
    header = kernel.emit(
        process.id,
        process.row.tenant,
        DivergedEvent(
            incarnation=process.row.incarnation,
            expected=nearest.intent if nearest is not None else None,
            difference=text,
            rule=rule,
            dropped=dropped,
        ),
        call=running.id,
    )
    await kernel.journal.durable(header.seq)
    if rule == "stop":
        kernel.launcher.signal(process.row, "term")
        raise diverged(text)


def diverged(text: str) -> KernelError:
    return Diverged(f"this call is not in the record of the process.\n{text}")


def note(process: Process, running: Running, event: Event, outcome: Seq | None) -> None:
    """Add a call that has just ended to the record, for its client's retries."""
    record = process.record
    if record is None:
        return
    record.remember(
        Recorded(
            intent=running.seq,
            digest=running.digest,
            incarnation=process.row.incarnation,
            outcome=outcome,
            ok=isinstance(event, CallReturned) and outcome is not None,
            nonce=running.nonce,
        )
    )


def with_facts(done: Done, *, seq: Seq, replayed: bool = False) -> Done:
    """`done` with its place in the journal."""
    return replace(done, facts=replace(done.facts, seq=seq, replayed=replayed))
