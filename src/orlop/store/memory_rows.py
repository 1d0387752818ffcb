"""Memories as rows: what the journal's events make of them.

Invariants:
1. A version's content never changes; only `known_to` is set, once.
2. Of a memory, the versions that are known at any moment are true at different times.
3. The rows follow from the journal alone: folded again, they are the same.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from orlop.abi.errors import JournalDamaged
from orlop.abi.events import Header
from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.memory import (
    Change,
    MemoryEmbedded,
    MemoryErased,
    MemoryRecalled,
    MemoryWritten,
    SubjectsLinked,
    Version,
)
from orlop.store.rows import Stored

ALWAYS_NS: Final = 0
"""Valid from ever."""
NEVER_NS: Final = (1 << 63) - 1
"""Valid for ever."""

_TABLES: Final = """
CREATE TABLE version(
  id INTEGER PRIMARY KEY, tenant TEXT, namespace TEXT, memory TEXT, version INTEGER,
  key TEXT, kind TEXT, text TEXT, attributes TEXT, subject TEXT,
  known_from INTEGER, known_to INTEGER, closed TEXT,
  valid_from INTEGER, valid_to INTEGER, expires INTEGER,
  confidence REAL, sources TEXT, model TEXT, process TEXT, call TEXT, wall INTEGER,
  sealed INTEGER, shape INTEGER, blind INTEGER, scope TEXT
);
CREATE UNIQUE INDEX version_of ON version(memory, version);
CREATE INDEX version_open ON version(memory) WHERE known_to IS NULL;
CREATE INDEX version_current ON version(tenant, namespace) WHERE known_to IS NULL;
CREATE INDEX version_key ON version(tenant, namespace, key) WHERE known_to IS NULL AND key <> '';
CREATE INDEX version_from ON version(tenant, namespace, known_from);
CREATE INDEX version_to ON version(tenant, namespace, known_to) WHERE known_to IS NOT NULL;
CREATE INDEX version_subject ON version(tenant, subject) WHERE subject <> '';
CREATE INDEX version_event ON version(known_from);
CREATE INDEX version_end ON version(known_to) WHERE known_to IS NOT NULL;
CREATE VIRTUAL TABLE words USING fts5(
  text, scope, content='version', content_rowid='id',
  tokenize='porter unicode61 remove_diacritics 2'
);
CREATE TABLE vector(
  model TEXT, id INTEGER, data BLOB, seq INTEGER, PRIMARY KEY(model, id)
) WITHOUT ROWID;
CREATE INDEX vector_seq ON vector(seq) WHERE seq > 0;
CREATE TABLE upheaval(seq INTEGER PRIMARY KEY, tenant TEXT);
CREATE TABLE namespace(
  tenant TEXT, namespace TEXT, known_from INTEGER, PRIMARY KEY(tenant, namespace)
) WITHOUT ROWID;
CREATE TABLE moment(seq INTEGER PRIMARY KEY, wall INTEGER);
CREATE TABLE link(
  id INTEGER PRIMARY KEY, tenant TEXT, identifier TEXT, subject TEXT,
  known_from INTEGER, known_to INTEGER
);
CREATE INDEX link_identifier ON link(tenant, identifier);
CREATE INDEX link_subject ON link(tenant, subject);
CREATE TABLE recalled(
  memory TEXT, seq INTEGER, version INTEGER, score REAL, tenant TEXT, process TEXT, call TEXT,
  process_seq INTEGER, wall INTEGER, PRIMARY KEY(memory, seq)
) WITHOUT ROWID;
CREATE INDEX recalled_call ON recalled(call);
CREATE INDEX recalled_process ON recalled(process, seq);
"""

COLUMNS: Final = (
    "tenant, namespace, memory, version, key, kind, text, attributes, subject, known_from,"
    " known_to, closed, valid_from, valid_to, expires, confidence, sources, model, process, call,"
    " wall, sealed, shape, blind, scope"
)
_INSERT: Final = (
    f"INSERT INTO version({COLUMNS}) VALUES ({','.join('?' * len(COLUMNS.split(',')))})"
)
_UPSERT: Final = (
    f"{_INSERT} ON CONFLICT(memory, version) DO UPDATE SET known_to = excluded.known_to,"
    " closed = excluded.closed RETURNING id"
)
_COPY: Final = "SELECT text, attributes, sources, id FROM version WHERE memory = ? AND version = ?"

Folded = MemoryWritten | MemoryRecalled | MemoryEmbedded | MemoryErased | SubjectsLinked
_events: msgspec.json.Decoder[Folded] = msgspec.json.Decoder(Folded)
_encode = msgspec.json.Encoder().encode


def scope_of(tenant: TenantId, namespace: str) -> str:
    """One word that stands for a namespace in the index of words: digits, which have no stem."""
    digest = sha256(f"{tenant}\0{namespace}".encode()).digest()
    return f"9{int.from_bytes(digest[:8])}"


class MemoryFold:
    """Of a projection; see `store.projection.Fold`."""

    name = "memory"
    format = 1
    schema = _TABLES
    kinds = frozenset(str(event.__struct_config__.tag) for event in Folded.__args__)

    def fold(self, connection: sqlite3.Connection, events: Sequence[Stored]) -> None:
        for stored in events:
            if stored.body is None:  # Struck out by an erasure, or by retention.
                continue
            try:
                event = _events.decode(stored.body)
            except msgspec.DecodeError as error:
                raise JournalDamaged(f"event {stored.header.seq} can't be read: {error}") from error
            _fold(connection, stored.header, event)


def _fold(connection: sqlite3.Connection, header: Header, event: Folded) -> None:
    match event:
        case MemoryWritten():
            _written(connection, header, event)
        case MemoryRecalled():
            _recalled(connection, header, event)
        case MemoryEmbedded():
            _embedded(connection, header, event)
        case SubjectsLinked():
            for identifier in event.identifiers:
                _link(connection, header.tenant, identifier, event.subject, header.seq)
        case MemoryErased():
            _upheaval(connection, header)
            _erased(connection, header.tenant, event)


def _upheaval(connection: sqlite3.Connection, header: Header) -> None:
    """Whoever holds rows of this tenant in RAM must read them anew."""
    connection.execute("INSERT INTO upheaval VALUES (?, ?)", (header.seq, header.tenant))


def _written(connection: sqlite3.Connection, header: Header, event: MemoryWritten) -> None:
    connection.execute("INSERT OR IGNORE INTO moment VALUES (?, ?)", (header.seq, header.wall_ns))
    connection.execute(
        "INSERT OR IGNORE INTO namespace VALUES (?, ?, ?)",
        (header.tenant, event.namespace, header.seq),
    )
    scope = scope_of(header.tenant, event.namespace)
    closed = [
        (header.seq, change.how, change.memory, version)
        for change in event.changes
        for version in change.closes
    ]
    if closed:
        connection.executemany(
            "UPDATE version SET known_to = ?, closed = ? WHERE memory = ? AND version = ?"
            " AND known_to IS NULL",
            closed,
        )
    for change in event.changes:
        for version in change.opens:
            _open(connection, header, event, change, version, scope)
    for group in event.links:
        _join(connection, header.tenant, group, header.seq)


def _open(
    connection: sqlite3.Connection,
    header: Header,
    event: MemoryWritten,
    change: Change,
    version: Version,
    scope: str,
) -> None:
    text, attributes, sources, origin = _content(connection, version)
    row = connection.execute(
        _INSERT,
        _values(
            version,
            (text, attributes, sources),
            (header.tenant, event.namespace),
            (header.seq, None, ""),
            (header.process, header.call or CallId(""), header.wall_ns),
            change.blind,
            scope,
        ),
    ).lastrowid
    connection.execute("INSERT INTO words(rowid, text, scope) VALUES (?, ?, ?)", (row, text, scope))
    if version.vector:
        connection.execute(
            "INSERT INTO vector VALUES (?, ?, ?, 0)", (event.vector_model, row, version.vector)
        )
    elif origin is not None:
        connection.execute(
            "INSERT INTO vector SELECT model, ?, data, seq FROM vector WHERE id = ?", (row, origin)
        )


def _content(connection: sqlite3.Connection, version: Version) -> tuple[str, str, str, int | None]:
    if version.copy_of:
        found = connection.execute(_COPY, (version.memory, version.copy_of)).fetchone()
        # An erasure may have taken what was copied.
        return ("", "{}", "[]", None) if found is None else found
    return (
        version.text,
        _encode(version.attributes).decode(),
        _encode(version.sources).decode(),
        None,
    )


def _values(
    version: Version,
    content: tuple[str, str, str],
    place: tuple[TenantId, str],
    known: tuple[Seq, Seq | None, str],
    origin: tuple[ProcessId, CallId, Nanoseconds],
    blind: bool,
    scope: str,
) -> tuple[object, ...]:
    """In the order of `COLUMNS`."""
    text, attributes, sources = content
    return (
        *place,
        version.memory,
        version.version,
        version.key,
        version.kind,
        text,
        attributes,
        version.subject,
        *known,
        ALWAYS_NS if version.valid_from_ns is None else version.valid_from_ns,
        NEVER_NS if version.valid_to_ns is None else version.valid_to_ns,
        NEVER_NS if version.expires_ns is None else version.expires_ns,
        version.confidence,
        sources,
        version.model,
        *origin,
        version.sealed,
        version.schema,
        blind,
        scope,
    )


def _recalled(connection: sqlite3.Connection, header: Header, event: MemoryRecalled) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO recalled VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                given.memory,
                header.seq,
                given.version,
                given.score,
                header.tenant,
                header.process,
                header.call or "",
                header.process_seq,
                header.wall_ns,
            )
            for given in event.given
        ],
    )


def _embedded(connection: sqlite3.Connection, header: Header, event: MemoryEmbedded) -> None:
    _upheaval(connection, header)
    connection.executemany(
        "INSERT OR REPLACE INTO vector"
        " SELECT ?, id, ?, ? FROM version WHERE memory = ? AND version = ?",
        [
            (event.model, data, header.seq, memory, version)
            for memory, version, data in event.vectors
        ],
    )


def _join(connection: sqlite3.Connection, tenant: TenantId, group: Sequence[str], seq: Seq) -> None:
    """The identifiers of a group, and all others of their subjects, are one subject's."""
    subjects = {name: subject_of(connection, tenant, name, None) for name in group}
    known = [subject for subject in subjects.values() if subject is not None]
    chosen = known[0] if known else group[0]
    others = {subject for subject in known if subject != chosen}
    moved = [name for name, subject in subjects.items() if subject != chosen]
    for subject in sorted(others):
        moved += identifiers_of(connection, tenant, subject, None)
    for name in dict.fromkeys(moved):
        _link(connection, tenant, name, chosen, seq)


