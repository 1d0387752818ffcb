"""Memories counted, and read page by page for export."""

import sqlite3
from collections.abc import Sequence

from msgspec import Struct

from orlop.abi.ids import TenantId
from orlop.abi.memory import Memory, MemoryId
from orlop.store.memory_columns import COLUMNS
from orlop.store.memory_reading import memory_of


class Counted(Struct, frozen=True, kw_only=True):
    current: int
    versions: int
    namespaces: int
    recalls: int
    vectors: dict[str, int]
    bytes: int


def counted(connection: sqlite3.Connection, tenant: TenantId) -> Counted:
    def number(statement: str) -> int:
        (found,) = connection.execute(statement, (tenant,)).fetchone()
        return int(found or 0)

    vectors = connection.execute(
        "SELECT e.model, count(*) FROM vector e JOIN version v ON v.id = e.id"
        " WHERE v.tenant = ? GROUP BY e.model ORDER BY e.model",
        (tenant,),
    ).fetchall()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return Counted(
        current=number("SELECT count(*) FROM version WHERE tenant = ? AND known_to IS NULL"),
        versions=number("SELECT count(*) FROM version WHERE tenant = ?"),
        namespaces=number("SELECT count(*) FROM namespace WHERE tenant = ?"),
        recalls=number("SELECT count(DISTINCT seq) FROM recalled WHERE tenant = ?"),
        vectors={str(model): int(count) for model, count in vectors},
        bytes=int(pages) * int(page_bytes),
    )


def page(
    connection: sqlite3.Connection,
    tenant: TenantId,
    namespaces: Sequence[str],
    after: int,
    past: bool,
    limit: int,
    now_ns: int,
) -> tuple[list[Memory], int]:
    """Rows past `after`, and the last one's id; 0: there is no more.

    namespaces: with all below them; none: all.  past: also what is not known any more.
    """
    said = ["tenant = ?", "id > ?"]
    values: list[object] = [tenant, after]
    if not past:
        said.append("known_to IS NULL")
    if namespaces:
        said.append(
            "(" + " OR ".join("namespace = ? OR namespace GLOB ?" for _ in namespaces) + ")"
        )
        for name in namespaces:
            values += [name, f"{name}/*"]
    rows = connection.execute(
        f"SELECT {COLUMNS}, id FROM version WHERE {' AND '.join(said)} ORDER BY id LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [memory_of(row, now_ns) for row in rows], rows[-1][-1] if len(rows) == limit else 0


class Unembedded(Struct, frozen=True):
    memory: MemoryId
    version: int
    text: str


def unembedded(
    connection: sqlite3.Connection, tenant: TenantId, model: str, limit: int
) -> list[Unembedded]:
    """Versions that a model has made no vector of, those that are current first."""
    rows = connection.execute(
        "SELECT memory, version, text FROM version v WHERE tenant = ? AND text <> ''"
        " AND NOT EXISTS (SELECT 1 FROM vector e WHERE e.model = ? AND e.id = v.id)"
        " ORDER BY known_to IS NOT NULL, id LIMIT ?",
        (tenant, model, limit),
    )
    return [Unembedded(*row) for row in rows]
