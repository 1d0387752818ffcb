"""The Model Context Protocol as its client speaks it, in both of its eras.

2026-07-28 has no handshake: each request names version and client in `_meta`.  Up to 2025-11-25 a
connection begins with `initialize`.  Whatever a server sends is read into the types below; what is
none of them is `None`, and never an exception of another library.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from orlop.abi.errors import DeviceFailed, ToolFailed
from orlop.wire.canonical import canonical

MODERN: Final = "2026-07-28"
HANDSHAKE: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Newest first; the first is what we offer."""

UNSUPPORTED_VERSION: Final = -32022
METHOD_NOT_FOUND: Final = -32601
ELICIT: Final = "elicitation/create"
CAPABILITIES: Final[dict[str, dict[str, dict[str, object]]]] = {"elicitation": {"form": {}}}
"""What servers may ask of us: a person's answer to a form."""

DECLINED: Final[dict[str, object]] = {"action": "decline"}
CLIENT: Final = {"name": "orlop", "version": "1"}
NAME: Final = re.compile(r"[A-Za-z0-9_./-]{1,64}")
_META: Final = "io.modelcontextprotocol/"
KEY: Final = "orlop/idempotency-key"
"""In `_meta` of a call: the effect's name for ever, for servers that do nothing twice for one."""


class RpcError(Struct, frozen=True):
    code: int
    message: str = ""


class Refused(Exception):
    """A server has answered with an error of the protocol."""

    def __init__(self, server: str, method: str, error: RpcError) -> None:
        super().__init__(f"{server} refused {method}: {error.message[:500]} ({error.code})")
        self.error = error


class Told(Struct, frozen=True):
    """One message of a server: an answer has an `id` and no `method`."""

    id: int | str | None = None
    method: str = ""
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: RpcError | None = None

    @property
    def is_answer(self) -> bool:
        return not self.method and self.id is not None


class Annotations(Struct, frozen=True, rename="camel"):
    """Hints of the server about itself; nothing is decided by them."""

    title: str | None = None
    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None


class Listed(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A tool as its server describes it.  All of this is what its digest is taken over."""

    name: str
    title: str | None = None
    description: str | None = None
    input_schema: dict[str, object] = {}
    output_schema: dict[str, object] | None = None
    annotations: Annotations | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON.  Raises `BadCall` where it has none."""
        return sha256(canonical(self)).hexdigest()


class ToolPage(Struct, frozen=True, rename="camel"):
    """The result of `tools/list`."""

    tools: list[Raw]
    next_cursor: str | None = None


class Piece(Struct, frozen=True):
    """Of a result's content; all but text is passed on as it came."""

    type: str
    text: str = ""


class Elicitation(Struct, frozen=True, rename="camel"):
    """What a server wants to know of a person."""

    message: str
    requested_schema: dict[str, object]
    mode: str = "form"


class InputRequest(Struct, frozen=True):
    """One of the things that a call needs before it can go on (2026-07-28)."""

    method: str
    params: Raw


class CallResult(Struct, frozen=True, rename="camel"):
    """The result of `tools/call`."""

    content: list[Raw] = []
    structured_content: Raw | UnsetType = UNSET
    is_error: bool | None = None
    result_type: str = "complete"
    input_requests: dict[str, InputRequest] = {}
    request_state: str | None = None


class Initialized(Struct, frozen=True, rename="camel"):
    """The result of `initialize`."""

    protocol_version: str


class Discovered(Struct, frozen=True, rename="camel"):
    """The result of `server/discover`."""

    supported_versions: list[str]


R = TypeVar("R", Initialized, Discovered, ToolPage)

_told: Final = msgspec.json.Decoder(Told)
_piece: Final = msgspec.json.Decoder(Piece)


def read(line: bytes) -> Told | None:
    """None: no message of the protocol."""
    try:
        return _told.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def request(id: int, method: str, params: Mapping[str, object], version: str) -> bytes:
    """version: as agreed; empty before that."""
    asked = dict(params)
    if version == MODERN:
        known = asked.get("_meta")
        asked["_meta"] = {
            **(known if isinstance(known, dict) else {}),
            f"{_META}protocolVersion": MODERN,
            f"{_META}clientInfo": CLIENT,
            f"{_META}clientCapabilities": CAPABILITIES,
        }
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": asked})


def notification(method: str, params: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params})


def reply(told: Told) -> bytes:
    """To a request of the server: it may ask whether we live, and for nothing else."""
    if told.method == "ping":
        return msgspec.json.encode({"jsonrpc": "2.0", "id": told.id, "result": {}})
    error = RpcError(METHOD_NOT_FOUND, f"{told.method[:100]} is not offered by this client")
    return msgspec.json.encode({"jsonrpc": "2.0", "id": told.id, "error": error})


def answered(id: int | str | None, result: Mapping[str, object]) -> bytes:
    """To a request of the server that was granted."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "result": result})


def elicitation(params: Raw | UnsetType) -> Elicitation | None:
    """None: it is no form that could be shown to a person."""
    if not isinstance(params, Raw):
        return None
    try:
        asked = msgspec.json.decode(params, type=Elicitation)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return asked if asked.mode == "form" else None


def wanted(answer: Raw) -> CallResult | None:
    """What a call needs before it can go on; None: it needs nothing."""
    try:
        result = msgspec.json.decode(answer, type=CallResult)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return result if result.result_type == "input_required" else None


def opening() -> dict[str, object]:
    """The parameters of `initialize`."""
    return {"protocolVersion": HANDSHAKE[0], "capabilities": CAPABILITIES, "clientInfo": CLIENT}


def headers(method: str, params: Mapping[str, object], version: str) -> dict[str, str]:
    """What repeats the body in HTTP's own words."""
    said = {"mcp-protocol-version": version} if version else {}
    if version == MODERN:
        said["mcp-method"] = method
        if isinstance(name := params.get("name"), str):
            said["mcp-name"] = name
    return said


def value(server: str, answer: Raw) -> object:
    """What a tool said: its structured content, else its text, else its content as it came.

    Raises `ToolFailed` where the tool says that it failed, `DeviceFailed` for what is no result.
    """
    try:
        result = msgspec.json.decode(answer, type=CallResult)
        pieces = [_piece.decode(piece) for piece in result.content]
        if result.is_error:
            said = " ".join(piece.text for piece in pieces).strip()
            raise ToolFailed(f"{server} says: {said or 'the tool failed'}")
        if result.result_type != "complete":
            raise ToolFailed(f"{server} wants {result.result_type}, which is not offered to it")
        if isinstance(result.structured_content, Raw):
            structured: object = msgspec.json.decode(result.structured_content)
            if structured is not None:
                return structured
        if all(piece.type == "text" for piece in pieces):
            return "\n".join(piece.text for piece in pieces)
        return [msgspec.json.decode(piece) for piece in result.content]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DeviceFailed(f"{server} answered no tool result: {error}") from error


def unusable(listed: Listed, *, over_http: bool) -> str:
    """Why a tool can't be used, or nothing."""
    if not NAME.fullmatch(listed.name):
        return "its name has other characters than letters, digits, `_`, `-`, `.` and `/`"
    if over_http and b'"x-mcp-header"' in msgspec.json.encode(listed.input_schema):
        return "it wants arguments as HTTP headers, which is not supported"
    return ""
