"""One row for a call that is over in one moment: its intent, what it changed, and its outcome.

Such a call is three events that nobody could have seen one without the others.  As one row they
are sealed, chained and indexed once; whoever reads gets the three, which share a number.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from orlop.abi.errors import JournalDamaged
from orlop.abi.events import Header
from orlop.store.rows import Stored

KIND: Final = "call.whole"
HELD: Final = ("call.entered", "file.changed", "call.returned")
"""In this order."""

_bodies: Final = msgspec.json.Decoder(tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw])


def joined(bodies: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(bodies) + b"]"


def headers(header: Header) -> tuple[Header, Header, Header]:
    """As they would be if each lay in a row of its own."""
    entered, changed, returned = HELD
    return (
        replace(header, kind=entered, key=None),
        replace(header, kind=changed, cause=header.seq, key=None, args_digest=None),
        replace(header, kind=returned, cause=header.seq, args_digest=None),
    )


def asked(kinds: Sequence[str] | None) -> Sequence[str] | None:
    """The kinds of rows that hold events of these."""
    if kinds is None or not any(kind in HELD for kind in kinds):
        return kinds
    return (*kinds, KIND)


def told(rows: Iterable[Stored], kinds: Sequence[str] | None = None) -> list[Stored]:
    """The events that rows hold, of these kinds."""
    events: list[Stored] = []
    for row in rows:
        if row.header.kind != KIND:
            events.append(row)
        else:
            events += [one for one in _split(row) if kinds is None or one.header.kind in kinds]
    return events


def _split(row: Stored) -> Iterator[Stored]:
    parts: Sequence[bytes | None] = (None, None, None)
    if row.body is not None:
        try:
            parts = [bytes(body) for body in _bodies.decode(row.body)]
        except msgspec.DecodeError as error:
            raise JournalDamaged(f"event {row.header.seq} can't be read: {error}") from error
    for header, body in zip(headers(row.header), parts, strict=True):
        yield Stored(header, body, shares=True)
