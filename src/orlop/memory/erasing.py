"""What an erasure does to the rows: the subject's go, and what lay in the same events stays.

The bodies of those events are struck out of the journal.  Folded again from there, the rows come
out as they are after this: what the events held of others is in `MemoryErased.kept`.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.events import Header
from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.labels import from_column
from orlop.abi.memory import Kept, KeptLink, KeptVector, MemoryErased, MemoryId, Version
from orlop.memory.columns import ALWAYS_NS, COLUMNS, NEVER_NS, UPSERT, scope_of, values_of

_attributes: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])
_sources: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])
_encode = msgspec.json.Encoder().encode
_SEQS: Final = "SELECT value FROM json_each(?)"


class Doomed(Struct, frozen=True, kw_only=True):
    """What an erasure would strike out, and what it must keep of that."""

    memories: tuple[MemoryId, ...]
    versions: int
    struck: tuple[Seq, ...]
    kept: tuple[Kept, ...]
    links: tuple[KeptLink, ...]
    vectors: tuple[KeptVector, ...]


def doomed(connection: sqlite3.Connection, tenant: TenantId, identifiers: Sequence[str]) -> Doomed:
    """Every memory that was ever about one of the identifiers, in all its versions."""
    names = _encode(identifiers).decode()
    connection.execute("BEGIN")
    try:
        rows = connection.execute(
            f"SELECT DISTINCT memory FROM version WHERE tenant = ? AND subject IN ({_SEQS})",
            (tenant, names),
        ).fetchall()
        memories = tuple(sorted(MemoryId(memory) for (memory,) in rows))
        ids = _encode(memories).decode()
        homes = connection.execute(
            f"SELECT home FROM version WHERE memory IN ({_SEQS})"
            " UNION SELECT e.seq FROM vector e JOIN version v ON v.id = e.id"
            f" WHERE e.seq > 0 AND v.memory IN ({_SEQS})"
            f" UNION SELECT home FROM link WHERE tenant = ? AND identifier IN ({_SEQS})",
            (ids, ids, tenant, names),
        ).fetchall()
        struck = tuple(sorted(Seq(home) for (home,) in homes))
        (versions,) = connection.execute(
            f"SELECT count(*) FROM version WHERE memory IN ({_SEQS})", (ids,)
        ).fetchone()
        seqs = _encode(struck).decode()
        return Doomed(
            memories=memories,
            versions=int(versions),
            struck=struck,
            kept=tuple(_kept(connection, ids, seqs)),
            links=tuple(_links(connection, tenant, names, seqs)),
            vectors=tuple(_vectors(connection, ids, seqs)),
        )
    finally:
        connection.execute("COMMIT")


def _kept(connection: sqlite3.Connection, ids: str, seqs: str) -> Iterable[Kept]:
    """Of other memories: what the struck events opened, or closed."""
    rows = connection.execute(
        f"SELECT {COLUMNS}, id FROM version WHERE memory NOT IN ({_SEQS})"
        f" AND (home IN ({_SEQS}) OR known_to IN ({_SEQS})) ORDER BY id",
        (ids, seqs, seqs),
    ).fetchall()
    for row in rows:
        vector = connection.execute(
            "SELECT model, data FROM vector WHERE id = ? AND seq = 0", (row[-1],)
        ).fetchone() or ("", b"")
        yield Kept(
            record=Version(
                memory=row[2],
                version=row[3],
                key=row[4],
                kind=row[5],
                text=row[6],
                attributes=_attributes.decode(row[7]),
                subject=row[8],
                valid_from_ns=None if row[12] == ALWAYS_NS else Nanoseconds(row[12]),
                valid_to_ns=None if row[13] == NEVER_NS else Nanoseconds(row[13]),
                expires_ns=None if row[14] == NEVER_NS else Nanoseconds(row[14]),
                confidence=row[15],
                sources=_sources.decode(row[16]),
                model=row[17],
                sealed=bool(row[21]),
                schema=row[22],
                vector=vector[1],
                labels=from_column(row[26]),
            ),
            namespace=row[1],
            known_from=row[9],
            known_to=row[10],
            closed=row[11],
            process=ProcessId(row[18]),
            call=CallId(row[19]),
            wall_ns=row[20],
            blind=bool(row[23]),
            vector_model=vector[0],
        )


def _links(
    connection: sqlite3.Connection, tenant: TenantId, names: str, seqs: str
) -> Iterable[KeptLink]:
    rows = connection.execute(
        "SELECT identifier, subject, known_from, known_to FROM link WHERE tenant = ?"
        f" AND identifier NOT IN ({_SEQS}) AND (home IN ({_SEQS}) OR known_to IN ({_SEQS}))"
        " ORDER BY id",
        (tenant, names, seqs, seqs),
    )
    return [KeptLink(*row) for row in rows.fetchall()]


def _vectors(connection: sqlite3.Connection, ids: str, seqs: str) -> Iterable[KeptVector]:
    rows = connection.execute(
        "SELECT e.model, v.memory, v.version, e.data FROM vector e JOIN version v ON v.id = e.id"
        f" WHERE e.seq IN ({_SEQS}) AND e.seq > 0 AND v.memory NOT IN ({_SEQS})",
        (seqs, ids),
    )
    return [KeptVector(*row) for row in rows.fetchall()]


def erase(connection: sqlite3.Connection, header: Header, event: MemoryErased) -> None:
    """The fold of an erasure."""
    tenant = header.tenant
    struck = _encode(event.struck).decode()
    connection.execute("INSERT OR IGNORE INTO erasure VALUES (?, ?)", (header.moment, struck))
    for kept in event.kept:
        _keep(connection, header, kept)
    for link in event.links:
        connection.execute(
            "INSERT INTO link(tenant, identifier, subject, known_from, known_to, home)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(tenant, identifier, known_from)"
            " DO UPDATE SET known_to = excluded.known_to, home = excluded.home",
            (tenant, link.identifier, link.subject, link.known_from, link.known_to, header.moment),
        )
    connection.executemany(
        "INSERT OR REPLACE INTO vector"
        " SELECT ?, id, ?, ? FROM version WHERE memory = ? AND version = ?",
        [(one.model, one.data, header.moment, one.memory, one.version) for one in event.vectors],
    )
    rows = connection.execute(
        f"SELECT id, text, scope FROM version WHERE home IN ({_SEQS})", (struck,)
    ).fetchall()
    _delete(connection, rows)
    connection.execute(f"DELETE FROM link WHERE home IN ({_SEQS})", (struck,))
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")


def forget(connection: sqlite3.Connection, tenant: TenantId) -> None:
    """All that a tenant remembers."""
    rows = connection.execute(
        "SELECT id, text, scope FROM version WHERE tenant = ?", (tenant,)
    ).fetchall()
    _delete(connection, rows)
    for table in ("link", "namespace", "recalled"):
        connection.execute(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")


def _keep(connection: sqlite3.Connection, header: Header, kept: Kept) -> None:
    record, tenant = kept.record, header.tenant
    scope = scope_of(tenant, kept.namespace)
    was_there = connection.execute(
        "SELECT 1 FROM version WHERE memory = ? AND version = ?", (record.memory, record.version)
    ).fetchone()
    values = values_of(
        record,
        (record.text, _encode(record.attributes).decode(), _encode(record.sources).decode()),
        (tenant, kept.namespace),
        (kept.known_from, kept.known_to, kept.closed),
        (kept.process, kept.call, kept.wall_ns),
        kept.blind,
        (scope, header.moment),
        record.labels,
    )
    (row,) = connection.execute(UPSERT, values).fetchone()
    connection.execute(
        "INSERT OR IGNORE INTO namespace VALUES (?, ?, ?)",
        (tenant, kept.namespace, kept.known_from),
    )
    connection.execute(
        "INSERT OR IGNORE INTO moment VALUES (?, ?)", (kept.known_from, kept.wall_ns)
    )
    if was_there is None:
        connection.execute(
            "INSERT INTO words(rowid, text, scope) VALUES (?, ?, ?)", (row, record.text, scope)
        )
        if record.vector:
            connection.execute(
                "INSERT INTO vector VALUES (?, ?, ?, 0)", (kept.vector_model, row, record.vector)
            )


def _delete(connection: sqlite3.Connection, rows: Iterable[tuple[int, str, str]]) -> None:
    for id, text, scope in rows:
        connection.execute(
            "INSERT INTO words(words, rowid, text, scope) VALUES ('delete', ?, ?, ?)",
            (id, text, scope),
        )
        connection.execute("DELETE FROM vector WHERE id = ?", (id,))
        connection.execute("DELETE FROM version WHERE id = ?", (id,))


def struck_out(connection: sqlite3.Connection) -> list[Seq]:
    """Events whose bodies must not be there any more."""
    rows = connection.execute("SELECT struck FROM erasure ORDER BY seq")
    return [seq for (text,) in rows for seq in msgspec.json.decode(text, type=list[Seq])]
