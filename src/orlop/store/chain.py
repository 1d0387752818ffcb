"""The hash chain: how a header becomes bytes, and what must hold between two events.

text        = the header's JSON without boot, prev and hash; what is stored is what is hashed
hash        = SHA-256(prev ‖ text)
body_digest = SHA-256(own ciphertext)                            if the event brought no parts
            = SHA-256(0x01 ‖ SHA-256(own ciphertext) ‖ parts)    else; parts: their digests, joined
A ciphertext never begins with 0x01, so the two forms can't be mistaken for one another.
"""

from hashlib import sha256
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from orlop.abi.events import Header
from orlop.store.rows import Body, Row

GENESIS: Final = bytes(32)
"""`prev` of the first event."""

STRUCK: Final = "struck"
"""In place of a blob's name: this body was given up by `accept_loss`, and its digest with it."""

encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Header).decode


def link(prev: bytes, text: bytes) -> bytes:
    """The hash of an event that follows the one whose hash is `prev`."""
    return sha256(prev + text).digest()


def header_of(row: Row) -> Header | None:
    """The header, if it fits its hash; None if not.  `boot` is not filled in."""
    try:
        if sha256(row.prev + row.text).digest() != row.hash:
            return None
        header = _decode(row.text)
    # A flipped bit may make a number of a text: then it is not what we wrote either.
    except (TypeError, ValueError, msgspec.MsgspecError):
        return None
    if header.seq != row.seq:
        return None
    # What follows from the journal is put in place; a second header would cost a microsecond.
    force_setattr(header, "prev", row.prev)
    force_setattr(header, "hash", row.hash)
    return header


def body_digest(own: bytes, parts: bytes) -> bytes:
    """own: SHA-256 of the event's own ciphertext.  parts: those of its parts, joined."""
    return sha256(b"\x01" + own + parts).digest() if parts else own


def digest_of(body: Body | Row) -> bytes | None:
    """SHA-256 of a ciphertext; of a pruned one, what was noted of it."""
    return body.digest if body.data is None else sha256(body.data).digest()


def flaw_in_body(row: Row, header: Header) -> str | None:
    """What is wrong with an event's own body; None if it is as it was written, or was pruned."""
    if row.key_id is None:
        return "its body is missing"
    if row.data is None and row.blob == STRUCK:
        return None
    if row.data is None and row.blob is not None:
        return f"its blob {row.blob} is missing"
    try:
        digest = digest_of(row)
        if digest is None or body_digest(digest, row.parts) != header.body_digest:
            return "its body does not fit its digest"
    except TypeError:
        return "its body has the wrong type"
    return None


def flaw_between(prev: Header | None, header: Header) -> str | None:
    """What is wrong in the step from `prev` (None: the beginning) to `header`, the next."""
    if header.prev != (prev.hash if prev else GENESIS):
        return "it does not follow the event before it"
    if prev is not None and header.epoch < prev.epoch:
        return "its epoch is older than that of the event before it"
    return None
