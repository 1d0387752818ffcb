"""The head anchor: the newest acknowledged event, kept beside the journal.

A hash chain notices an altered event but not a lost tail; a second small file does.  It has two
slots that are written in turn, so that a torn write leaves the other one whole.
"""

from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.ids import JournalId, Seq

SLOT_BYTES: Final = 512
"""One sector: what a disk writes whole or not at all, mostly."""

SLOT_APART_BYTES: Final = 4096
"""Slots lie in different blocks of any disk."""


class Anchor(Struct, frozen=True, forbid_unknown_fields=True):
    """The fields are in canonical order.  `hash`: hexadecimal, of event `seq` (0: none yet)."""

    epoch: int
    generation: int
    """One more with each write; the slot is its parity."""
    hash: str
    journal: JournalId
    seq: Seq


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Anchor)


def encode(anchor: Anchor) -> bytes:
    """Two lines, JSON and its SHA-256, filled up to the slot's length; `cat` can read them."""
    text = _ENCODER.encode(anchor)
    return (text + b"\n" + sha256(text).hexdigest().encode() + b"\n").ljust(SLOT_BYTES, b"\0")


def decode(slot: bytes) -> Anchor | None:
    """None where the slot is torn, altered or was never written."""
    text, _, rest = slot.partition(b"\n")
    if rest.rstrip(b"\0") != sha256(text).hexdigest().encode() + b"\n":
        return None
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError:
        return None


def newest(slots: tuple[bytes, ...]) -> tuple[Anchor | None, list[int]]:
    """The newest whole slot, and the numbers of those that do not check out."""
    read = [decode(slot) for slot in slots]
    whole = [anchor for anchor in read if anchor is not None]
    bad = [at for at, anchor in enumerate(read) if anchor is None]
    return max(whole, key=lambda anchor: anchor.generation, default=None), bad
