"""Memories counted, and read page by page for export."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct, structs

from orlop.abi.ids import Seq, TenantId
from orlop.abi.memory import Memory, MemoryId
from orlop.abi.memory_orders import Difference, Exported
from orlop.memory import heads, reading
from orlop.memory.columns import COLUMNS
from orlop.memory.reading import memory_of
from orlop.memory.rows import subject_of
from orlop.memory.vectors import unpacked

DIFFERENCES_MAX: Final = 10_000
GIVEN_MAX: Final = 20


class Counted(Struct, frozen=True, kw_only=True):
    current: int
    versions: int
    namespaces: int
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
        vectors={str(model): int(count) for model, count in vectors},
        bytes=int(pages) * int(page_bytes),
    )


def recalls(connection: sqlite3.Connection, tenant: TenantId) -> int:
    """How many there were; of the evidence."""
    asked = "SELECT count(DISTINCT seq) FROM recalled WHERE tenant = ?"
    (found,) = connection.execute(asked, (tenant,)).fetchone()
    return int(found)


def page(
    connection: sqlite3.Connection,
    tenant: TenantId,
    namespaces: Sequence[str],
    after: int,
    past: bool,
    model: str,
    limit: int,
    now_ns: int,
) -> tuple[list[Exported], int]:
    """Rows past `after`, and the last one's id; 0: there is no more.

    namespaces: with all below them; none: all.  past: also what is not known any more.  model:
    whose vectors are wanted; empty: nobody's.
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
    vectors = dict(
        connection.execute(
            "SELECT id, data FROM vector WHERE model = ?"
            " AND id IN (SELECT value FROM json_each(?))",
            (model, msgspec.json.encode([row[-1] for row in rows]).decode()),
        )
    )
    found = [_exported(memory_of(row, now_ns), model, vectors.get(row[-1])) for row in rows]
    return found, rows[-1][-1] if len(rows) == limit else 0


def _exported(memory: Memory, model: str, vector: bytes | None) -> Exported:
    if vector is None:
        return Exported(**structs.asdict(memory))
    return Exported(**structs.asdict(memory), vector=unpacked(vector), vector_model=model)


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


def seen_and_changed(
    connection: sqlite3.Connection, tenant: TenantId, namespace: str, seq: Seq
) -> tuple[Seq, list[MemoryId]]:
    """How far the rows reach, and what has changed since `seq`."""
    return (
        reading.applied(connection),
        heads.changed_since(connection, tenant, namespace, seq),
    )


def merged(
    connection: sqlite3.Connection, tenant: TenantId, names: Iterable[str]
) -> tuple[str, tuple[str, ...]]:
    """The first one's subject, and all identifiers of all of theirs."""
    all_names: dict[str, None] = {}
    chosen = ""
    for name in names:
        subject = subject_of(connection, tenant, name, None)
        chosen = chosen or subject or name
        all_names |= dict.fromkeys(reading.everybody(connection, tenant, name, None))
    return chosen, tuple(all_names)


def differences(
    connection: sqlite3.Connection,
    tenant: TenantId,
    namespace: str,
    before: Seq,
    after: Seq,
    now_ns: int,
) -> list[Difference]:
    """Memories of which other versions were known at the two moments."""
    then = heads.open_at(connection, tenant, namespace, before)
    now = heads.open_at(connection, tenant, namespace, after)
    changed = [id for id in {**then, **now} if then.get(id) != now.get(id)][:DIFFERENCES_MAX]
    found: list[Difference] = []
    for id in changed:
        known = {one.version: one for one in reading.history(connection, tenant, id, now_ns)}
        old = known.get(then[id][-1]) if id in then else None
        new = known.get(now[id][-1]) if id in now else None
        shown = new or old
        found.append(Difference(memory=id, key=shown.key if shown else "", before=old, after=new))
    return found
