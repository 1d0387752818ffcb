"""The hash chain: how a header becomes bytes, and what must hold between two events.

hash        = SHA-256(prev ‖ canonical JSON of the header without prev and hash)
body_digest = SHA-256(own ciphertext)                            if the event brought no parts
            = SHA-256(0x01 ‖ SHA-256(own ciphertext) ‖ parts)    else; parts: their digests, joined
A ciphertext never begins with 0x01, so the two forms can't be mistaken for one another.
Integers that JSON readers can't hold (nanoseconds) are strings, bytes are hexadecimal.
"""

from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.events import Header
from orlop.store.rows import Body, Row

GENESIS: Final = bytes(32)
"""`prev` of the first event."""

STRUCK: Final = "struck"
"""In place of a blob's name: this body was given up by `accept_loss`, and its digest with it."""


class _Open(Struct, frozen=True):
    """The hashed part of a header; the fields are in RFC 8785's order, and stay so."""

    actor: str
    args_digest: str | None
    body_digest: str
    boot: str
    call: str | None
    cause: int | None
    epoch: int
    key: str | None
    kind: str
    mono_ns: str
    process: str
    process_seq: int
    seq: int
    tenant: str
    wall_ns: str


_ENCODE: Final = msgspec.json.Encoder().encode


def header_bytes(header: Header) -> bytes:
    """The canonical JSON (RFC 8785) of what the chain covers."""
    return _ENCODE(
        _Open(
            header.actor,
            None if header.args_digest is None else header.args_digest.hex(),
            header.body_digest.hex(),
            header.boot,
            header.call,
            header.cause,
            header.epoch,
            None if header.key is None else header.key.hex(),
            header.kind,
            str(header.mono_ns),
            header.process,
            header.process_seq,
            header.seq,
            header.tenant,
            str(header.wall_ns),
        )
    )


def link(prev: bytes, header: Header) -> bytes:
    """The hash of an event that follows the one whose hash is `prev`."""
    return sha256(prev + header_bytes(header)).digest()


def body_digest(own: bytes, parts: bytes) -> bytes:
    """own: SHA-256 of the event's own ciphertext.  parts: those of its parts, joined."""
    return sha256(b"\x01" + own + parts).digest() if parts else own


def digest_of(body: Body) -> bytes | None:
    """SHA-256 of a ciphertext; of a pruned one, what was noted of it."""
    return body.digest if body.data is None else sha256(body.data).digest()


def flaw_in(row: Row) -> str | None:
    """What is wrong with this row, taken for itself; None if it is as it was written."""
    header = row.header
    try:
        if link(header.prev, header) != header.hash:
            return "its header does not fit its hash"
        if not row.bodies:
            return "its body is missing"
        own = row.bodies[0]
        if own.data is None and own.blob == STRUCK:
            return None
        if own.data is None and own.blob is not None:
            return f"its blob {own.blob} is missing"
        digest = digest_of(own)
        if digest is None or body_digest(digest, row.parts) != header.body_digest:
            return "its body does not fit its digest"
    except (AttributeError, TypeError, ValueError, msgspec.MsgspecError):
        # A flipped bit may make a number of a text: then it is not what we wrote either.
        return "a field of its header has the wrong type"
    return None


def flaw_between(prev: Header | None, header: Header) -> str | None:
    """What is wrong in the step from `prev` (None: the beginning) to `header`."""
    if header.seq != (prev.seq + 1 if prev else 1):
        return f"it should be event {prev.seq + 1 if prev else 1}"
    if header.prev != (prev.hash if prev else GENESIS):
        return "it does not name the hash of the event before it"
    if prev is not None and header.epoch < prev.epoch:
        return "its epoch is older than that of the event before it"
    return None
