"""What of a damaged journal can go on: good headers as they are, bad bodies struck out.

A body that is struck out looks like a pruned one wherever its digest can be known without it.
"""

from collections.abc import Iterator

from orlop.abi.ids import Seq
from orlop.abi.limits import JOURNAL_READ_EVENTS
from orlop.store.chain import STRUCK, body_digest, digest_of
from orlop.store.rows import Body, Row
from orlop.store.stamp import PART_BITS
from orlop.store.tape import Reading

_DIGEST_BYTES = 32


def salvaged(tape: Reading, last: Seq) -> Iterator[Row]:
    """The events 1 to `last`, whose headers must be good, ready to be written anew."""
    first = Seq(1)
    while first <= last:
        rows = tape.rows(first, last, JOURNAL_READ_EVENTS)
        parts: dict[int, Body] = {
            body.place: body for body in tape.parts_between(first, rows[-1].header.seq)
        }
        for row in rows:
            yield Row(row.header, row.parts, (_own(row), *_parts(row, parts)))
        first = Seq(rows[-1].header.seq + 1)


def _own(row: Row) -> Body:
    place, wanted = row.header.seq << PART_BITS, row.header.body_digest
    if row.bodies and row.bodies[0].data is not None:
        own = row.bodies[0]
        digest = digest_of(own)
        if digest is not None and body_digest(digest, row.parts) == wanted:
            return own
    key_id = row.bodies[0].key_id if row.bodies else 0
    noted = row.bodies[0].digest if row.bodies else None
    if noted is not None and body_digest(noted, row.parts) == wanted:
        return Body(place, key_id, None, digest=noted)
    if not row.parts:
        return Body(place, key_id, None, digest=wanted)
    # The digest of the parts is mixed with the lost one's: it can't be had any more.
    return Body(place, key_id, None, blob=STRUCK)


def _parts(row: Row, found: dict[int, Body]) -> Iterator[Body]:
    for at in range(len(row.parts) // _DIGEST_BYTES):
        place = (row.header.seq << PART_BITS) + at + 1
        wanted = row.parts[_DIGEST_BYTES * at : _DIGEST_BYTES * (at + 1)]
        body = found.get(place)
        if body is not None and body.data is not None and digest_of(body) == wanted:
            yield body
        else:
            yield Body(place, 0 if body is None else body.key_id, None, digest=wanted)
