"""The routes of OpenAI's Responses dialect.

Responses have no store of their own: one is a call and its answer in the journal.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall, NotFound
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.abi.replies import Completion
from orlop.http.exchange import Exchange, Route
from orlop.http.replies import completed, door_of, entered, fact_headers, head_for, stream
from orlop.wire.responses import (
    call_of,
    check_kept,
    continued,
    head_of_answer,
    input_items,
    read_responses_request,
    write_response,
)
from orlop.wire.responses_stream import ResponseStream

_PATH: Final = "/v1/responses/"
_ITEMS: Final = "/input_items"
ITEMS_MAX: Final = 100
"""Of one page, as in OpenAI's API."""


async def create(exchange: Exchange) -> None:
    request = read_responses_request(await exchange.body())
    call = request.call
    if request.previous is not None:
        earlier, answer = await _recorded(exchange, request.previous)
        call = continued(call, earlier, answer)
    running = entered(exchange, call)
    with exchange.watched(running):
        if call.stream:
            await stream(exchange, running, lambda: ResponseStream(call, head_for(running, call)))
            return
        completion = await completed(running)
        body = write_response(call, completion, head_for(running, call))
    await exchange.send_json(200, body, fact_headers(completion.facts))


async def read(exchange: Exchange) -> None:
    """A response, or what it was given."""
    name = exchange.path.removeprefix(_PATH)
    call, answer = await _recorded(exchange, name.removesuffix(_ITEMS))
    if name.endswith(_ITEMS):
        await exchange.send_json(200, _page(exchange, call, answer))
        return
    if exchange.query("stream") == "true":
        raise BadCall("`stream`: a stored response is read whole; leave `stream` out")
    body = write_response(call, answer, head_of_answer(call, answer))
    await exchange.send_json(200, body, fact_headers(answer.facts))


async def delete(exchange: Exchange) -> None:
    """The record of what was done can't be thinned out one call at a time."""
    await _recorded(exchange, exchange.path.removeprefix(_PATH))
    raise BadCall(
        "a response is an entry of the journal, and stays as long as the tenant's retention says; "
        "send `store: false` with a call whose response nobody should read back"
    )


async def _recorded(exchange: Exchange, name: str) -> tuple[Infer, Completion]:
    call_id = call_of(name)
    try:
        call, answer = await door_of(exchange).recorded(call_id)
    except NotFound as error:
        raise NotFound(f"this key has had no response {name[:NAME_CHARS_MAX]!r}") from error
    check_kept(call, name)
    return call, answer


def _page(exchange: Exchange, call: Infer, answer: Completion) -> bytes:
    """Input items, the newest first unless `order` is `asc`, from the one that follows `after`."""
    items = input_items(call, head_of_answer(call, answer))
    if exchange.query("order", "desc") != "asc":
        items.reverse()
    ids = [item["id"] for item in items]
    if after := exchange.query("after"):
        if after not in ids:
            raise BadCall(f"`after`: this response has no input item {after[:80]!r}")
        items = items[ids.index(after) + 1 :]
    limit = int(exchange.number("limit", 20))
    if not 1 <= limit <= ITEMS_MAX:
        raise BadCall(f"`limit`: from 1 to {ITEMS_MAX}, not {limit}")
    page = items[:limit]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
    )


ROUTES: Final[Mapping[tuple[str, str], Route]] = {("POST", "/v1/responses"): create}
PREFIX_ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("GET", _PATH): read,
    ("DELETE", _PATH): delete,
}
"""By the beginning of the path."""
