"""Memories read back from their rows, and what their file knows besides.

All functions take a connection and block.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from orlop.abi.ids import Seq, TenantId
from orlop.abi.labels import from_column
from orlop.abi.memory import Evidence, Memory, MemoryId, MemoryState, Target
from orlop.abi.memory_orders import Use
from orlop.memory.columns import ALWAYS_NS, COLUMNS, NEVER_NS
from orlop.memory.rows import identifiers_of, subject_of

_SELECT: Final = f"SELECT {COLUMNS}, id FROM version "
_attributes: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])
_sources: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])


def by_ids(connection: sqlite3.Connection, ids: Sequence[int], now_ns: int) -> list[Memory]:
    """In the order of `ids`."""
    marks = ",".join("?" * len(ids))
    rows = connection.execute(f"{_SELECT} WHERE id IN ({marks})", tuple(ids)).fetchall()
    found = {row[-1]: memory_of(row, now_ns) for row in rows}
    return [found[id] for id in ids if id in found]


def versions(
    connection: sqlite3.Connection, tenant: TenantId, wanted: Iterable[Evidence]
) -> tuple[list[Memory], list[Evidence]]:
    """The versions themselves, and those that are not there any more."""
    found: list[Memory] = []
    gone: list[Evidence] = []
    for one in wanted:
        row = connection.execute(
            f"{_SELECT} WHERE memory = ? AND version = ? AND tenant = ?",
            (one.memory, one.version, tenant),
        ).fetchone()
        if row is None:
            gone.append(one)
        else:
            memory = memory_of(row, ALWAYS_NS)
            found.append(msgspec.structs.replace(memory, score=one.score, found_by=one.found_by))
    return found, gone


def history(
    connection: sqlite3.Connection, tenant: TenantId, memory: MemoryId, now_ns: int
) -> list[Memory]:
    """All versions, oldest first."""
    rows = connection.execute(
        f"{_SELECT} WHERE memory = ? AND tenant = ? ORDER BY version", (memory, tenant)
    )
    return [memory_of(row, now_ns) for row in rows.fetchall()]


def stale(
    connection: sqlite3.Connection, tenant: TenantId, holding: Sequence[Target], now_ns: int
) -> list[Memory]:
    """For each version that is not current any more: what is, or else how it ended."""
    found: list[Memory] = []
    for target in holding:
        all_versions = history(connection, tenant, target.memory, now_ns)
        current = [memory for memory in all_versions if memory.state == "current"]
        if any(memory.version == target.version for memory in current):
            continue
        if current:
            found.append(current[-1])
        elif all_versions:
            found.append(all_versions[-1])
    return found


def uses(connection: sqlite3.Connection, memory: MemoryId, limit: int) -> list[Use]:
    """The newest recalls that gave it, oldest first."""
    rows = connection.execute(
        "SELECT seq, version, score, process, call, wall FROM recalled"
        " WHERE memory = ? ORDER BY seq DESC LIMIT ?",
        (memory, limit),
    ).fetchall()
    return [
        Use(seq=row[0], version=row[1], score=row[2], process=row[3], call=row[4], wall_ns=row[5])
        for row in reversed(rows)
    ]


def memory_of(row: tuple[object, ...], now_ns: int) -> Memory:
    """A row in the order of `COLUMNS`."""
    made = msgspec.convert(
        {
            "namespace": row[1],
            "memory": row[2],
            "version": row[3],
            "key": row[4],
            "kind": row[5],
            "text": row[6],
            "subject": row[8],
            "known_from": row[9],
            "known_to": row[10],
            "closed": row[11],
            "valid_from_ns": None if row[12] == ALWAYS_NS else row[12],
            "valid_to_ns": None if row[13] == NEVER_NS else row[13],
            "expires_ns": None if row[14] == NEVER_NS else row[14],
            "confidence": row[15],
            "model": row[17],
            "process": row[18],
            "call": row[19],
            "wall_ns": row[20],
            "sealed": bool(row[21]),
            "schema": row[22],
            "blind": bool(row[23]),
        },
        Memory,
    )
    return msgspec.structs.replace(
        made,
        state=_state(made, now_ns),
        attributes=_attributes.decode(str(row[7])),
        sources=_sources.decode(str(row[16])),
        labels=from_column(str(row[26])),
    )


def _state(memory: Memory, now_ns: int) -> MemoryState:
    if memory.known_to is not None:
        return "forgotten" if memory.closed == "forgotten" else "superseded"
    if memory.expires_ns is not None and memory.expires_ns <= now_ns:
        return "expired"
    if memory.valid_to_ns is not None and memory.valid_to_ns <= now_ns:
        return "superseded"
    return "current"


def spaces(connection: sqlite3.Connection, tenant: TenantId, start: str) -> list[str]:
    """Namespaces that hold something and whose names begin with `start`."""
    rows = connection.execute(
        "SELECT namespace FROM namespace WHERE tenant = ? AND namespace >= ? AND namespace < ?"
        " ORDER BY namespace",
        (tenant, start, start + "\U0010ffff"),
    )
    return [name for (name,) in rows]


def everybody(
    connection: sqlite3.Connection, tenant: TenantId, identifier: str, as_of: Seq | None
) -> tuple[str, ...]:
    """All identifiers of the subject that has this one."""
    subject = subject_of(connection, tenant, identifier, as_of)
    if subject is None:
        return (identifier,)
    return tuple(identifiers_of(connection, tenant, subject, as_of))


def moment_ns(connection: sqlite3.Connection, seq: Seq) -> int:
    """The wall clock at the newest write up to `seq`; 0 where there is none."""
    found = connection.execute(
        "SELECT wall FROM moment WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)
    ).fetchone()
    return 0 if found is None else int(found[0])


def dimensions_of(connection: sqlite3.Connection, model: str) -> int:
    """Numbers in a model's vectors; 0: there is none."""
    found = connection.execute(
        "SELECT length(data) FROM vector WHERE model = ? LIMIT 1", (model,)
    ).fetchone()
    return 0 if found is None else int(found[0]) // 2


def applied(connection: sqlite3.Connection) -> Seq:
    """How far this connection's rows reach."""
    (value,) = connection.execute("SELECT value FROM projection WHERE name = 'applied'").fetchone()
    return Seq(int(str(value).partition(" ")[0]))


def born(connection: sqlite3.Connection) -> int:
    """Which file this is: rows have other ids in one that was made anew."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)
