"""The way out: which hosts a process may reach, what it sent there, and what came back.

A rule is `HOST[:PORT][=MODE]`: a name, an address, or `*.NAME` for all names below it.  What a
second sending would do follows from it: GET, HEAD and OPTIONS are `pure`, all else `irreversible`,
unless the rule's mode says that the host's other methods are `idempotent` or `pure` too.  A
`tunnel` is not looked into: its bytes are counted, and what went through it is in no record.
"""

import ipaddress
from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec import Struct

from orlop.abi.cards import Effect
from orlop.abi.errors import BadCall
from orlop.abi.hints import Facts, Hints
from orlop.abi.limits import NAME_CHARS_MAX

Mode = Literal["", "idempotent", "pure", "tunnel"]
MODES: tuple[Mode, ...] = ("", "idempotent", "pure", "tunnel")
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that by HTTP's own rules change nothing."""

Headers = tuple[tuple[str, str], ...]


class NetRule(Struct, frozen=True):
    host: str
    port: int | None = None
    mode: Mode = ""

    def fits(self, host: str, port: int) -> bool:
        """`*` stands for names of the world, never for this machine or for a bare address."""
        if self.port is not None and self.port != port:
            return False
        if not self.host.startswith("*"):
            return self.host == host
        if is_here(host):
            return False
        return self.host == "*" or host.endswith(self.host[1:])

    def effect(self, method: str) -> Effect:
        if method in SAFE or self.mode == "pure":
            return "pure"
        return "idempotent" if self.mode == "idempotent" else "irreversible"


def is_here(host: str) -> bool:
    """Whether the name can only mean this machine, or is no name but an address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def read_rule(text: str) -> NetRule:
    """Raises `BadCall`."""
    where, _, mode = text.partition("=")
    host, port = split_host(where)
    if not host or len(host) > NAME_CHARS_MAX * 2 or not host.isprintable() or " " in host:
        raise BadCall(f"net {text!r}: write HOST, HOST:PORT or *.NAME")
    if "*" in host and not (host == "*" or (host.startswith("*.") and "*" not in host[1:])):
        raise BadCall(f"net {text!r}: `*` stands first, as in *.example.com")
    for known in MODES:
        if known == mode:
            return NetRule(host, port, known)
    raise BadCall(f"net {text!r}: no mode {mode!r}; there is: {', '.join(filter(None, MODES))}")


def read_rules(texts: Iterable[str]) -> tuple[NetRule, ...]:
    """Raises `BadCall`."""
    return tuple(read_rule(text) for text in texts)


def split_host(text: str) -> tuple[str, int | None]:
    """`HOST[:PORT]`, the host in lower case without brackets.  Raises `BadCall`."""
    host, colon, port = text.strip().lower().rpartition(":")
    if not colon or port.endswith("]") or (":" in host and not host.startswith("[")):
        return text.strip().lower().strip("[]").rstrip("."), None
    if not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise BadCall(f"{text[:NAME_CHARS_MAX]!r}: no such port")
    return host.strip("[]").rstrip("."), int(port)


class Fetch(Struct, frozen=True, kw_only=True, tag="fetch", omit_defaults=True):
    """Ask a web server, through the kernel: recorded, so that a resume sends nothing twice."""

    TRANSPORT: ClassVar = ("hints", "carried")

    method: str
    url: str
    headers: Headers = ()
    """Those that change what is asked for, in lower case."""
    body: bytes = b""
    carried: Headers = ()
    """Those that do not: who asks, with which credentials and trace.  Sent, and never recorded."""
    hints: Hints = Hints()


class Fetched(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="fetched"):
    """The end of a `fetch`: what the server said, whatever it said."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    chunks: tuple[int, ...] = ()
    """Of an answer that streamed: how long the pieces were in which it came."""
    facts: Facts


class Answered(Struct, frozen=True):
    """What a server said."""

    status: int
    headers: Headers
    body: bytes
    chunks: tuple[int, ...] = ()


class Begun(Struct, frozen=True):
    """The head of an answer that streams; its pieces follow as they come, and are provisional until
    the call has ended."""

    status: int
    headers: Headers


Onward = Begun | bytes

STREAMS = (
    *("text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl"),
    *("application/stream+json", "application/json-seq"),
)
"""Media types of answers that come bit by bit, and are read so."""


def streams(headers: Headers) -> bool:
    """Whether the answer is passed on piece by piece."""
    types = [value for name, value in headers if name.lower() == "content-type"]
    return any(value.partition(";")[0].strip().lower() in STREAMS for value in types)


class EgressClosed(Struct, frozen=True, kw_only=True, tag_field="kind", tag="egress.closed"):
    """One connection through the proxy, from its beginning to its end."""

    host: str
    port: int
    how: Literal["exchanges", "tunnel"]
    """Looked into, each exchange a call; or its bytes passed on as they are."""
    sent: int
    """Bytes that the process sent; `received` likewise."""
    received: int
    exchanges: int = 0
    seconds: float = 0.0
    who: str = ""
    """Of a tool's or a server's connection: which; the process's own otherwise."""


class EgressRefused(Struct, frozen=True, kw_only=True, tag_field="kind", tag="egress.refused"):
    """A host that no rule of the process names, or that its rights or a policy forbid."""

    host: str
    port: int
    reason: str
    times: int = 1
    """Also those that were not told since the last one, of the same process."""
    who: str = ""


EgressEvent = EgressClosed | EgressRefused


class EgressRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one process has sent out, over all of its incarnations."""

    connections: int = 0
    exchanges: int = 0
    tunnels: int = 0
    sent: int = 0
    received: int = 0
    refused: int = 0


EffectKind = Literal["model", "tool", "http", "file", "program"]


class CoveredKind(Struct, frozen=True, kw_only=True):
    """Of one kind of effects: how many passed the door, and how many beside it.

    beside: None where nobody can know.
    """

    kind: EffectKind
    through: int
    beside: int | None
    note: str = ""


class Coverage(Struct, frozen=True, kw_only=True):
    """Which share of a process's effects passed the door: what resume and replay cover."""

    process: str
    pid: int
    sandboxed: bool
    tier: str = ""
    kinds: tuple[CoveredKind, ...]
    share: float | None
    """Of all effects, from 0 to 1; None where some can't be counted."""
    reason: str = ""