def _link(
    connection: sqlite3.Connection, tenant: TenantId, identifier: str, subject: str, seq: Seq
) -> None:
    connection.execute(
        "UPDATE link SET known_to = ? WHERE tenant = ? AND identifier = ? AND known_to IS NULL",
        (seq, tenant, identifier),
    )
    connection.execute(
        "INSERT INTO link(tenant, identifier, subject, known_from) VALUES (?, ?, ?, ?)",
        (tenant, identifier, subject, seq),
    )


def subject_of(
    connection: sqlite3.Connection, tenant: TenantId, identifier: str, as_of: Seq | None
) -> str | None:
    """Whose identifier it is; None: nobody has said."""
    found = connection.execute(
        f"SELECT subject FROM link WHERE tenant = ? AND identifier = ? AND {known(as_of)}",
        (tenant, identifier),
    ).fetchone()
    return None if found is None else str(found[0])


def identifiers_of(
    connection: sqlite3.Connection, tenant: TenantId, subject: str, as_of: Seq | None
) -> list[str]:
    rows = connection.execute(
        f"SELECT identifier FROM link WHERE tenant = ? AND subject = ? AND {known(as_of)}"
        " ORDER BY id",
        (tenant, subject),
    )
    return [name for (name,) in rows]


def known(as_of: Seq | None) -> str:
    """A condition on rows with two times."""
    if as_of is None:
        return "known_to IS NULL"
    seq = int(as_of)
    return f"known_from <= {seq} AND (known_to IS NULL OR known_to > {seq})"


