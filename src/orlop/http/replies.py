"""What the dialects' routes have in common: a call's replies become one body, or a stream.

A stream's response begins with the call's first reply, so that whatever is refused before that
has an honest status; what fails later ends the stream in an error event.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Embed, Infer
from orlop.abi.errors import BadCall, Broken, KernelError
from orlop.abi.hints import Facts, Hints
from orlop.abi.ids import CallId
from orlop.abi.replies import Completion, Delta, Done
from orlop.http.exchange import Door, Exchange, Field, InFlight
from orlop.wire.openai_terms import ReplyHead, head_of

HintedCall = TypeVar("HintedCall", Infer, Embed)


class ReplyStream(Protocol):
    """A dialect's writer: replies in, bytes of server-sent events out."""

    def delta(self, delta: Delta) -> bytes: ...

    def done(self, completion: Completion) -> bytes: ...

    def error(self, error: KernelError) -> bytes: ...


def door_of(exchange: Exchange) -> Door:
    if exchange.door is None:
        raise Broken(f"nobody was asked who wants {exchange.path}")
    return exchange.door


def entered(exchange: Exchange, call: HintedCall) -> InFlight:
    """Raises as `Door.enter` does, and `BadCall` where the header `orlop-hints` can't be read."""
    if said := exchange.header("orlop-hints"):
        call = replace(call, hints=read_hints(said, call.hints))
    return door_of(exchange).enter(call, retry=exchange.is_retry)


def read_hints(said: str, known: Hints) -> Hints:
    """A JSON object with the fields of `Hints`.  known: what the body has said already."""
    try:
        fields = msgspec.json.decode(said, type=dict[str, msgspec.Raw])
        if unknown := fields.keys() - set(Hints.__struct_fields__):
            raise BadCall(
                f"orlop-hints: no hint {min(unknown)!r}; there are: "
                f"{', '.join(Hints.__struct_fields__)}"
            )
        hints = msgspec.json.decode(said, type=Hints)
    except msgspec.DecodeError as error:
        raise BadCall(f"orlop-hints: should be a JSON object of hints: {error}") from error
    return replace(hints, latency_class=hints.latency_class or known.latency_class)


def stream_headers(running: InFlight) -> list[Field]:
    """The last one tells nginx not to hold pieces back."""
    return [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
        ("orlop-call", running.reply_id),
        *rung_headers(running.rung),
    ]


def rung_headers(rung: str) -> list[Field]:
    """Of a call that was not served as it was asked for."""
    return [("orlop-rung", ascii_of(rung))] if rung else []


def head_for(running: InFlight, call: Infer) -> ReplyHead:
    """Known at the first reply."""
    return head_of(CallId(running.reply_id), call.model, call.hints.latency_class)


async def stream(
    exchange: Exchange, running: InFlight, open_stream: Callable[[], ReplyStream]
) -> None:
    """Pass a call's replies on as they come.  open_stream: called at the first reply."""
    writer: ReplyStream | None = None
    try:
        async for reply in running.replies:
            if writer is None:
                writer = open_stream()
                await exchange.start_stream(stream_headers(running))
            if isinstance(reply, Delta):
                await exchange.send_chunk(writer.delta(reply))
            else:
                await exchange.end(writer.done(as_completion(reply)))
    except KernelError as error:
        if writer is None:
            raise
        await exchange.end(writer.error(error))


async def completed(running: InFlight) -> Completion:
    """The end of an `infer`; its deltas are not wanted."""
    return as_completion(await last(running))


async def last(running: InFlight) -> Done:
    async for reply in running.replies:
        if not isinstance(reply, Delta):
            return reply
    raise Broken("a call ended without a result and without an error")


def as_completion(done: Done) -> Completion:
    if not isinstance(done, Completion):
        raise Broken(f"an inference ended in {type(done).__name__}")
    return done


def fact_headers(facts: Facts) -> list[Field]:
    """What a replay can't give again, and so may not be in the body."""
    headers = [("orlop-call", str(facts.call)), ("orlop-engine", ascii_of(facts.engine))]
    headers += rung_headers(facts.rung)
    if facts.replayed:
        headers.append(("orlop-replayed", "true"))
    if facts.cost:
        headers.append(("orlop-cost-nanodollars", str(facts.cost)))
    spans = (
        ("load", facts.load_s),
        ("queue", facts.queue_s),
        ("prefill", facts.prefill_s),
        ("decode", facts.decode_s),
    )
    timing = ", ".join(f"{name};dur={span * 1e3:.1f}" for name, span in spans if span > 0)
    if timing:
        headers.append(("server-timing", timing))
    return headers


def ascii_of(name: str) -> str:
    """Fit for a header."""
    return name.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")
