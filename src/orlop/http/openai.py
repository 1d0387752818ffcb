"""The routes of OpenAI's dialect."""

from collections.abc import Mapping
from typing import Final

from orlop.abi.calls import Infer
from orlop.abi.errors import Broken, KernelError, NotFound
from orlop.abi.replies import Delta, Vectors
from orlop.http.exchange import Exchange, InFlight, Route
from orlop.http.replies import (
    as_completion,
    completed,
    door_of,
    entered,
    fact_headers,
    head_for,
    last,
    stream,
    stream_headers,
)
from orlop.wire.openai import read_chat_request, write_chat_response
from orlop.wire.openai_embed import (
    read_embed_request,
    write_embed_response,
    write_model,
    write_models,
)
from orlop.wire.openai_legacy import TextStream, read_text_request, write_text_response
from orlop.wire.openai_stream import ChatStream

_MODEL_PATH: Final = "/v1/models/"


async def chat(exchange: Exchange) -> None:
    request = read_chat_request(await exchange.body())
    running = entered(exchange, request.call)
    with exchange.watched(running):
        if request.call.stream:
            include_usage = request.include_usage

            def open_stream() -> ChatStream:
                return ChatStream(head_for(running, request.call), include_usage=include_usage)

            await stream(exchange, running, open_stream)
            return
        completion = await completed(running)
        body = write_chat_response(completion, head_for(running, request.call))
    await exchange.send_json(200, body, fact_headers(completion.facts))


async def text(exchange: Exchange) -> None:
    """The old completions: a call a prompt.  All run at once; their replies go out in order."""
    request = read_text_request(await exchange.body())
    runnings: list[InFlight] = []
    try:
        for call in request.calls:
            runnings.append(entered(exchange, call))
        with exchange.watched(*runnings):
            if request.calls[0].stream:
                await _stream_texts(exchange, runnings, request.calls[0], request.include_usage)
                return
            completions = [await completed(running) for running in runnings]
    except BaseException:
        for running in runnings:
            running.leave()
        raise
    body = write_text_response(completions, head_for(runnings[0], request.calls[0]))
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
                    head = head_for(running, call)
                    writer = TextStream(head, n=call.sampling.n, include_usage=include_usage)
                    await exchange.start_stream(stream_headers(running))
                if isinstance(reply, Delta):
                    await exchange.send_chunk(writer.delta(prompt, reply))
                else:
                    completions.append(as_completion(reply))
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
    running = entered(exchange, request.call)
    with exchange.watched(running):
        done = await last(running)
    if not isinstance(done, Vectors):
        raise Broken(f"an embedding ended in {type(done).__name__}")
    body = write_embed_response(done, request.call.model, request.encoding)
    await exchange.send_json(200, body, fact_headers(done.facts))


async def models(exchange: Exchange) -> None:
    await exchange.send_json(200, write_models(door_of(exchange).models()))


async def model(exchange: Exchange) -> None:
    """One by its name, which may hold slashes."""
    name = exchange.path.removeprefix(_MODEL_PATH)
    for card in door_of(exchange).models():
        if card.name == name:
            await exchange.send_json(200, write_model(card))
            return
    raise NotFound(f"there is no model `{name[:200]}`; see /v1/models")


ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("POST", "/v1/chat/completions"): chat,
    ("POST", "/v1/completions"): text,
    ("POST", "/v1/embeddings"): embeddings,
    ("GET", "/v1/models"): models,
}
PREFIX_ROUTES: Final[Mapping[tuple[str, str], Route]] = {("GET", _MODEL_PATH): model}
"""By the beginning of the path."""
