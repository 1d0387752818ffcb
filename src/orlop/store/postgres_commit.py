"""A batch of events as one statement, its rows as binary arrays: one round trip, one plan.

Invariants:
1. All or nothing: the statement is a transaction of its own, or part of its caller's.
2. Nothing is written under an epoch that is over: the row that says who owns the journal is locked
   for the length of the commit, so that whoever takes the journal over comes before it or after it.

Written for `libpq` directly: taking a statement and sixteen lists apart for every commit cost more
than the commit.
"""

import struct
from collections.abc import Sequence
from typing import Final, LiteralString, NamedTuple

from psycopg import Connection, pq

from orlop.abi.errors import JournalAway, JournalStopped
from orlop.store.rows import Entry
from orlop.store.stamp import PART_BITS

INSERT: Final[LiteralString] = """
WITH mine AS MATERIALIZED (SELECT 1 FROM {schema}.owner WHERE epoch = $1::bigint FOR SHARE),
e AS (INSERT INTO {schema}.event
  (seq, header, hash, parts, process, process_seq, kind, call, key, wall_ns)
  SELECT u.* FROM mine, unnest($2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::text[],
    $7::bigint[], $8::text[], $9::text[], $10::bytea[], $11::bigint[]) AS u),
b AS (INSERT INTO {schema}.body(id, name, key_id, digest, data, blob)
  SELECT u.* FROM mine, unnest($12::bigint[], $13::bytea[], $14::integer[], $15::bytea[],
    $16::bytea[], $17::text[]) AS u)
SELECT count(*) FROM mine
"""

PLACED: Final[LiteralString] = (
    INSERT.removesuffix("SELECT count(*) FROM mine\n").rstrip()
    + """,
c AS (INSERT INTO orlop_kernels.common(cluster, place, journal, seq, kind)
  SELECT $18::text, u.place, $19::text, u.seq, u.kind FROM mine,
    unnest($20::bigint[], $21::bigint[], $22::text[]) AS u(place, seq, kind))
SELECT count(*) FROM mine
"""
)
"""Likewise, with the places of events that kernels have in common: each is taken once."""

_NAME: Final = b"orlop_commit"
_PLACED: Final = b"orlop_commit_placed"
_TEXT, _BYTEA, _BIGINT, _INTEGER = 25, 17, 20, 23
"""The numbers of PostgreSQL's own types; they are the same in every database."""
_NULL: Final = b"\xff\xff\xff\xff"
_SIZE: Final = struct.Struct(">i").pack


class Share(NamedTuple):
    """As whom places are taken."""

    cluster: str
    journal: str


def prepare(connection: Connection, statement: bytes, *, placed: bool = False) -> None:
    """Once a connection; then `insert` may leave the statement out."""
    result = connection.pgconn.prepare(_PLACED if placed else _NAME, statement)
    _judge(result, pq.ExecStatus.COMMAND_OK)


def insert(
    connection: Connection,
    epoch: int,
    entries: Sequence[Entry],
    statement: bytes | None = None,
    share: Share | None = None,
) -> None:
    """Raises `JournalStopped`: the database refused, or the epoch is over.

    statement: for another schema than the one that was prepared.  share: where places are taken.
    """
    values = [epoch.to_bytes(8, signed=True), *columns(entries)]
    name = _NAME
    if share is not None:
        name = _PLACED
        values += [share.cluster.encode(), share.journal.encode(), *_places(entries)]
    formats = [pq.Format.BINARY] * len(values)
    if statement is None:
        result = connection.pgconn.exec_prepared(name, values, formats, pq.Format.BINARY)
    else:
        result = connection.pgconn.exec_params(statement, values, None, formats, pq.Format.BINARY)
    _judge(result, pq.ExecStatus.TUPLES_OK)
    if int.from_bytes(result.get_value(0, 0) or b"") != 1:
        raise JournalStopped(
            f"epoch {epoch} of this journal is over: another kernel has taken it over"
        )


def columns(entries: Sequence[Entry]) -> list[bytes]:
    """Of both tables, each as an array."""
    return [*_events(entries), *_bodies(entries)]


def _judge(result: pq.abc.PGresult, wanted: pq.ExecStatus) -> None:
    if result.status != wanted:
        said = (result.error_message or b"the connection is lost").decode(errors="replace").strip()
        raise JournalAway(f"PostgreSQL says: {said}")


def _events(entries: Sequence[Entry]) -> list[bytes]:
    rows = [entry.row for entry in entries]
    headers = [entry.header for entry in entries]
    return [
        _numbers([row.seq for row in rows]),
        _array(_TEXT, [row.text for row in rows]),
        _array(_BYTEA, [row.hash for row in rows]),
        _array(_BYTEA, [row.parts or None for row in rows]),
        _array(_TEXT, [header.process.encode() for header in headers]),
        _numbers([header.process_seq for header in headers]),
        _array(_TEXT, [header.kind.encode() for header in headers]),
        _array(_TEXT, [header.call.encode() if header.call else None for header in headers]),
        _array(_BYTEA, [header.key for header in headers]),
        _numbers([header.wall_ns for header in headers]),
    ]


def _bodies(entries: Sequence[Entry]) -> list[bytes]:
    places: list[int] = []
    names: list[bytes | None] = []
    keys: list[int] = []
    digests: list[bytes | None] = []
    data: list[bytes | None] = []
    blobs: list[bytes | None] = []
    for entry in entries:
        row = entry.row
        places.append(row.seq << PART_BITS)
        names.append(None)
        keys.append(row.key_id or 0)
        digests.append(row.digest)
        data.append(row.data)
        blobs.append(row.blob.encode() if row.blob else None)
        for part in entry.brought:
            places.append(part.place)
            names.append(part.name)
            keys.append(part.key_id)
            digests.append(part.digest)
            data.append(part.data)
            blobs.append(part.blob.encode() if part.blob else None)
    return [
        _numbers(places),
        _array(_BYTEA, names),
        _array(_INTEGER, [_SIZE(key) for key in keys]),
        _array(_BYTEA, digests),
        _array(_BYTEA, data),
        _array(_TEXT, blobs),
    ]


def _places(entries: Sequence[Entry]) -> list[bytes]:
    headers = [entry.header for entry in entries if entry.header.place is not None]
    return [
        _numbers([header.moment for header in headers]),
        _numbers([header.seq for header in headers]),
        _array(_TEXT, [header.kind.encode() for header in headers]),
    ]


def _numbers(values: Sequence[int]) -> bytes:
    """`bigint[]`: each element has its length, 8, before it."""
    flat = [part for value in values for part in (8, value)]
    return _head(_BIGINT, len(values)) + struct.pack(">" + "iq" * len(values), *flat)


def _array(kind: int, values: Sequence[bytes | None]) -> bytes:
    parts = [_head(kind, len(values))]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(_SIZE(len(value)))
            parts.append(value)
    return b"".join(parts)


def _head(kind: int, length: int) -> bytes:
    """One dimension that begins at 1; nulls are allowed."""
    return struct.pack(">iiiii", 1, 1, kind, length, 1)
