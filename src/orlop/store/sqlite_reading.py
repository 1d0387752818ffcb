"""The reading half of the SQLite tape: connections that are open read-only.

Looking changes nothing on disk, so that a damaged journal stays as it was found.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from orlop.abi.errors import JournalDamaged, JournalStopped
from orlop.abi.events import Header
from orlop.abi.ids import BootId, JournalId, ProcessId, Seq
from orlop.abi.limits import JOURNAL_BUSY_S
from orlop.store import schema
from orlop.store.home import Home
from orlop.store.rows import Body, Boot, Checkpoint, Meta, Row

_BODY: Final = "SELECT id, key_id, data, name, digest, blob FROM body "
_NOT_DAMAGE: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_PERM")
_SNAPSHOT: Final = "kernel.snapshot"


class SqliteReading:
    """Two connections: one for reads in bulk, one for look-ups on the event loop."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._bulk: sqlite3.Connection | None = None
        self._lookup: sqlite3.Connection | None = None
        self._boots: dict[int, BootId] = {}

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
        rows = self._select("ORDER BY e.seq DESC LIMIT 1", ())
        return rows[0] if rows else None

    def rows(self, first: Seq, last: Seq | None, limit: int) -> list[Row]:
        upper = (1 << 47) - 1 if last is None else last
        return self._select(
            "WHERE e.seq BETWEEN ? AND ? ORDER BY e.seq LIMIT ?", (first, upper, limit)
        )

    def of_process(
        self, process: ProcessId, after: int, kinds: Sequence[str] | None, limit: int
    ) -> list[Row]:
        among = "" if kinds is None else f"AND e.kind IN ({','.join('?' for _ in kinds)})"
        return self._select(
            f"WHERE e.process = ? AND e.process_seq > ? {among} ORDER BY e.process_seq LIMIT ?",
            (process, after, *(kinds or ()), limit),
        )

    def of_call(self, call: str) -> list[Row]:
        return self._select("WHERE e.call = ? ORDER BY e.seq", (call,))

    def latest(self, kind: str) -> Row | None:
        # A partial index is used only where the statement itself says the kind.
        wanted = f"'{_SNAPSHOT}'" if kind == _SNAPSHOT else "?"
        rows = self._select(
            f"WHERE e.kind = {wanted} ORDER BY e.seq DESC LIMIT 1",
            () if kind == _SNAPSHOT else (kind,),
        )
        return rows[0] if rows else None

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
        with translated(self.home):
            return (
                self._lookup.execute("SELECT 1 FROM body WHERE name = ?", (name,)).fetchone()
                is not None
            )

    def part(self, name: bytes) -> Body | None:
        bodies = self._bodies("WHERE name = ?", (name,))
        return bodies[0] if bodies else None

    def parts_between(self, first: Seq, last: Seq) -> list[Body]:
        return self._bodies(
            "WHERE id BETWEEN ? AND ? AND id & 65535 ORDER BY id", (first << 16, last << 16 | 65535)
        )

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
        self._bulk = self._lookup = None

    def _reader(self) -> sqlite3.Connection:
        if self._bulk is None and self.look() is None:
            raise JournalStopped(f"there is no journal in {self.home.path}")
        assert self._bulk is not None
        return self._bulk

    def _select(self, where: str, values: tuple[object, ...]) -> list[Row]:
        with translated(self.home):
            found = self._reader().execute(schema.SELECT + where, values).fetchall()
        # One comprehension and no function a row: this decides how fast a replay is.
        boot_of = self._boot_of
        return [
            Row(
                Header(
                    seq=seq,
                    process=process,
                    process_seq=process_seq,
                    kind=kind,
                    call=call,
                    cause=cause,
                    actor=actor,
                    tenant=tenant,
                    wall_ns=wall_ns,
                    mono_ns=mono_ns,
                    boot=boot_of(epoch),
                    epoch=epoch,
                    key=key,
                    args_digest=args_digest,
                    body_digest=body_digest,
                    prev=prev,
                    hash=digest,
                ),
                parts or b"",
                ()
                if place is None
                else (Body(place, key_id, self._data(data, blob), None, noted, blob),),
            )
            for (
                seq,
                process,
                process_seq,
                kind,
                call,
                cause,
                actor,
                tenant,
                wall_ns,
                mono_ns,
                epoch,
                key,
                args_digest,
                body_digest,
                parts,
                prev,
                digest,
                place,
                key_id,
                data,
                noted,
                blob,
            ) in found
        ]

    def _bodies(self, where: str, values: tuple[object, ...]) -> list[Body]:
        with translated(self.home):
            found = self._reader().execute(_BODY + where, values).fetchall()
        return [
            Body(place, key_id, self._data(data, blob), name, digest, blob)
            for place, key_id, data, name, digest, blob in found
        ]

    def _data(self, data: bytes | None, blob: str | None) -> bytes | None:
        return data if data is not None or blob is None else self.home.read_blob(blob)

    def _boot_of(self, epoch: int) -> BootId:
        if epoch not in self._boots:
            self._boots = {boot.epoch: boot.boot for boot in self.boots()}
        # An epoch that was never begun gives a header that does not fit its hash.
        return self._boots.get(epoch, BootId(""))


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
    connection.execute("PRAGMA trusted_schema = OFF" if read_only else "PRAGMA synchronous = FULL")
    return connection


@contextmanager
def translated(home: Home) -> Iterator[None]:
    """SQLite's errors while reading, as ours: a lock is no damage, the rest is."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(_NOT_DAMAGE):
            raise JournalStopped(f"{home.database} can't be read: {error} ({name})") from error
        raise JournalDamaged(f"{home.database} can't be read: {error} ({name})") from error
