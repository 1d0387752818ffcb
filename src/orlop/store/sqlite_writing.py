"""Rows on their way into the tables of `journal.db`."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

from orlop.abi.limits import JOURNAL_COMMIT_EVENTS
from orlop.store import schema
from orlop.store.home import Home
from orlop.store.redo import Batch, BodyRow, BootRow
from orlop.store.rows import Checkpoint, Entry
from orlop.store.stamp import PART_BITS

# Of what a statement is given, `sqlite3` asks adapters, then each value's class for two methods, in
# vain: for everything but numbers and texts.  These adapt nothing, at a third of the time of a row.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(type(None), {None: None}.get)


def rows_of(entries: Sequence[Entry], boots: Sequence[BootRow], home: Home) -> Batch:
    """boots: of the life that has stamped them.  What is too large for a table is written into
    files, durably."""
    made = Batch([], [], list(boots))
    events, bodies = made.events, made.bodies
    for entry in entries:
        row = entry.row
        events.append((row.seq, row.text.decode(), row.hash, row.parts or None))
        bodies.append(
            _body(home, row.seq << PART_BITS, None, row.key_id, row.digest, row.data, row.blob)
        )
        for part in entry.brought:
            bodies.append(
                _body(home, part.place, part.name, part.key_id, part.digest, part.data, part.blob)
            )
    return made


def put_back(connection: sqlite3.Connection, batch: Batch) -> None:
    """All of it that is not there; what is there is for an audit to judge."""
    connection.executemany("INSERT OR IGNORE INTO boot VALUES (?, ?)", batch.boots)
    first = batch.events[0][0] << PART_BITS
    found = connection.execute("SELECT id FROM body WHERE id >= ?", (first,)).fetchall()
    there = {place for (place,) in found}
    bodies = [body for body in batch.bodies if body[0] not in there]
    insert(connection, Batch(batch.events, bodies))


def insert(connection: sqlite3.Connection, batch: Batch) -> None:
    """Events and bodies; whoever begins a life has noted it."""
    _insert(connection, "event", schema.EVENT, list(chain.from_iterable(batch.events)))
    _insert(connection, "body", schema.BODY, list(chain.from_iterable(batch.bodies)))


def insert_checkpoints(connection: sqlite3.Connection, made: Sequence[Checkpoint]) -> None:
    connection.executemany(
        "INSERT INTO checkpoint VALUES (?, ?, ?, ?)",
        [(one.size, one.root, one.frontier, one.note) for one in made],
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT may have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _body(
    home: Home,
    place: int,
    name: bytes | None,
    key_id: int | None,
    digest: bytes | None,
    data: bytes | None,
    blob: str | None,
) -> BodyRow:
    if blob is None or data is None:
        return (place, name, key_id, digest, data, blob)
    home.write_blob(blob, data)
    return (place, name, key_id, digest, None, blob)


def _insert(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], values: list[object]
) -> None:
    """In statements of a power of two of rows: so few statements serve batches of any size."""
    width, start = len(columns), 0
    while rows := (len(values) - start) // width:
        size = min(1 << rows.bit_length() - 1, JOURNAL_COMMIT_EVENTS)
        connection.execute(
            schema.insert(table, columns, size), values[start : start + width * size]
        )
        start += width * size
