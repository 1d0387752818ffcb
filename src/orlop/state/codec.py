"""Events to bytes and back; the only place that knows how a call lies in the journal."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Call, Infer, Progress
from orlop.abi.egress import Fetch
from orlop.abi.errors import JournalDamaged
from orlop.abi.events import NO_CHUNKS, CallEntered, CallReturned, Event
from orlop.abi.hints import Hints
from orlop.abi.ids import ProcessId, Seq, TenantId
from orlop.abi.memory import Recall, Remember
from orlop.abi.messages import Message
from orlop.abi.replies import Completion, Delta
from orlop.abi.sagas import CloseSaga
from orlop.state import memory_intents
from orlop.store.journal import Draft, Part, Stored
from orlop.wire import chunks
from orlop.wire.canonical import canonical

_encoder = msgspec.json.Encoder()
_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_messages = msgspec.json.Decoder(Message)

NO_HINTS: Final = Hints()

KIND: Final = {event: str(event.__struct_config__.tag) for event in Event.__args__}


def draft(process: ProcessId, tenant: TenantId, event: Event) -> Draft:
    """An event with nothing beside it."""
    return Draft(process=process, tenant=tenant, kind=KIND[type(event)], body=encode(event))


def encode(event: Event) -> bytes:
    return _encoder.encode(event)


def decode(stored: Stored) -> Event | None:
    """None where retention has pruned the body."""
    if stored.body is None:
        return None
    try:
        return _events.decode(stored.body)
    except msgspec.DecodeError as error:
        raise JournalDamaged(f"event {stored.header.seq} can't be read: {error}") from error


def once(intent: Seq) -> bytes:
    """The key of an intent's outcome: a second one would have the same."""
    return intent.to_bytes((intent.bit_length() + 7) // 8)


def plain(call: Call) -> Call:
    """The call without its conversation, which lies beside it in the journal, and without what is
    in none (credentials)."""
    if isinstance(call, Infer):
        return replace(call, messages=())
    if isinstance(call, Remember):
        return memory_intents.plain(call)
    return replace(call, carried=()) if isinstance(call, Fetch) else call


ROUTING_FIELDS: Final = frozenset({"prompt_cache_key", "safety_identifier", "user"})
"""Of dialects: clients make them up anew each run, and no answer depends on them."""


def meaning(call: Call) -> bytes:
    """All that changes what the call means, but for its conversation: canonical JSON."""
    return canonical(_bare(call))


def _bare(call: Call) -> Call:
    match call:
        case Infer():
            extra = call.extra
            if not ROUTING_FIELDS.isdisjoint(extra):
                extra = {name: value for name, value in extra.items() if name not in ROUTING_FIELDS}
            return replace(call, hints=NO_HINTS, messages=(), stream=False, extra=extra)
        case Progress():
            return Progress(step=call.step)
        case CloseSaga():
            return replace(call, hints=NO_HINTS, reason="")
        case Fetch():
            return replace(call, hints=NO_HINTS, carried=())
        case Remember() | Recall():
            return memory_intents.short(replace(call, hints=NO_HINTS))
        case _:
            return replace(call, hints=NO_HINTS)


def entered(event: CallEntered, conversation: Sequence[Message]) -> Call:
    """The call as it was made."""
    if isinstance(event.body, Infer):
        return replace(event.body, messages=tuple(conversation))
    return event.body


def returned(
    completion: Completion, parts: Sequence[Part], deltas: Sequence[Delta]
) -> CallReturned:
    """A completion's outcome: its messages by name, its stream by boundaries."""
    bare = tuple(replace(choice, message=Message("assistant")) for choice in completion.choices)
    return CallReturned(
        done=replace(completion, choices=bare),
        messages=tuple(part.name.hex() for part in parts),
        chunks=chunks.pack(deltas, completion) if deltas else NO_CHUNKS,
    )


def restore(event: CallReturned, messages: Sequence[Message]) -> tuple[Completion, list[Delta]]:
    """The completion as it was given, and the pieces in which it came (none if in one)."""
    if not isinstance(event.done, Completion):
        raise JournalDamaged("an outcome with messages is not a completion")
    choices = tuple(
        replace(choice, message=message)
        for choice, message in zip(event.done.choices, messages, strict=True)
    )
    completion = replace(event.done, choices=choices)
    deltas = chunks.unpack(event.chunks, completion) if event.chunks != NO_CHUNKS else []
    return completion, deltas


def message(data: bytes) -> Message:
    try:
        return _messages.decode(data)
    except msgspec.DecodeError as error:
        raise JournalDamaged(f"a stored message can't be read: {error}") from error
