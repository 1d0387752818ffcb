"""What an external vector store is fed with, and what it named held against the rows."""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from orlop.abi.ids import Seq
from orlop.memory.finding import Filter, where
from orlop.memory.reading import applied, born
from orlop.memory.stores.store import Place, Point


class Feed(Struct, frozen=True, kw_only=True):
    """One place's changes since it was fed last."""

    place: Place
    file: int
    """Which file the rows are of: in one that was made anew they have other ids."""
    seq: Seq
    after: Seq
    """What was fed before; 0: this is everything."""
    was_erased: bool
    """Something has been since then, here or by another kernel: what was fed may hold it."""
    points: tuple[Point, ...]
    closed: tuple[int, ...]


def since(connection: sqlite3.Connection, place: Place, file: int, seq: int) -> Feed:
    """All that is open and has come since `seq`; everything, where the file is another one."""
    now, here = applied(connection), born(connection)
    if here != file:
        seq = 0
    rows = connection.execute(
        "SELECT v.id, e.data FROM version v JOIN vector e ON e.model = ? AND e.id = v.id"
        " WHERE v.tenant = ? AND v.namespace = ? AND v.known_to IS NULL"
        " AND (v.known_from > ? OR e.seq > ?) ORDER BY v.id",
        (place.model, place.tenant, place.namespace, seq, seq),
    ).fetchall()
    closed = connection.execute(
        "SELECT id FROM version WHERE tenant = ? AND namespace = ? AND known_to > ?"
        " AND known_to IS NOT NULL",
        (place.tenant, place.namespace, seq),
    ).fetchall()
    erased = connection.execute("SELECT 1 FROM erasure WHERE seq > ? LIMIT 1", (seq,)).fetchone()
    return Feed(
        place=place,
        file=here,
        seq=now,
        after=Seq(seq),
        was_erased=seq > 0 and erased is not None,
        points=tuple(Point(id, data) for id, data in rows),
        closed=tuple(id for (id,) in closed) if seq else (),
    )


def candidates(
    connection: sqlite3.Connection, wanted: Filter, model: str, ids: Sequence[int], seen: int
) -> list[tuple[int, bytes]]:
    """Of those that were named, and of all that came since, the ones that meet the filter."""
    said, bound = where(wanted)
    rows = connection.execute(
        "SELECT version.id, e.data FROM version JOIN vector e ON e.model = ? AND e.id = version.id"
        f" WHERE {said} AND (version.id IN (SELECT value FROM json_each(?))"
        " OR known_from > ? OR e.seq > ?)",
        (model, *bound, msgspec.json.encode(ids).decode(), seen, seen),
    )
    return rows.fetchall()


def fed(connection: sqlite3.Connection, place: Place, seen: int, length: int, most: int) -> int:
    """How many of this place the store was given that are still current; it stops at `most`.

    length: bytes of a vector.
    """
    (count,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM version v JOIN vector e ON e.model = ? AND e.id = v.id"
        " WHERE v.tenant = ? AND v.namespace = ? AND v.known_to IS NULL"
        " AND v.known_from <= ? AND e.seq <= ? AND length(e.data) = ? LIMIT ?)",
        (place.model, place.tenant, place.namespace, seen, seen, length, most),
    ).fetchone()
    return int(count)
