"""How a block is read from its rows, and brought up to date with them.

A block is a cache of rows.  Before each use it reads what was folded since (`Block.seen`), so it is
never behind the connection that it is used with.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy

from orlop.abi.ids import Seq, TenantId
from orlop.memory.block import OPEN, Block
from orlop.memory.reading import applied, born

_CHUNK: Final = 20_000
"""Rows that are looked at together where a block may not stay in RAM."""
_DEAD_SHARE: Final = 4
"""A block is read anew once more than a quarter of its rows are closed."""
_ROWS: Final = (
    "SELECT v.id, v.known_from, coalesce(v.known_to, {open}), v.valid_from, v.valid_to, v.expires,"
    " v.confidence, e.data FROM version v JOIN vector e ON e.model = ? AND e.id = v.id"
    " WHERE v.tenant = ? AND v.namespace = ? AND {which} ORDER BY v.id"
)


class Part(NamedTuple):
    """What one block holds: a namespace's open versions or past ones, by one model's vectors."""

    tenant: TenantId
    namespace: str
    model: str
    past: bool

    @property
    def name(self) -> str:
        """Within its tenant."""
        return f"{self.namespace}\n{self.model}" + ("\npast" if self.past else "")


def count(connection: sqlite3.Connection, part: Part) -> int:
    which = "known_to IS NOT NULL" if part.past else "known_to IS NULL"
    (rows,) = connection.execute(
        f"SELECT count(*) FROM version WHERE tenant = ? AND namespace = ? AND {which}",
        (part.tenant, part.namespace),
    ).fetchone()
    return int(rows)


def loaded(connection: sqlite3.Connection, part: Part, dimensions: int) -> Block:
    """All of it."""
    seen = applied(connection)
    block = _block(seen, _select(connection, part, "1").fetchall(), dimensions)
    block.born = born(connection)
    return block


def pieces(connection: sqlite3.Connection, part: Part, dimensions: int) -> Iterator[Block]:
    """All of it, piece by piece: for what has no place in RAM."""
    rows = _select(connection, part, "1")
    while chunk := rows.fetchmany(_CHUNK):
        yield _block(Seq(0), chunk, dimensions)


def refreshed(connection: sqlite3.Connection, part: Part, block: Block) -> Block | None:
    """With all that was folded since; None where it has to be read anew."""
    if born(connection) != block.born:
        return None
    now = applied(connection)
    if now == block.seen:
        return block
    seen = int(block.seen)
    if now < block.seen or _was_upheaved(connection, part, seen):
        return None
    since = f"v.known_to > {seen}" if part.past else f"v.known_from > {seen}"
    rows = _select(connection, part, since).fetchall()
    if not part.past:
        _close(connection, part, block, seen)
        if block.dead * _DEAD_SHARE > block.rows:
            return None
    elif rows:  # They come in the order of their end, not of their ids.
        return None
    if rows:
        block.extend(_block(now, rows, block.dimensions))
    block.seen = now
    return block


def _was_upheaved(connection: sqlite3.Connection, part: Part, seen: int) -> bool:
    """Rows were changed that are no news: erased, or given other vectors."""
    found = connection.execute(
        "SELECT 1 FROM upheaval WHERE seq > ? AND tenant = ? LIMIT 1", (seen, part.tenant)
    ).fetchone()
    return found is not None


def _close(connection: sqlite3.Connection, part: Part, block: Block, seen: int) -> None:
    """Mark the rows that were closed since."""
    closed = connection.execute(
        "SELECT id, known_to FROM version WHERE tenant = ? AND namespace = ? AND known_to > ?"
        " AND known_to IS NOT NULL",
        (part.tenant, part.namespace, seen),
    ).fetchall()
    for id, known_to in closed:
        block.close(id, known_to)


def _select(connection: sqlite3.Connection, part: Part, since: str) -> sqlite3.Cursor:
    which = "v.known_to IS NOT NULL" if part.past else "v.known_to IS NULL"
    statement = _ROWS.format(open=OPEN, which=f"{which} AND {since}")
    return connection.execute(statement, (part.model, part.tenant, part.namespace))


def _block(seen: Seq, rows: Sequence[tuple[int, ...]], dimensions: int) -> Block:
    """Vectors of another length than `dimensions` are of another version of the model: left out."""
    fitting = [row for row in rows if len(_data(row)) == 2 * dimensions]
    times = numpy.array([row[:6] for row in fitting], numpy.int64).reshape(-1, 6).T.copy()
    confidence = numpy.array([row[6] for row in fitting], numpy.float32)
    joined = b"".join([_data(row) for row in fitting])
    vectors = numpy.frombuffer(joined, numpy.float16).astype(numpy.float32)
    return Block(seen, times, confidence, vectors.reshape(-1, dimensions))


def _data(row: Sequence[object]) -> bytes:
    data = row[7]
    return data if isinstance(data, bytes) else b""
