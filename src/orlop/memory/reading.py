"""Memories read back from their rows.  All functions take a connection and block."""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.ids import ProcessId, Seq, TenantId
from orlop.abi.labels import from_column
from orlop.abi.limits import MEMORY_QUERY_WORDS_MAX
from orlop.abi.memory import Evidence, Memory, MemoryId, MemoryState, Target
from orlop.abi.memory_orders import Use
from orlop.memory.columns import ALWAYS_NS, COLUMNS, NEVER_NS, known, scope_of
from orlop.memory.rows import identifiers_of, subject_of

_SELECT: Final = f"SELECT {COLUMNS}, id FROM version "
_WORD: Final = re.compile(r"\w+", re.UNICODE)
_COMMON: Final = frozenset(
    _WORD.findall(
        "a about all am an and any are as at be been but by can did do does for from had has have"
        " he her his how i if in into is it its me my no not of on or our she so than that the"
        " their them then there these they this to was we were what when where which who whom"
        " whose why will with would you your"
    )
)
"""Words of English that nearly every sentence has."""
_attributes: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])
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


class Filter(Struct, frozen=True, kw_only=True):
    """Which versions count.  Times are resolved: nothing here depends on a clock."""

    tenant: TenantId
    namespaces: tuple[str, ...]
    as_of: Seq | None
    at_ns: int
    kinds: tuple[str, ...] = ()
    subjects: tuple[str, ...] | None = None
    attributes: dict[str, object] = {}
    confidence_min: float = 0.0

    @property
    def is_plain(self) -> bool:
        """It asks for nothing but place and time."""
        return not (self.kinds or self.attributes or self.subjects is not None)


def where(wanted: Filter) -> tuple[str, list[object]]:
    """A condition on `version`, with its values."""
    marks = ",".join("?" * len(wanted.namespaces))
    said = [
        "tenant = ?",
        f"namespace IN ({marks})",
        known(wanted.as_of),
        "valid_from <= ? AND valid_to > ? AND expires > ?",
        "confidence >= ?",
    ]
    values: list[object] = [wanted.tenant, *wanted.namespaces]
    values += [wanted.at_ns, wanted.at_ns, wanted.at_ns, wanted.confidence_min]
    if wanted.kinds:
        said.append(f"kind IN ({','.join('?' * len(wanted.kinds))})")
        values += wanted.kinds
    if wanted.subjects is not None:
        said.append(f"subject IN ({','.join('?' * len(wanted.subjects))})")
        values += wanted.subjects
    for name, value in wanted.attributes.items():
        said.append("json_extract(attributes, ?) IS json_extract(?, '$')")
        values += ['$."' + name.replace('"', "") + '"', msgspec.json.encode(value).decode()]
    return " AND ".join(said), values


_HEAD: Final = (
    "SELECT version, valid_from, valid_to, expires, sealed, process, key, kind, subject,"
    " confidence, sources, model, shape FROM version WHERE memory = ? AND "
)


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


def memory_with_key(
    connection: sqlite3.Connection, tenant: TenantId, namespace: str, key: str
) -> MemoryId | None:
    found = connection.execute(
        "SELECT memory FROM version WHERE tenant = ? AND namespace = ? AND key = ? AND key <> ''"
        " AND known_to IS NULL LIMIT 1",
        (tenant, namespace, key),
    ).fetchone()
    return None if found is None else MemoryId(found[0])


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


def matching(
    connection: sqlite3.Connection, wanted: Filter, extra: str, values: Sequence[object], limit: int
) -> list[int]:
    """Ids of the newest versions that meet the filter and `extra`."""
    said, bound = where(wanted)
    rows = connection.execute(
        f"SELECT id FROM version WHERE {said} AND {extra}"
        " ORDER BY known_from DESC, id DESC LIMIT ?",
        (*bound, *values, limit),
    )
    return [id for (id,) in rows]


def words_of(query: str) -> list[str]:
    """Those that can tell one memory from another; all, where there are no such."""
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    telling = [word for word in words if word not in _COMMON]
    return (telling or words)[:MEMORY_QUERY_WORDS_MAX]


def numbers_of(query: str) -> list[str]:
    """Words with digits, among others: numbers and names that nobody says in other words."""
    words = words_of(query)
    numbers = [word for word in words if any(letter.isdigit() for letter in word)]
    return numbers if len(numbers) < len(words) else []


def by_words(
    connection: sqlite3.Connection, wanted: Filter, query: str, limit: int
) -> list[tuple[int, float]]:
    """Ids and scores, best first, by BM25.

    Places are words of the index too, so that only their rows are looked at.
    """
    terms = words_of(query)
    if not terms:
        return []
    scopes = " OR ".join(scope_of(wanted.tenant, name) for name in wanted.namespaces)
    asked = " OR ".join(f'"{term}"' for term in terms)
    said, bound = where(wanted)
    rows = connection.execute(
        "SELECT version.id, -bm25(words, 1.0, 0.0) AS score FROM words"
        f" JOIN version ON version.id = words.rowid WHERE words MATCH ? AND {said}"
        " ORDER BY score DESC, version.id LIMIT ?",
        (f"(scope : ({scopes})) AND (text : ({asked}))", *bound, limit),
    )
    return rows.fetchall()


def spaces(connection: sqlite3.Connection, tenant: TenantId, start: str) -> list[str]:
    """Namespaces that hold something and whose names begin with `start`."""
    rows = connection.execute(
        "SELECT namespace FROM namespace WHERE tenant = ? AND namespace >= ? AND namespace < ?"
        " ORDER BY namespace",
        (tenant, start, start + "\U0010ffff"),
    )
    return [name for (name,) in rows]


def moment_ns(connection: sqlite3.Connection, seq: Seq) -> int:
    """The wall clock at the newest write up to `seq`; 0 where there is none."""
    found = connection.execute(
        "SELECT wall FROM moment WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)
    ).fetchone()
    return 0 if found is None else int(found[0])


def everybody(
    connection: sqlite3.Connection, tenant: TenantId, identifier: str, as_of: Seq | None
) -> tuple[str, ...]:
    """All identifiers of the subject that has this one."""
    subject = subject_of(connection, tenant, identifier, as_of)
    if subject is None:
        return (identifier,)
    return tuple(identifiers_of(connection, tenant, subject, as_of))


def history(
    connection: sqlite3.Connection, tenant: TenantId, memory: MemoryId, now_ns: int
) -> list[Memory]:
    """All versions, oldest first."""
    rows = connection.execute(
        f"{_SELECT} WHERE memory = ? AND tenant = ? ORDER BY version", (memory, tenant)
    )
    return [memory_of(row, now_ns) for row in rows.fetchall()]


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


def key_ids(connection: sqlite3.Connection, wanted: Filter, key: str) -> list[int]:
    return matching(connection, wanted, "key = ? AND key <> ''", (key,), 100)


def newest(connection: sqlite3.Connection, wanted: Filter, limit: int) -> list[int]:
    return matching(connection, wanted, "1", (), limit)


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
