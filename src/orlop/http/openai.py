"""The routes of OpenAI's dialect.

A stream's response begins with the call's first reply, so that whatever is refused before that
has an honest status; what fails later ends the stream in an error event.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from orlop.abi.calls import Infer
from orlop.abi.errors import Broken, KernelError, NotFound
from orlop.abi.hints import Facts
from orlop.abi.replies import Completion, Delta, Done, Vectors
from orlop.http.exchange import Door, Exchange, Field, InFlight, Route
from orlop.wire.openai import read_chat_request, write_chat_response
from orlop.wire.openai_embed import (
    read_embed_request,
    write_embed_response,
    write_model,
    write_models,
)
from orlop.wire.openai_legacy import TextStream, read_text_request, write_text_response
from orlop.wire.openai_stream import ChatStream
from orlop.wire.openai_terms import ReplyHead, head_of

_MODEL_PATH: Final = "/v1/models/"


class ReplyStream(Protocol):
    """A dialect's writer: replies in, bytes of server-sent events out."""

    def delta(self, delta: Delta) -> bytes: ...

    def done(self, completion: Completion) -> bytes: ...

    def error(self, error: KernelError) -> bytes: ...


async def chat(exchange: Exchange) -> None:
    request = read_chat_request(await exchange.body())
    running = _door(exchange).enter(request.call, retry=exchange.is_retry)
    with exchange.watched(running):
        if request.call.stream:
            include_usage = request.include_usage

            def open_stream() -> ChatStream:
                return ChatStream(_head(running, request.call), include_usage=include_usage)

            await stream(exchange, running, open_stream)
            return
        completion = await completed(running)
        body = write_chat_response(completion, _head(running, request.call))
    await exchange.send_json(200, body, fact_headers(completion.facts))


async def stream(
    exchange: Exchange, running: InFlight, open_stream: Callable[[], ReplyStream]
) -> None:
    """Pass a call's replies on as they come.  open_stream: called at the first reply."""
    writer: ReplyStream | None = None
    try:
        async for reply in running.replies:
            if writer is None:
                writer = open_stream()
                await exchange.start_stream(_stream_headers(running))
            if isinstance(reply, Delta):
                await exchange.send_chunk(writer.delta(reply))
            else:
                await exchange.end(writer.done(_as_completion(reply)))
    except KernelError as error:
        if writer is None:
            raise
        await exchange.end(writer.error(error))


async def text(exchange: Exchange) -> None:
    """The old completions: a call a prompt.  All run at once; their replies go out in order."""
    request = read_text_request(await exchange.body())
    runnings: list[InFlight] = []
    try:
        for call in request.calls:
            runnings.append(_door(exchange).enter(call, retry=exchange.is_retry))
        with exchange.watched(*runnings):
            if request.calls[0].stream:
                await _stream_texts(exchange, runnings, request.calls[0], request.include_usage)
                return
            completions = [await completed(running) for running in runnings]
    except BaseException:
        for running in runnings:
            running.leave()
        raise
    body = write_text_response(completions, _head(runnings[0], request.calls[0]))
    await exchange.send_json(200, body, fact_headers(completions[0].facts))


async def _stream_texts(
    exchange: Exchange, runnings: list[InFlight], call: Infer, include_usage: bool
) -> None:
    writer: TextStream | None = None
    completions = []
    try:
        for prompt, running in enumerate(runnings):
            async for reply in running.replies:
                if writer is None:
                    head = _head(running, call)
                    writer = TextStream(head, n=call.sampling.n, include_usage=include_usage)
                    await exchange.start_stream(_stream_headers(running))
                if isinstance(reply, Delta):
                    await exchange.send_chunk(writer.delta(prompt, reply))
                else:
                    completions.append(_as_completion(reply))
        if writer is not None:
            await exchange.end(writer.done(completions))
    except KernelError as error:
        if writer is None:
            raise
        for running in runnings:
            running.leave()
        await exchange.end(writer.error(error))


async def embeddings(exchange: Exchange) -> None:
    request = read_embed_request(await exchange.body())
    running = _door(exchange).enter(request.call, retry=exchange.is_retry)
    with exchange.watched(running):
        done = await last(running)
    if not isinstance(done, Vectors):
        raise Broken(f"an embedding ended in {type(done).__name__}")
    body = write_embed_response(done, request.call.model, request.encoding)
    await exchange.send_json(200, body, fact_headers(done.facts))


async def models(exchange: Exchange) -> None:
    await exchange.send_json(200, write_models(_door(exchange).models()))


async def model(exchange: Exchange) -> None:
    """One by its name, which may hold slashes."""
    name = exchange.path.removeprefix(_MODEL_PATH)
    for card in _door(exchange).models():
        if card.name == name:
            await exchange.send_json(200, write_model(card))
            return
    raise NotFound(f"there is no model `{name[:200]}`; see /v1/models")


async def completed(running: InFlight) -> Completion:
    """The end of an `infer`; its deltas are not wanted."""
    return _as_completion(await last(running))


async def last(running: InFlight) -> Done:
    async for reply in running.replies:
        if not isinstance(reply, Delta):
            return reply
    raise Broken("a call ended without a result and without an error")


def _as_completion(done: Done) -> Completion:
    if not isinstance(done, Completion):
        raise Broken(f"an inference ended in {type(done).__name__}")
    return done


def _door(exchange: Exchange) -> Door:
    if exchange.door is None:
        raise Broken(f"nobody was asked who wants {exchange.path}")
    return exchange.door


def _stream_headers(running: InFlight) -> list[Field]:
    """The last one tells nginx not to hold pieces back."""
    return [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
        ("orlop-call", running.reply_id),
    ]


def _head(running: InFlight, call: Infer) -> ReplyHead:
    return head_of(running.reply_id, call.model, call.hints.latency_class)


def fact_headers(facts: Facts) -> list[Field]:
    """What a replay can't give again, and so may not be in the body."""
    headers = [("orlop-call", str(facts.call)), ("orlop-engine", str(facts.engine))]
    if facts.replayed:
        headers.append(("orlop-replayed", "true"))
    if facts.cost:
        headers.append(("orlop-cost-nanodollars", str(facts.cost)))
    spans = (("queue", facts.queue_s), ("prefill", facts.prefill_s), ("decode", facts.decode_s))
    timing = ", ".join(f"{name};dur={span * 1e3:.1f}" for name, span in spans if span > 0)
    if timing:
        headers.append(("server-timing", timing))
    return headers


ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("POST", "/v1/chat/completions"): chat,
    ("POST", "/v1/completions"): text,
    ("POST", "/v1/embeddings"): embeddings,
    ("GET", "/v1/models"): models,
}
PREFIX_ROUTES: Final[Mapping[tuple[str, str], Route]] = {("GET", _MODEL_PATH): model}
"""By the beginning of the path."""
