"""The journal read back: a process's record, a call's conversation, a recorded outcome."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.contexts import Context
from orlop.abi.errors import Conflict, JournalDamaged, NotFound
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.files import Contents
from orlop.abi.ids import CallId, Digest, ProcessId, Seq, TenantId
from orlop.abi.labels import together
from orlop.abi.limits import RECORD_CALLS_MAX
from orlop.abi.memory import Recalled
from orlop.abi.messages import Message
from orlop.abi.processes import Diverged, ProcessCaughtUp
from orlop.abi.replies import Completion, Delta, Done
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.record import Record, Recorded, build, is_told
from orlop.store.journal import Stored
from orlop.subsystems import file_content, memory_content

CALL_KINDS = (
    "call.entered",
    "call.returned",
    "call.failed",
    "process.diverged",
    "process.caught_up",
)


RECENT_EVENTS: Final = 2_048
"""Events of a process, the newest, in which a client's retry is looked for after a boot."""


async def load(kernel: Kernel, process: Process) -> Record:
    """The record of the process's present incarnation.

    One that runs live needs no past but for its client's retries, and they look for themselves.
    """
    row = process.row
    parked = [
        running
        for running in process.running.values()
        if running.is_parked and running.incarnation < row.incarnation
    ]
    if row.caught_up and row.mode != "replay":
        record = Record("first", False, row.incarnation, [], forgot=row.calls > 0)
        record.expect(parked)
        return record
    past = await read_past(kernel, process)
    known = {running.seq for running in parked}
    finished = [recorded for recorded in past.calls if recorded.intent not in known]
    return build(finished, row.mode, row.strict, row.incarnation, past.dropped, parked)


async def recent(kernel: Kernel, process: Process) -> list[Recorded]:
    """The newest calls of a process, in the order in which it was last answered."""
    head = kernel.journal.process_head(process.id)
    past = await read_past(kernel, process, after=max(0, head - RECENT_EVENTS))
    again = [
        replace(recorded, incarnation=incarnation, nonce=nonce)
        for recorded in past.calls
        for incarnation, nonce in past.again.get(recorded.intent, ())
    ]
    return [*again, *past.calls]


@dataclass(frozen=True, slots=True)
class Past:
    """A process's calls in the order of their intents, without those that run.

    `dropped`: intents that no incarnation is answered from any more; `again`: those that a later
    incarnation was answered from, with its number and its client's name for the call.
    """

    calls: Sequence[Recorded]
    dropped: set[Seq]
    again: Mapping[Seq, Sequence[tuple[int, str]]]


async def read_past(kernel: Kernel, process: Process, after: int = 0) -> Past:
    """after: a process sequence number; outcomes past it whose intents are not are left out."""
    await kernel.journal.flush()
    if not after:
        require_bounded(process)
    gone: list[Header] = []
    intents: dict[CallId, Recorded] = {}
    inner: set[CallId] = set()
    dropped: set[Seq] = set()
    again: defaultdict[Seq, list[tuple[int, str]]] = defaultdict(list)
    async for item in kernel.elders.past(process.id, after, CALL_KINDS):
        if item.body is None and item.header.call is not None and not after:
            gone.append(item.header)
        event = None if gone else codec.decode(item)
        match event:
            case CallEntered() if event.within is not None:
                inner.add(_call(item))
            case CallEntered():
                intents[_call(item)] = Recorded(
                    intent=item.header.seq,
                    digest=Digest(item.header.args_digest or b""),
                    incarnation=event.incarnation,
                    outcome=None,
                    ok=False,
                    nonce=event.nonce,
                )
            case CallReturned() | CallFailed() if item.header.call not in inner:
                _end(intents, item, event, partial=after > 0)
            case Diverged():
                dropped.update(event.dropped)
            case ProcessCaughtUp():
                for one in event.answered:
                    again[one.intent].append((event.incarnation, one.nonce))
            case _:
                pass
    require_kept(process, gone)
    past = list(intents.values())  # In the process's own order, over all the homes it has had.
    running = {call.seq for call in process.running.values() if call.seq}
    past = [recorded for recorded in past if recorded.intent not in running]
    return Past(past, dropped, again)


def labels_of(call: Sequence[Stored]) -> tuple[str, ...]:
    """Of what one call was made from, and of what it brought.  call: its events."""
    events = map(codec.decode, call)
    return together(
        *(one.labels for one in events if isinstance(one, CallEntered | CallReturned | CallFailed))
    )


def require_bounded(process: Process) -> None:
    """Raises `Conflict` where its record would not fit into RAM."""
    if process.row.calls > RECORD_CALLS_MAX:
        raise Conflict(
            f"process {process.row.pid} has made {process.row.calls:,} calls; after more than "
            f"{RECORD_CALLS_MAX:,} (RECORD_CALLS_MAX) it can be traced, and neither resumed nor "
            "replayed"
        )


def require_kept(process: Process, gone: Sequence[Header]) -> None:
    """Raises `NotFound`, with the steps, where retention has taken some of them."""
    if gone:
        calls = len({header.call for header in gone})
        raise NotFound(
            f"{calls} calls of process {process.row.pid} are no longer kept (events {gone[0].seq}"
            f" to {gone[-1].seq} were pruned, or their tenant's key was forgotten): it can be"
            " shown, but neither resumed nor replayed"
        )


