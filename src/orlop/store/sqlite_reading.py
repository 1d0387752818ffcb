"""The reading half of the SQLite tape: connections that are open read-only.

Looking changes nothing on disk, so that a damaged journal stays as it was found.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from orlop.abi.errors import JournalDamaged, JournalStopped
from orlop.abi.ids import JournalId, ProcessId, Seq
from orlop.abi.limits import JOURNAL_BUSY_S
from orlop.store import redo, schema
from orlop.store.chain import GENESIS
from orlop.store.home import Home
from orlop.store.redo import Batch
from orlop.store.rows import Body, Boot, Checkpoint, Meta, Row

_BODY: Final = "SELECT id, key_id, data, name, digest, blob FROM body "
_NOT_DAMAGE: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_PERM")
_SEQ_MAX: Final = (1 << 47) - 1
_SNAPSHOT: Final = "kernel.snapshot"


Found = TypeVar("Found", Row, Body)


class SqliteReading:
    """Two connections: one for reads in bulk, one for look-ups on the event loop."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._bulk: sqlite3.Connection | None = None
        self._lookup: sqlite3.Connection | None = None
        self._beyond: tuple[Batch, list[Row]] | None = None

    def look(self) -> Meta | None:
        if not self.home.database.exists():
            return None
        with translated(self.home):
            if self._bulk is None:
                self._bulk = connect(self.home, read_only=True)
                self._lookup = connect(self.home, read_only=True)
            if self._bulk.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                # What a crash during the first boot leaves.
                self.close_readers()
                return None
            found = dict(self._bulk.execute("SELECT name, value FROM meta"))
        try:
            return Meta(JournalId(found["journal"]), int(found["format"]))
        except (KeyError, ValueError) as error:
            raise JournalDamaged(
                f"{self.home.database} does not say which journal it is"
            ) from error

    def head(self) -> Row | None:
        _, beyond = self.beyond()
        return beyond[-1] if beyond else self._head()

    def rows(self, first: Seq, last: Seq | None, limit: int) -> list[Row]:
        upper = _SEQ_MAX if last is None else last
        with translated(self.home):
            reader = self._reader()
            before = reader.execute("SELECT hash FROM event WHERE seq = ?", (first - 1,)).fetchone()
            found = reader.execute(
                schema.IN_ORDER + "WHERE e.seq BETWEEN ? AND ? ORDER BY e.seq LIMIT ?",
                (first, upper, limit),
            ).fetchall()
        prev = GENESIS if before is None else before[0]
        rows: list[Row] = []
        # One loop and no function a row: this decides how fast a replay is.
        for seq, text, digest, parts, _, key_id, data, noted, blob in found:
            if blob is not None:
                data = self._data(data, blob)
            rows.append(Row(seq, text, digest, parts, prev, key_id, data, noted, blob))
            prev = digest
        _, beyond = self.beyond()
        if beyond:
            rows += [row for row in beyond if first <= row.seq <= upper][: limit - len(rows)]
        return rows

    def beyond(self) -> tuple[Batch, list[Row]]:
        """What a power cut has taken from the database, and the redo log still has.

        Audits and copies read it; the next start puts it in place, and then there is none.
        """
        if self._beyond is None:
            records, meta = self.home.redo_records(), self.look()  # In this order: none is missed.
            head = self._head() if meta is not None else None
            self._beyond = Batch(), []
            if meta is not None:
                last = (Seq(0), GENESIS) if head is None else (head.seq, head.hash)
                batch, rows = redo.beyond(records, meta.journal, *last)
                self._beyond = batch, [self._whole(row) for row in rows]
        return self._beyond

    def of_process(
        self, process: ProcessId, after: int, kinds: Sequence[str] | None, limit: int
    ) -> list[Row]:
        among = "" if kinds is None else f"AND e.kind IN ({','.join('?' for _ in kinds)})"
        return self._singly(
            f"WHERE e.process = ? AND e.process_seq > ? {among} ORDER BY e.process_seq LIMIT ?",
            (process, after, *(kinds or ()), limit),
        )

    def at(self, seqs: Sequence[Seq]) -> list[Row]:
        wanted = "WHERE e.seq IN (SELECT value FROM json_each(?)) ORDER BY e.seq"
        return self._singly(wanted, (f"[{','.join(str(int(seq)) for seq in seqs)}]",))

    def of_call(self, call: str) -> list[Row]:
        return self._singly("WHERE e.call = ? ORDER BY e.seq", (call,))

    def newest(self, kind: str, limit: int) -> list[Row]:
        # A partial index is used only where the statement itself says the kind.
        wanted = f"'{_SNAPSHOT}'" if kind == _SNAPSHOT else "?"
        return self._singly(
            f"WHERE e.kind = {wanted} ORDER BY e.seq DESC LIMIT ?",
            (limit,) if kind == _SNAPSHOT else (kind, limit),
        )

    def process_head(self, process: ProcessId) -> int:
        if self._lookup is None:
            return 0
        with translated(self.home):
            found = self._lookup.execute(
                "SELECT process_seq FROM event WHERE process = ? ORDER BY process_seq DESC LIMIT 1",
                (process,),
            ).fetchone()
        return 0 if found is None else int(found[0])

    def has_part(self, name: bytes) -> bool:
        if self._lookup is None:
            return False
        # On the event loop, for each new message: no context manager, no more than one row.
        try:
            found = self._lookup.execute("SELECT 1 FROM body WHERE name = ?", (name,)).fetchone()
        except (sqlite3.Error, UnicodeError) as error:
            raise foreign(self.home, error) from error
        return found is not None

    def part(self, name: bytes) -> Body | None:
        bodies = self._bodies("WHERE name = ?", (name,))
        return bodies[0] if bodies else None

    def parts_between(self, first: Seq, last: Seq) -> list[Body]:
        found = self._bodies(
            "WHERE id BETWEEN ? AND ? AND id & 65535 ORDER BY id", (first << 16, last << 16 | 65535)
        )
        batch, _ = self.beyond()
        if not batch.bodies:
            return found
        there = {body.place for body in found}
        beyond = [body for body in redo.parts(batch, first, last) if body.place not in there]
        return found + [self._whole(body) for body in beyond]

    def checkpoints(self, newest: int | None = None) -> list[Checkpoint]:
        with translated(self.home):
            found = self._reader().execute(
                "SELECT size, root, frontier, note FROM checkpoint ORDER BY size DESC LIMIT ?",
                (-1 if newest is None else newest,),
            )
            return [Checkpoint(*row) for row in found]

    def boots(self) -> list[Boot]:
        with translated(self.home):
            return [Boot(*row) for row in self._reader().execute("SELECT epoch, id FROM boot")]

    def anchor(self) -> tuple[bytes, ...] | None:
        return self.home.anchor()

    def flaws(self) -> list[str]:
        with translated(self.home):
            found = [str(row[0]) for row in self._reader().execute("PRAGMA integrity_check(8)")]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        self.close_readers()
        self.home.close()

    def close_readers(self) -> None:
        for connection in (self._bulk, self._lookup):
            if connection is not None:
                connection.close()
        self._bulk = self._lookup = self._beyond = None

    def _head(self) -> Row | None:
        rows = self._singly("ORDER BY e.seq DESC LIMIT 1", ())
        return rows[0] if rows else None

    def _reader(self) -> sqlite3.Connection:
        if self._bulk is None and self.look() is None:
            raise JournalStopped(f"there is no journal in {self.home.path}")
        assert self._bulk is not None
        return self._bulk

    def _singly(self, where: str, values: tuple[object, ...]) -> list[Row]:
        with translated(self.home):
            found = self._reader().execute(schema.SINGLY + where, values).fetchall()
        return [
            Row(
                seq,
                text,
                digest,
                parts,
                GENESIS if prev is None else prev,
                key_id,
                self._data(data, blob),
                noted,
                blob,
            )
            for seq, text, digest, parts, prev, key_id, data, noted, blob in found
        ]

    def _bodies(self, where: str, values: tuple[object, ...]) -> list[Body]:
        with translated(self.home):
            found = self._reader().execute(_BODY + where, values).fetchall()
        return [
            Body(place, key_id, self._data(data, blob), name, digest, blob)
            for place, key_id, data, name, digest, blob in found
        ]

    def _whole(self, found: Found) -> Found:
        return (
            found if found.blob is None else replace(found, data=self._data(found.data, found.blob))
        )

    def _data(self, data: bytes | None, blob: str | None) -> bytes | None:
        return data if data is not None or blob is None else self.home.read_blob(blob)


def connect(home: Home, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"file:{quote(str(home.database))}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=JOURNAL_BUSY_S,
        check_same_thread=False,
        cached_statements=64,
    )
    if not read_only:
        connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def translated(home: Home) -> Iterator[None]:
    """SQLite's errors as ours: a lock is no damage, the rest is."""
    try:
        yield
    # SQLite quotes what it finds damaged, which need not be UTF-8.
    except (sqlite3.Error, UnicodeError) as error:
        raise foreign(home, error) from error


def foreign(home: Home, error: Exception) -> JournalStopped:
    """What to raise for an error of SQLite while reading."""
    name = getattr(error, "sqlite_errorname", "")
    said = f"{home.database} can't be read: {error} ({name})"
    return JournalStopped(said) if name.startswith(_NOT_DAMAGE) else JournalDamaged(said)
