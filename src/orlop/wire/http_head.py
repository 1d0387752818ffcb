"""The head of an HTTP/1.1 request as a proxy reads it: strictly, since two readings of one head are
how requests are smuggled."""

from typing import Final

from msgspec import Struct

from orlop.abi.egress import Headers
from orlop.abi.errors import BadCall

HEAD_END: Final = b"\r\n\r\n"

CARRIED: Final = frozenset(
    {
        *("authorization", "cookie", "user-agent", "date", "host", "from", "origin", "referer"),
        *("traceparent", "tracestate", "baggage", "b3", "sentry-trace", "idempotency-key"),
        *("x-request-id", "x-correlation-id", "x-amz-date", "x-amzn-trace-id", "content-length"),
        *("connection", "keep-alive", "proxy-authorization", "proxy-connection", "expect", "te"),
        *("transfer-encoding", "upgrade", "cache-control", "pragma", "dnt", "priority"),
    }
)
"""Headers that say who asks, when and over which connection: another run sends others, and asks
for the same."""

CARRIED_PARTS: Final = (
    *("token", "secret", "api-key", "apikey", "signature", "credential", "x-b3-", "amz-sdk-"),
    *("x-stainless-", "sec-", "auth"),
)
"""Likewise, wherever a name has one of these in it."""


class Head(Struct, frozen=True):
    """`target` as it came: `host:port`, a whole address, or a path.  Names are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    is_old: bool = False
    """HTTP/1.0: it reads no chunks."""

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def first(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    @property
    def keeps_open(self) -> bool:
        said = f"{self.first('connection')},{self.first('proxy-connection')}".lower()
        return "close" not in said

    @property
    def is_chunked(self) -> bool:
        return bool(self.all("transfer-encoding"))

    @property
    def length(self) -> int:
        return int(self.first("content-length") or "0")


def read(head: bytes) -> Head:
    """Raises `BadCall`."""
    try:
        lines = head.removesuffix(HEAD_END).decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise BadCall("no HTTP request line") from None
    if version != "HTTP/1.1" and version != "HTTP/1.0":
        raise BadCall("only HTTP/1.1 is spoken here")
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or not value.isprintable():
            raise BadCall("a header can't be read")
        headers.append((name.lower(), value.strip()))
    found = Head(method, target, tuple(headers), version == "HTTP/1.0")
    lengths, codings = found.all("content-length"), found.all("transfer-encoding")
    if len(lengths) > 1 or (lengths and codings):
        raise BadCall("two lengths of one body")
    if lengths and not (lengths[0].isascii() and lengths[0].isdecimal() and len(lengths[0]) < 16):
        raise BadCall("content-length is no number")
    if codings and codings != ["chunked"]:
        raise BadCall("transfer-encoding: `chunked` only")
    return found


def chunk_size(line: bytes) -> int:
    """Of one chunk's first line.  Raises `BadCall`."""
    digits = line.partition(b";")[0].strip()
    try:
        if not digits or len(digits) > 8 or not set(digits.lower()) <= set(b"0123456789abcdef"):
            raise ValueError
        return int(digits, 16)
    except ValueError:
        raise BadCall("a chunk's size can't be read") from None


CHUNKED: Final = (("transfer-encoding", "chunked"),)
CHUNKS_END: Final = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def written(status: int, headers: tuple[tuple[str, str], ...], length: int, keep: bool) -> bytes:
    """The head of an answer.  `length` below 0: it says it itself."""
    lines = [f"HTTP/1.1 {status} {PHRASES.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length >= 0:
        lines.append(f"content-length: {length}")
    if not keep:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


PHRASES: Final = {
    200: "OK",
    201: "Created",
    204: "No Content",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    409: "Conflict",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def direct(head: Head) -> bytes:
    """The head as a server gets it that is asked without a proxy."""
    path = head.target.partition("://")[2].partition("/")
    lines = [f"{head.method} /{path[2]} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in head.headers if not name.startswith("proxy-")]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def divided(headers: Headers) -> tuple[Headers, Headers]:
    """Those that change what is asked for, sorted; and the rest."""
    meant = sorted(header for header in headers if not is_carried(header[0]))
    return tuple(meant), tuple(header for header in headers if is_carried(header[0]))


def is_carried(name: str) -> bool:
    return name in CARRIED or any(part in name for part in CARRIED_PARTS)
