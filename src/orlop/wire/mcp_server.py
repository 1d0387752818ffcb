"""The Model Context Protocol as its server speaks it, in both of its eras, over "streamable HTTP".

Each message is a POST of its own, answered with JSON.  Nothing is remembered between two, so a
client of the handshake gets no session, and one of 2026-07-28 expects none.

"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.cards import ToolCard
from orlop.abi.errors import KernelError, NotFound
from orlop.wire.mcp import (
    HANDSHAKE,
    KEY,
    METHOD_NOT_FOUND,
    MODERN,
    UNSUPPORTED_VERSION,
)

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
VERSION_FIELD: Final = "io.modelcontextprotocol/protocolVersion"
INSTRUCTIONS: Final = (
    "Tools of an Orlop kernel. Each call passes its one door: checked, metered, and in the journal."
)


class Request(Struct, frozen=True):
    """One message of a client; a notification has no id."""

    jsonrpc: str = ""
    id: int | str | None = None
    method: str = ""
    params: dict[str, object] = {}

    @property
    def version(self) -> str:
        """Of a request of 2026-07-28 and later; empty before that."""
        meta = self.params.get("_meta")
        said = meta.get(VERSION_FIELD) if isinstance(meta, dict) else None
        return said if isinstance(said, str) else ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call of a tool.  key: the client's own name for the effect."""

    tool: str
    arguments: dict[str, object]
    key: str


class Refusal(Exception):
    """An answer that is an error of the protocol."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({"data": data} if data else {})


def read(body: bytes) -> Request:
    """Raises `Refusal`."""
    try:
        request = msgspec.json.decode(body, type=Request)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refusal(PARSE_ERROR, f"that is no message: {error}") from error
    if request.jsonrpc != "2.0" or not request.method:
        raise Refusal(INVALID_REQUEST, "a message has `jsonrpc` 2.0 and a `method`")
    if request.version and request.version not in (MODERN, *HANDSHAKE):
        versions = [MODERN, *HANDSHAKE]
        told = {"supported": versions, "requested": request.version}
        raise Refusal(UNSUPPORTED_VERSION, "that version is not spoken here", told)
    return request


def result(request: Request, cards: Callable[[], Sequence[ToolCard]]) -> dict[str, object]:
    """What answers a request that is no call of a tool.  Raises `Refusal`."""
    match request.method:
        case "initialize":
            asked = request.params.get("protocolVersion")
            version = asked if asked in HANDSHAKE else HANDSHAKE[0]
            return {"protocolVersion": version, **_introduction()}
        case "server/discover":
            versions = [MODERN, *HANDSHAKE]
            return _kept({"supportedVersions": versions, **_introduction()})
        case "ping":
            return {}
        case "tools/list":
            tools = [_listed(card) for card in cards()]
            return _kept({"tools": tools}) if request.version == MODERN else {"tools": tools}
        case _:
            raise Refusal(METHOD_NOT_FOUND, f"{request.method[:100]} is not offered here")


def wanted(request: Request) -> Wanted:
    """The call that `tools/call` asks for.  Raises `Refusal`."""
    name, given = request.params.get("name"), request.params.get("arguments", {})
    if not isinstance(name, str) or not isinstance(given, dict):
        raise Refusal(INVALID_PARAMS, "`name` is a text, `arguments` an object")
    meta = request.params.get("_meta")
    key = meta.get(KEY, "") if isinstance(meta, dict) else ""
    return Wanted(name, given, key if isinstance(key, str) else "")


def said(value: object) -> dict[str, object]:
    """What a tool said, as the result of `tools/call`."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    content = [{"type": "text", "text": text}]
    whole: dict[str, object] = {"content": content, "isError": False, "resultType": "complete"}
    return {**whole, "structuredContent": value} if isinstance(value, dict) else whole


def failed(error: KernelError) -> dict[str, object]:
    """A call that failed, for the model to read.  Raises `Refusal` where there is no such tool."""
    if isinstance(error, NotFound):
        raise Refusal(INVALID_PARAMS, f"{error.code} {error.message}") from error
    text = f"{error.code} {error.message}"
    return {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete"}


def answer(id: int | str | None, result: dict[str, object]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "result": result})


def refusal(id: int | str | None, refused: Refusal) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": refused.error})


def _introduction() -> dict[str, object]:
    return {
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "orlop", "version": "1"},
        "instructions": INSTRUCTIONS,
    }


def _kept(said: dict[str, object]) -> dict[str, object]:
    """As 2026-07-28 wants what may be kept: who may keep it, and for how long."""
    return {**said, "resultType": "complete", "cacheScope": "private", "ttlMs": 0}


def _listed(card: ToolCard) -> dict[str, object]:
    listed: dict[str, object] = {
        "name": card.name,
        "description": card.description,
        "inputSchema": {"type": "object", **card.parameters},
        "annotations": {
            "readOnlyHint": card.effect == "pure",
            "idempotentHint": card.effect in ("pure", "idempotent"),
        },
    }
    if card.results.get("type") == "object":
        listed["outputSchema"] = card.results
    return listed
