"""What a writer must know of a memory: where it lies, and which of its versions are open.

All functions take a connection and block.
"""

import sqlite3
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.ids import ProcessId, Seq, TenantId
from orlop.abi.memory import MemoryId
from orlop.memory.columns import known

_HEAD: Final = (
    "SELECT version, valid_from, valid_to, expires, sealed, process, key, kind, subject,"
    " confidence, sources, model, shape FROM version WHERE memory = ? AND "
)
_sources: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])


class Head(Struct, frozen=True):
    """One open version, as a writer must know it."""

    version: int
    valid_from_ns: int
    valid_to_ns: int
    expires_ns: int
    is_sealed: bool
    process: ProcessId
    key: str
    kind: str
    subject: str
    confidence: float
    sources: tuple[str, ...]
    model: str
    schema: int


class Place(Struct, frozen=True):
    """Where a memory lies, what is open of it, and the newest number that a version has."""

    tenant: TenantId
    namespace: str
    heads: tuple[Head, ...]
    newest: int


def place_of(connection: sqlite3.Connection, memory: MemoryId) -> Place | None:
    """Two look-ups by an index, however long its history is."""
    found = connection.execute(
        "SELECT tenant, namespace, version FROM version WHERE memory = ?"
        " ORDER BY version DESC LIMIT 1",
        (memory,),
    ).fetchone()
    if found is None:
        return None
    rows = connection.execute(f"{_HEAD} known_to IS NULL ORDER BY version", (memory,))
    return Place(found[0], found[1], tuple(_head(row) for row in rows.fetchall()), found[2])


def heads_of(connection: sqlite3.Connection, memory: MemoryId, as_of: Seq | None) -> list[Head]:
    """The versions that were open at a moment."""
    rows = connection.execute(f"{_HEAD} {known(as_of)} ORDER BY version", (memory,))
    return [_head(row) for row in rows.fetchall()]


def memory_with_key(
    connection: sqlite3.Connection, tenant: TenantId, namespace: str, key: str
) -> MemoryId | None:
    found = connection.execute(
        "SELECT memory FROM version WHERE tenant = ? AND namespace = ? AND key = ? AND key <> ''"
        " AND known_to IS NULL LIMIT 1",
        (tenant, namespace, key),
    ).fetchone()
    return None if found is None else MemoryId(found[0])


def changed_since(
    connection: sqlite3.Connection, tenant: TenantId, namespace: str, seq: Seq
) -> list[MemoryId]:
    """Memories of which something was opened or closed later."""
    rows = connection.execute(
        "SELECT memory FROM version WHERE tenant = ? AND namespace = ? AND known_from > ?"
        " UNION SELECT memory FROM version WHERE tenant = ? AND namespace = ? AND known_to > ?"
        " AND known_to IS NOT NULL",
        (tenant, namespace, seq, tenant, namespace, seq),
    )
    return sorted(memory for (memory,) in rows)


def open_at(
    connection: sqlite3.Connection, tenant: TenantId, namespace: str, as_of: Seq | None
) -> dict[MemoryId, list[int]]:
    """Of each memory, the versions that were known."""
    rows = connection.execute(
        "SELECT memory, version FROM version WHERE tenant = ? AND namespace = ?"
        f" AND {known(as_of)} ORDER BY memory, version",
        (tenant, namespace),
    )
    found: dict[MemoryId, list[int]] = {}
    for memory, version in rows:
        found.setdefault(memory, []).append(version)
    return found


def _head(row: tuple[object, ...]) -> Head:
    return msgspec.convert(
        {
            "version": row[0],
            "valid_from_ns": row[1],
            "valid_to_ns": row[2],
            "expires_ns": row[3],
            "is_sealed": bool(row[4]),
            "process": row[5],
            "key": row[6],
            "kind": row[7],
            "subject": row[8],
            "confidence": row[9],
            "sources": _sources.decode(str(row[10])),
            "model": row[11],
            "schema": row[12],
        },
        Head,
    )
