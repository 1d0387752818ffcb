"""One route of the HTTP API, as its document shows it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route.  `body`, `reply`: an ABI type, a schema, or the name of a component."""

    method: str
    path: str
    summary: str
    body: object = None
    media: str = "application/json"
    """Of the body."""
    reply: object = None
    status: int = 200
    stream: str = ""
    """The media type of its answer in pieces, if it has one."""
    query: tuple[str, ...] = ()
    """Names; of numbers, unless one ends in `=`."""
    later: object = None
    """What it answers with 202."""
    public: bool = False


SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
OURS: Final = "/orlop/v1"
