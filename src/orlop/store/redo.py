"""The redo log: the newest batches of events, each with the head anchor that vouches for it.

A commit to SQLite writes whole pages of every table and index that it touches, and an anchor lies
in another file: two syncs, one after the other.  So SQLite does not wait for its disk, and a batch
is durable by one write and one sync of a record here, in a file that has its full length already.
Before a record is overwritten the database is synced, so what a power cut takes from the database
is always here; it is put back where it goes on with the chain (redo-only logging after ARIES, Mohan
et al. 1992: nothing is undone, since what has been written to a journal stays).

It lies in `journal.anchor`, behind the slots.  A record is

  magic, 8 bytes · length, 4 · SHA-256 of the payload, 32 · payload · zeros up to a sector's end

and its payload MessagePack: the anchor as in a slot, the rows of events, the rows of bodies.
"""

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.ids import JournalId, Seq
from orlop.abi.limits import REDO_BYTES
from orlop.store import anchor, files
from orlop.store.anchor import SLOT_APART_BYTES, SLOT_BYTES, Anchor
from orlop.store.chain import link
from orlop.store.rows import Body, Row
from orlop.store.stamp import PART_BITS
from orlop.store.tape import ANCHOR_SLOTS

START: Final = ANCHOR_SLOTS * SLOT_APART_BYTES
"""In the file: the slots come first."""

_MAGIC: Final = b"ORLOPRD1"
_SECTOR_BYTES: Final = 512
_HEAD_BYTES: Final = len(_MAGIC) + 4 + 32

EventRow = tuple[int, str, bytes, bytes | None]
"""The columns of `schema.EVENT`."""
BodyRow = tuple[int, bytes | None, int | None, bytes | None, bytes | None, str | None]
"""The columns of `schema.BODY`."""


BootRow = tuple[int, str]


class Batch(Struct, frozen=True, array_like=True):
    """What one commit has put into the database, row by row, and in which lives."""

    events: list[EventRow] = []
    bodies: list[BodyRow] = []
    boots: list[BootRow] = []


class _Payload(Struct, frozen=True, array_like=True):
    slot: bytes
    batch: Batch


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(_Payload).decode


class Record(Struct, frozen=True):
    slot: bytes
    """As `anchor.encode` has made it."""
    mark: Anchor
    batch: Batch


class Redo:
    """The log of the kernel that holds the journal.  handle: of the anchor's file.  size: in bytes.

    Raises `OSError` where the disk has no room for it.
    """

    def __init__(self, handle: int, size: int = REDO_BYTES) -> None:
        self._handle = handle
        self._size = size
        self._at = 0
        if os.fstat(handle).st_size < START + size:
            self.wipe()

    def append(self, slot: bytes, batch: Batch) -> bool:
        """Durable on return; False: no room, until `rewind`, or at all where the log is empty."""
        record = _encoded(slot, batch)
        if self._at + len(record) > self._size:
            return False
        self._write(record, self._at)
        self._at += len(record)
        return True

    def rewind(self) -> None:
        """All that is here lies in the database, durably, and a slot has the newest anchor."""
        self._at = 0

    def wipe(self) -> None:
        """Overwrite all that was ever here."""
        self._write(bytes(self._size), 0)
        self._at = 0

    def _write(self, data: bytes, at: int) -> None:
        if os.pwrite(self._handle, data, START + at) != len(data):
            raise OSError("the disk took a part of a record only: is it full?")
        files.sync_data(self._handle)


def records(file: bytes) -> list[Record]:
    """The whole ones in an anchor's file, from the oldest to the newest."""
    return sorted(_records(file[START:]), key=lambda record: record.mark.generation)


def beyond(
    known: Sequence[Record], journal: JournalId, seq: Seq, digest: bytes
) -> tuple[Batch, list[Row]]:
    """What goes on with the chain after event `seq`, whose hash is `digest`: to write, to read."""
    events: dict[int, EventRow] = {}
    bodies: dict[int, list[BodyRow]] = {}
    boots: dict[int, str] = {}
    for record in known:
        if record.mark.journal == journal:
            # Where two tell of one event, the newer record is right.
            events.update((event[0], event) for event in record.batch.events)
            bodies.update((event[0], []) for event in record.batch.events)
            boots.update(record.batch.boots)
            for body in record.batch.bodies:
                bodies[body[0] >> PART_BITS].append(body)
    found, rows = Batch([], [], list(boots.items())), list[Row]()
    while (event := events.get(seq + 1)) is not None:
        row = _row(event, bodies[seq + 1], digest)
        if link(digest, row.text) != row.hash:
            break
        found.events.append(event)
        found.bodies.extend(bodies[row.seq])
        rows.append(row)
        seq, digest = row.seq, row.hash
    return found, rows


def parts(batch: Batch, first: Seq, last: Seq) -> list[Body]:
    """Of the parts that these events brought."""
    return [
        Body(place, key_id or 0, data, name, digest, blob)
        for place, name, key_id, digest, data, blob in batch.bodies
        if first <= place >> PART_BITS <= last and place & ((1 << PART_BITS) - 1)
    ]


def _row(event: EventRow, bodies: list[BodyRow], prev: bytes) -> Row:
    seq, header, digest, brought = event
    own = next((body for body in bodies if body[0] == seq << PART_BITS), None)
    _, _, key_id, noted, data, blob = own or (0, None, None, None, None, None)
    return Row(Seq(seq), header.encode(), digest, brought or b"", prev, key_id, data, noted, blob)


def _encoded(slot: bytes, batch: Batch) -> bytes:
    payload = _ENCODE(_Payload(slot.rstrip(b"\0"), batch))
    head = _MAGIC + len(payload).to_bytes(4, "big") + sha256(payload).digest()
    length = len(head) + len(payload)
    return b"".join((head, payload, bytes(-length % _SECTOR_BYTES)))


def _records(data: bytes) -> Iterator[Record]:
    """Those that check out; what is between them is torn, old or nothing."""
    at = 0
    while (at := data.find(_MAGIC, at)) >= 0:
        record, length = _decoded(data, at) if at % _SECTOR_BYTES == 0 else (None, 1)
        if record is not None:
            yield record
        at += length


def _decoded(data: bytes, at: int) -> tuple[Record | None, int]:
    """The record that begins here, and how far it is to where the next one may."""
    start = at + _HEAD_BYTES
    length = int.from_bytes(data[at + len(_MAGIC) : at + len(_MAGIC) + 4], "big")
    payload = data[start : start + length]
    if sha256(payload).digest() != data[start - 32 : start]:
        return None, _SECTOR_BYTES
    try:
        made = _DECODE(payload)
    except msgspec.MsgspecError:
        return None, _SECTOR_BYTES
    slot = made.slot.ljust(SLOT_BYTES, b"\0")
    mark = anchor.decode(slot)
    if mark is None:
        return None, _SECTOR_BYTES
    return Record(slot, mark, made.batch), _HEAD_BYTES + length