def _erased(connection: sqlite3.Connection, tenant: TenantId, event: MemoryErased) -> None:
    """What lay in events that are struck out goes, but for what is kept."""
    for kept in event.kept:
        record = kept.record
        content = (
            record.text,
            _encode(record.attributes).decode(),
            _encode(record.sources).decode(),
        )
        scope = scope_of(tenant, kept.namespace)
        was_there = connection.execute(
            "SELECT 1 FROM version WHERE memory = ? AND version = ?",
            (record.memory, record.version),
        ).fetchone()
        values = _values(
            record,
            content,
            (tenant, kept.namespace),
            (kept.known_from, kept.known_to, kept.closed),
            (kept.process, kept.call, kept.wall_ns),
            kept.blind,
            scope,
        )
        (row,) = connection.execute(_UPSERT, values).fetchone()
        if was_there is None:
            connection.execute(
                "INSERT INTO words(rowid, text, scope) VALUES (?, ?, ?)",
                (row, record.text, scope),
            )
            if record.vector:
                connection.execute(
                    "INSERT INTO vector VALUES (?, ?, ?, 0)",
                    (kept.vector_model, row, record.vector),
                )
    spared = {(kept.record.memory, kept.record.version) for kept in event.kept}
    rows = [
        (id, text, scope)
        for seq in event.struck
        for id, memory, version, text, scope in connection.execute(
            "SELECT id, memory, version, text, scope FROM version WHERE known_from = ?", (seq,)
        ).fetchall()
        if (memory, version) not in spared
    ]
    _delete(connection, rows)


def _delete(connection: sqlite3.Connection, rows: Iterable[tuple[int, str, str]]) -> None:
    for id, text, scope in rows:
        connection.execute(
            "INSERT INTO words(words, rowid, text, scope) VALUES ('delete', ?, ?, ?)",
            (id, text, scope),
        )
        connection.execute("DELETE FROM vector WHERE id = ?", (id,))
        connection.execute("DELETE FROM version WHERE id = ?", (id,))
