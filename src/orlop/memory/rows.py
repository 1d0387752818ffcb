"""Memories as rows: what the journal's events make of them.

Invariants:
1. A version's content never changes; only `known_to` is set, once.
2. Of a memory, the versions that are known at any moment are true at different times.
3. The rows follow from the journal alone: folded again, they are the same.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from orlop.abi.errors import JournalDamaged
from orlop.abi.events import Header
from orlop.abi.ids import CallId, Seq, TenantId
from orlop.abi.kernels import TenantForgotten
from orlop.abi.labels import from_column, together
from orlop.abi.memory import (
    Change,
    MemoryEmbedded,
    MemoryErased,
    MemoryRecalled,
    MemoryWritten,
    SubjectsLinked,
    Version,
)
from orlop.memory.columns import INSERT, known, scope_of, values_of
from orlop.memory.erasing import erase, forget
from orlop.store.rows import Stored

_TABLES: Final = """
CREATE TABLE version(
  id INTEGER PRIMARY KEY, tenant TEXT, namespace TEXT, memory TEXT, version INTEGER,
  key TEXT, kind TEXT, text TEXT, attributes TEXT, subject TEXT,
  known_from INTEGER, known_to INTEGER, closed TEXT,
  valid_from INTEGER, valid_to INTEGER, expires INTEGER,
  confidence REAL, sources TEXT, model TEXT, process TEXT, call TEXT, wall INTEGER,
  sealed INTEGER, shape INTEGER, blind INTEGER, scope TEXT, home INTEGER,
  labels TEXT
);
CREATE UNIQUE INDEX version_of ON version(memory, version);
CREATE INDEX version_open ON version(memory) WHERE known_to IS NULL;
CREATE INDEX version_current ON version(tenant, namespace) WHERE known_to IS NULL;
CREATE INDEX version_key ON version(tenant, namespace, key) WHERE known_to IS NULL AND key <> '';
CREATE INDEX version_from ON version(tenant, namespace, known_from);
CREATE INDEX version_to ON version(tenant, namespace, known_to) WHERE known_to IS NOT NULL;
CREATE INDEX version_subject ON version(tenant, subject) WHERE subject <> '';
CREATE INDEX version_home ON version(home);
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
  known_from INTEGER, known_to INTEGER, home INTEGER, UNIQUE(tenant, identifier, known_from)
);
CREATE INDEX link_home ON link(home);
CREATE TABLE erasure(seq INTEGER PRIMARY KEY, struck TEXT);
CREATE INDEX link_identifier ON link(tenant, identifier);
CREATE INDEX link_subject ON link(tenant, subject);
CREATE TABLE recalled(
  memory TEXT, seq INTEGER, version INTEGER, score REAL, tenant TEXT, process TEXT, call TEXT,
  process_seq INTEGER, wall INTEGER, PRIMARY KEY(memory, seq)
) WITHOUT ROWID;
CREATE INDEX recalled_call ON recalled(call);
CREATE INDEX recalled_process ON recalled(process, seq);
"""

_CLOSE: Final = (
    "UPDATE version SET known_to = ?, closed = ? WHERE memory = ? AND version = ?"
    " AND known_to IS NULL"
)
_COPY: Final = (
    "SELECT text, attributes, sources, labels, id FROM version WHERE memory = ? AND version = ?"
)

EVIDENCE: Final = frozenset({"memory.recalled"})
"""Kinds of events that change nothing of what a recall finds."""

Folded = (
    MemoryWritten
    | MemoryRecalled
    | MemoryEmbedded
    | MemoryErased
    | SubjectsLinked
    | TenantForgotten
)
_events: msgspec.json.Decoder[Folded] = msgspec.json.Decoder(Folded)
_encode = msgspec.json.Encoder().encode


MEMORY_KINDS: Final = frozenset(str(event.__struct_config__.tag) for event in Folded.__args__)


class MemoryFold:
    """Of a projection; see `store.projection.Fold`.

    kinds: what of it: kernels that share their memories have each its own evidence.
    """

    format = 1
    schema = _TABLES

    def __init__(self, name: str = "memory", kinds: frozenset[str] = MEMORY_KINDS) -> None:
        self.name = name
        self.kinds = kinds

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
                _link(connection, header.tenant, identifier, event.subject, header.moment)
        case MemoryErased():
            _upheaval(connection, header, header.tenant)
            erase(connection, header, event)
        case TenantForgotten():
            _upheaval(connection, header, event.tenant)
            forget(connection, event.tenant)


def _upheaval(connection: sqlite3.Connection, header: Header, tenant: TenantId) -> None:
    """Whoever holds rows of this tenant in RAM must read them anew."""
    connection.execute("INSERT INTO upheaval VALUES (?, ?)", (header.moment, tenant))


def _written(connection: sqlite3.Connection, header: Header, event: MemoryWritten) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO moment VALUES (?, ?)", (header.moment, header.wall_ns)
    )
    connection.execute(
        "INSERT OR IGNORE INTO namespace VALUES (?, ?, ?)",
        (header.tenant, event.namespace, header.moment),
    )
    scope = scope_of(header.tenant, event.namespace)
    for change in event.changes:  # In order: one may close what another has just opened.
        for version in change.closes:
            connection.execute(_CLOSE, (header.moment, change.how, change.memory, version))
        for opened in change.opens:
            _open(connection, header, event, change, opened, scope)
    for group in event.links:
        _join(connection, header.tenant, group, header.moment)


def _open(
    connection: sqlite3.Connection,
    header: Header,
    event: MemoryWritten,
    change: Change,
    version: Version,
    scope: str,
) -> None:
    text, attributes, sources, labels, origin = _content(connection, version)
    row = connection.execute(
        INSERT,
        values_of(
            version,
            (text, attributes, sources),
            (header.tenant, event.namespace),
            (header.moment, None, ""),
            (header.process, header.call or CallId(""), header.wall_ns),
            change.blind,
            (scope, header.moment),
            together(version.labels, from_column(labels)),
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


def _content(
    connection: sqlite3.Connection, version: Version
) -> tuple[str, str, str, str, int | None]:
    """Text, attributes, sources and labels, and the row that they are of."""
    if version.copy_of:
        found = connection.execute(_COPY, (version.memory, version.copy_of)).fetchone()
        # An erasure may have taken what was copied.
        return ("", "{}", "[]", "", None) if found is None else found
    return (
        version.text,
        _encode(version.attributes).decode(),
        _encode(version.sources).decode(),
        "",
        None,
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
    _upheaval(connection, header, header.tenant)
    connection.executemany(
        "INSERT OR REPLACE INTO vector"
        " SELECT ?, id, ?, ? FROM version WHERE memory = ? AND version = ?",
        [
            (event.model, data, header.moment, memory, version)
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
        "INSERT OR REPLACE INTO link(tenant, identifier, subject, known_from, home)"
        " VALUES (?, ?, ?, ?, ?)",
        (tenant, identifier, subject, seq, seq),
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
