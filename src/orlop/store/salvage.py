"""What of a damaged journal can go on: good headers as they are, bad bodies struck out.

A body that is struck out looks like a pruned one wherever its digest can be known without it.
"""

from collections.abc import Iterator

import msgspec

from orlop.abi.errors import JournalDamaged
from orlop.abi.events import Header
from orlop.abi.ids import Seq
from orlop.abi.limits import JOURNAL_READ_EVENTS
from orlop.store.chain import STRUCK, body_digest, digest_of, flaw_in_body, header_of
from orlop.store.rows import Body, Entry, Row
from orlop.store.stamp import PART_BITS
from orlop.store.tape import Reading

_DIGEST_BYTES = 32


def salvaged(tape: Reading, last: Seq) -> Iterator[Entry]:
    """The events 1 to `last`, whose headers must be good, ready to be written anew."""
    first = Seq(1)
    while first <= last:
        rows = tape.rows(first, last, JOURNAL_READ_EVENTS)
        parts = {body.place: body for body in tape.parts_between(first, rows[-1].seq)}
        for row in rows:
            header = header_of(row)
            if header is None:
                raise JournalDamaged(f"event {row.seq} changed while it was being saved")
            yield Entry(_mended(row, header), header, tuple(_parts(row, parts)))
        first = Seq(rows[-1].seq + 1)


def _mended(row: Row, header: Header) -> Row:
    """The row with its own body as it is, as if pruned, or struck."""
    if row.data is not None and flaw_in_body(row, header) is None:
        return row
    kept = msgspec.structs.replace(row, key_id=row.key_id or 0, data=None, blob=None)
    if row.digest is not None and body_digest(row.digest, row.parts) == header.body_digest:
        return kept
    if not row.parts:
        return msgspec.structs.replace(kept, digest=header.body_digest)
    # The digest of the parts is mixed with the lost one's: it can't be had any more.
    return msgspec.structs.replace(kept, digest=None, blob=STRUCK)


def _parts(row: Row, found: dict[int, Body]) -> Iterator[Body]:
    for at in range(len(row.parts) // _DIGEST_BYTES):
        place = (row.seq << PART_BITS) + at + 1
        wanted = row.parts[_DIGEST_BYTES * at : _DIGEST_BYTES * (at + 1)]
        body = found.get(place)
        if body is not None and body.data is not None and digest_of(body) == wanted:
            yield body
        else:
            yield Body(place, 0 if body is None else body.key_id, None, digest=wanted)
