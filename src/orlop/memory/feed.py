"""What an external vector store is fed with, and what it named held against the rows."""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from orlop.abi.ids import Seq, TenantId
from orlop.memory.reading import Filter, applied, born, where


class FedRow(Struct, frozen=True):
    id: int
    tenant: TenantId
    namespace: str
    model: str
    vector: bytes


class Feed(Struct, frozen=True, kw_only=True):
    """One namespace's changes since it was fed last."""

    tenant: TenantId
    namespace: str
    model: str
    file: int
    seq: Seq
    after: Seq
    """What was fed before; 0: this is everything."""
    rows: tuple[FedRow, ...]
    closed: tuple[int, ...]


def since(
    connection: sqlite3.Connection,
    tenant: TenantId,
    namespace: str,
    model: str,
    file: int,
    seq: int,
) -> Feed:
    """All that is open and has come since `seq`; everything, where the file is another one."""
    now, here = applied(connection), born(connection)
    if here != file:
        seq = 0
    rows = connection.execute(
        "SELECT v.id, e.data FROM version v JOIN vector e ON e.model = ? AND e.id = v.id"
        " WHERE v.tenant = ? AND v.namespace = ? AND v.known_to IS NULL"
        " AND (v.known_from > ? OR e.seq > ?) ORDER BY v.id",
        (model, tenant, namespace, seq, seq),
    ).fetchall()
    closed = connection.execute(
        "SELECT id FROM version WHERE tenant = ? AND namespace = ? AND known_to > ?"
        " AND known_to IS NOT NULL",
        (tenant, namespace, seq),
    ).fetchall()
    return Feed(
        tenant=tenant,
        namespace=namespace,
        model=model,
        file=here,
        seq=now,
        after=Seq(seq),
        rows=tuple(FedRow(id, tenant, namespace, model, data) for id, data in rows),
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
