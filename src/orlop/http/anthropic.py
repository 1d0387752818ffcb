"""The routes of Anthropic's dialect."""

from collections.abc import Mapping
from typing import Final

from orlop.abi.errors import NotFound
from orlop.http.exchange import Exchange, Route
from orlop.http.replies import completed, entered, fact_headers, head_for, stream
from orlop.wire.anthropic import read_messages_request, write_messages_response
from orlop.wire.anthropic_stream import MessageStream


async def messages(exchange: Exchange) -> None:
    call = read_messages_request(await exchange.body())
    running = entered(exchange, call)
    with exchange.watched(running):
        if call.stream:
            await stream(exchange, running, lambda: MessageStream(head_for(running, call)))
            return
        completion = await completed(running)
        body = write_messages_response(completion, head_for(running, call))
    await exchange.send_json(200, body, fact_headers(completion.facts))


async def count_tokens(exchange: Exchange) -> None:
    """Only the engine could count, and a guess that looks like a count would be used as one."""
    raise NotFound(
        "this kernel does not count tokens without an engine; the `usage` of an answer is exact"
    )


ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("POST", "/v1/messages"): messages,
    ("POST", "/v1/messages/count_tokens"): count_tokens,
}