def _end(
    intents: dict[CallId, Recorded],
    item: Stored,
    event: CallReturned | CallFailed,
    *,
    partial: bool,
) -> None:
    began = intents.get(_call(item))
    if began is None and partial:
        return
    if began is None:
        raise JournalDamaged(f"event {item.header.seq} is an outcome without an intent")
    intents[_call(item)] = Recorded(
        intent=began.intent,
        digest=began.digest,
        incarnation=began.incarnation,
        outcome=item.header.seq,
        ok=isinstance(event, CallReturned),
        told=isinstance(event, CallReturned) or is_told(event.code),
        nonce=began.nonce,
    )


def _call(item: Stored) -> CallId:
    if item.header.call is None:
        raise JournalDamaged(f"event {item.header.seq} names no call")
    return item.header.call


async def event(kernel: Kernel, seq: Seq) -> Stored:
    """One event.  Raises `NotFound` where retention has pruned its body."""
    found = await kernel.elders.event(seq)
    if not found or found[0].body is None:
        raise NotFound(f"event {seq} is no longer kept; the chain holds its digest only")
    return found[0]


async def outcome(kernel: Kernel, seq: Seq) -> Stored:
    """Likewise an outcome, which is the last of those that have a number."""
    found = await kernel.elders.event(seq)
    if not found or found[-1].body is None:
        raise NotFound(f"event {seq} is no longer kept; the chain holds its digest only")
    return found[-1]


async def restore(
    kernel: Kernel, tenant: TenantId, returned: CallReturned
) -> tuple[Done, list[Delta]]:
    """A recorded result, and the pieces in which it came (none if in one)."""
    if isinstance(returned.done, Contents | Context):
        return await file_content.filled(kernel, tenant, returned.done), []
    if isinstance(returned.done, Recalled):
        return await memory_content.filled(kernel, tenant, returned.done), []
    if not isinstance(returned.done, Completion):
        return returned.done, []
    messages = await messages_of(kernel, tenant, returned.messages)
    return codec.restore(returned, messages)


async def messages_of(kernel: Kernel, tenant: TenantId, names: Sequence[str]) -> list[Message]:
    """Messages by their names (hexadecimal)."""
    return [codec.message(await kernel.elders.part(tenant, bytes.fromhex(name))) for name in names]


async def conversation(
    kernel: Kernel, tenant: TenantId, intent: Seq, *, reply: bool = False
) -> list[Message]:
    """What the call at `intent` was shown, and with `reply` also what it answered.

    Raises `NotFound` where the call is another tenant's, or its messages are pruned.
    """
    names: list[str] = []
    seq: Seq | None = intent
    while seq is not None:
        stored = await event(kernel, seq)
        entered = codec.decode(stored)
        if stored.header.tenant != tenant or not isinstance(entered, CallEntered):
            raise NotFound(f"event {seq} is no call of this tenant")
        if reply:
            names[:0] = await _reply_names(kernel, stored)
        context = entered.context
        if context is None:
            break
        names[:0] = context.new
        seq, reply = context.parent_seq, context.reply
    return await messages_of(kernel, tenant, names)


async def _reply_names(kernel: Kernel, intent: Stored) -> Sequence[str]:
    for stored in await kernel.elders.of_call(_call(intent)):
        outcome = codec.decode(stored)
        if isinstance(outcome, CallReturned):
            return outcome.messages
    raise NotFound(f"call {intent.header.call} has no answer")


async def call_made(kernel: Kernel, tenant: TenantId, intent: Seq) -> CallEntered:
    """The intent at `intent` with its whole conversation in place."""
    stored = await event(kernel, intent)
    entered = codec.decode(stored)
    if not isinstance(entered, CallEntered):
        raise JournalDamaged(f"event {intent} should be an intent, and is not")
    if not isinstance(entered.body, Infer) or entered.context is None:
        return entered
    messages = await conversation(kernel, tenant, intent)
    return CallEntered(
        incarnation=entered.incarnation,
        body=codec.entered(entered, messages),
        context=entered.context,
        effect=entered.effect,
    )


def is_own(kernel: Kernel, reader: Process, maker: ProcessId) -> bool:
    """Whether what `maker` was told is the reader's to know: its own, or its key's."""
    row, key = kernel.tables.rows.get(maker), reader.row.key_id
    return maker == reader.id or (key is not None and row is not None and row.key_id == key)


async def answered(kernel: Kernel, reader: Process, call: CallId) -> tuple[Infer, Completion]:
    """A model call with its conversation, and its answer; for `previous_response_id`.

    Raises `NotFound` where `reader` has made no such call (nor another client of its key has), or
    it did not end in an answer.
    """
    tenant = reader.row.tenant
    await kernel.journal.flush()
    made: Infer | None = None
    for stored in await kernel.elders.of_call(call):
        if stored.header.tenant != tenant or not is_own(kernel, reader, stored.header.process):
            break
        match codec.decode(stored):
            case CallEntered():
                entered = await call_made(kernel, tenant, stored.header.seq)
                made = entered.body if isinstance(entered.body, Infer) else None
            case CallReturned() as returned:
                done, _ = await restore(kernel, tenant, returned)
                if made is not None and isinstance(done, Completion):
                    facts = replace(done.facts, seq=stored.header.seq)
                    return made, replace(done, facts=facts)
            case _:
                pass
    raise NotFound(f"no model call {call} has been answered here")
