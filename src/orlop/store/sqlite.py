"""A tape on SQLite: one connection writes and checkpoints, all others are open read-only.

Invariants:
1. A batch is one transaction, in few statements, that does not wait for the disk; and one record of
   the redo log, which does (`store.redo`).  All else that is written waits for the disk itself.
2. A record is overwritten only once the database holds durably what it says.
3. Blobs are durable before the row that names them.
4. After a failure nothing is written any more, and nothing is checkpointed.
"""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from orlop.abi.errors import JournalDamaged, JournalStopped
from orlop.abi.ids import Seq
from orlop.abi.limits import FREE_BYTES_MIN, REDO_BYTES, WAL_PAGES
from orlop.store import files, schema
from orlop.store.home import Home
from orlop.store.redo import Batch, BootRow, Redo
from orlop.store.rows import Boot, Checkpoint, Entry, Meta
from orlop.store.sqlite_reading import SqliteReading, connect
from orlop.store.sqlite_writing import insert, insert_checkpoints, put_back, rows_of, transaction
from orlop.store.stamp import PART_BITS

log = logging.getLogger(__name__)

_PAGE_BYTES: Final = 4096
_WHY: Final = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_BUSY": "another program holds a lock on it",
    "SQLITE_LOCKED": "another program holds a lock on it",
    "SQLITE_IOERR_FSYNC": "fsync failed; what the disk holds is not known",
    "SQLITE_CONSTRAINT": "another program wrote to it, or the kernel has a bug",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_CORRUPT": "it is damaged",
}


class SqliteTape(SqliteReading):
    """outside: files that get a copy of each signed checkpoint, best on other disks."""

    def __init__(
        self,
        home: Home,
        outside: Sequence[Path] = (),
        free_bytes_min: int = FREE_BYTES_MIN,
        redo_bytes: int = REDO_BYTES,
    ) -> None:
        super().__init__(home)
        self._outside = tuple(outside)
        self._free_bytes_min = free_bytes_min
        self._redo_bytes = redo_bytes
        self._writer: sqlite3.Connection | None = None
        self._redo: Redo | None = None
        self._unsynced: Batch | None = None
        """The newest commit, where no anchor has been written since."""
        self._mark: tuple[int, bytes] | None = None
        """The newest anchor."""
        self._boots: list[BootRow] = []
        """Of this life."""
        self._is_stopped = False

    def lock(self) -> None:
        try:
            self.home.lock()
        except OSError as error:
            raise JournalStopped(f"{self.home.path} can't be locked: {error}") from error

    def create(self, meta: Meta) -> None:
        # Whole under another name first: nobody can open a file whose making was cut off.
        made = self.home.database.with_suffix(".new")
        with self._written("create"):
            _clear(made)
            _create(made, meta)
            made.replace(self.home.database)
            files.sync_folder(self.home.path)

    def write(self) -> None:
        with self._written("open"):
            files.private_folder(self.home.blobs)
            self._writer = connect(self.home, read_only=False)
            # A busy database refuses this change of mode with an error, at once.
            mode = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != ("wal",):
                raise JournalStopped(
                    f"{self.home.database} can't have a write-ahead log (mode {mode}):"
                    " is it on a network disk?"
                )
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            self._writer.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * _PAGE_BYTES}")
            self._writer.create_function("orlop_sha256", 1, _sha256, deterministic=True)
            if self._writer.execute(schema.VIEWS_ARE_OLD).fetchone() != (0,):
                self._writer.executescript(schema.RENEW_VIEWS)
            self._writer.execute("PRAGMA synchronous = NORMAL")
            self._redo = self._open_redo()
            self.home.make_reserve()
        self.look()

    def recover(self) -> int:
        try:
            found, _ = self.beyond()
        except JournalDamaged:
            return 0
        if found.events:
            with (
                self._written("recover"),
                closing(connect(self.home, read_only=False)) as connection,
                transaction(connection),
            ):
                put_back(connection, found)
            self.close_readers()
        return len(found.events)

    def begin(self, boot: Boot) -> None:
        with self._written("begin an epoch in"):
            self._open().execute("INSERT INTO boot VALUES (?, ?)", (boot.epoch, boot.boot))
            self._sync()
            self._boots = [(boot.epoch, boot.boot)]

    def commit(self, entries: Sequence[Entry], checkpoints: Sequence[Checkpoint]) -> None:
        with self._written("commit to"):
            batch = rows_of(entries, self._boots, self.home)
            with transaction(self._open()) as connection:
                insert(connection, batch)
                if checkpoints:
                    insert_checkpoints(connection, checkpoints)
            if checkpoints or self._unsynced is not None:
                self._sync()
            else:
                self._unsynced = batch

    def set_anchor(self, slot: int, data: bytes) -> None:
        with self._written("anchor"):
            self._mark = slot, data
            if self._redo and self._unsynced and self._redo.append(data, self._unsynced):
                self._unsynced = None
                return
            self._sync()
            self.home.set_anchor(slot, data)
            if self._redo:
                self._redo.rewind()

    def prune(self, before: Seq, keep: Sequence[str], before_wall_ns: int | None) -> int:
        where = (
            "id < ? AND (data IS NOT NULL OR blob IS NOT NULL) AND id >> 16 IN (SELECT seq FROM"
            f" event WHERE seq < ? AND kind NOT IN ({','.join('?' for _ in keep)})"
            " AND json_extract(header, '$.wall_ns') < ?)"
        )
        older = (1 << 62) if before_wall_ns is None else before_wall_ns
        values = (before << 16, before, *keep, older)
        with self._written("prune"), transaction(self._open()) as connection:
            blobs = connection.execute(
                f"SELECT blob FROM body WHERE blob IS NOT NULL AND {where}", values
            ).fetchall()
            pruned = connection.execute(
                "UPDATE body SET digest = coalesce(digest, orlop_sha256(data)), data = NULL,"
                f" blob = NULL, name = NULL WHERE {where}",
                values,
            ).rowcount
        return self._forgotten(pruned, [blob for (blob,) in blobs])

    def forget(self, places: Sequence[int]) -> int:
        where = "WHERE id = ? AND (data IS NOT NULL OR blob IS NOT NULL)"
        asked = [(place,) for place in places]
        with self._written("prune"), transaction(self._open()) as connection:
            found = [connection.execute(f"SELECT blob FROM body {where}", one) for one in asked]
            blobs = [blob for cursor in found for (blob,) in cursor if blob is not None]
            forgotten = connection.executemany(
                "UPDATE body SET digest = coalesce(digest, orlop_sha256(data)), data = NULL,"
                f" blob = NULL, name = NULL {where}",
                asked,
            ).rowcount
        return self._forgotten(forgotten, blobs)

    def strike(self, seqs: Sequence[Seq]) -> int:
        """Also from the free pages of the file, and from its log."""
        places = [(seq << PART_BITS, (seq + 1) << PART_BITS) for seq in seqs]
        where = "WHERE id >= ? AND id < ? AND (data IS NOT NULL OR blob IS NOT NULL)"
        with self._written("strike out in"):
            connection = self._open()
            connection.execute("PRAGMA secure_delete = ON")
            with transaction(connection):
                blobs = [
                    blob
                    for place in places
                    for (blob,) in connection.execute(f"SELECT blob FROM body {where}", place)
                    if blob is not None
                ]
                struck = connection.executemany(
                    "UPDATE body SET digest = coalesce(digest, orlop_sha256(data)), data = NULL,"
                    f" blob = NULL, name = NULL {where}",
                    places,
                ).rowcount
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._forgotten(struck, blobs)

    def replace(
        self,
        meta: Meta,
        boots: Sequence[Boot],
        entries: Iterable[Entry],
        checkpoints: Sequence[Checkpoint],
    ) -> str:
        """The old files stay in a folder of their own; blobs stay where they are."""
        made = self.home.database.with_suffix(".new")
        with self._written("rewrite"):
            _clear(made)
            connection = _create(made, meta, keep_open=True)
            try:
                with transaction(connection):
                    connection.executemany(
                        "INSERT INTO boot VALUES (?, ?)",
                        [(boot.epoch, boot.boot) for boot in boots],
                    )
                    for entry in entries:
                        insert(connection, rows_of((entry,), (), self.home))
                    insert_checkpoints(connection, checkpoints)
            finally:
                connection.close()
            self.close_readers()
            return str(self._swap(made))

    def take(self, source: Home) -> None:
        """All of another home's journal, which nobody writes, page by page; there as a whole or not
        at all."""
        made = self.home.database.with_suffix(".new")
        with self._written("copy into"):
            _clear(made)
            files.private_folder(self.home.blobs)
            there = connect(source, read_only=True)
            copy = sqlite3.connect(made, isolation_level=None)
            try:
                made.chmod(0o600)
                there.backup(copy)
                copy.execute("PRAGMA journal_mode = WAL")
                for (blob,) in there.execute("SELECT blob FROM body WHERE blob IS NOT NULL"):
                    self.home.write_blob(blob, source.blob(blob).read_bytes())
            finally:
                copy.close()
                there.close()
            files.sync_file(made)
            made.replace(self.home.database)
            files.sync_folder(self.home.path)

    def publish(self, note: str) -> None:
        for path in self._outside:
            try:
                with path.open("a", encoding="utf-8") as file:
                    file.write(note + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                # A copy outside that can't be written must not stop the kernel; it is said aloud.
                log.warning("the checkpoint was not copied to %s: %s", path, error)

    def is_space_low(self) -> bool:
        return self.home.free_bytes() < self._free_bytes_min

    def stop(self) -> None:
        self._is_stopped = True
        self.home.free_reserve()

    def close(self) -> None:
        """The last connection to close checkpoints: after a failure a reader, which can't."""
        if self._is_stopped and self._writer is not None:
            self._writer.close()
            self._writer = None
        self.close_readers()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.home.close()

    def _open(self) -> sqlite3.Connection:
        if self._writer is None or self._is_stopped:
            raise JournalStopped("the journal is not open for writing")
        return self._writer

    def _sync(self) -> None:
        """What is committed reaches the disk: what SQLite has copied out of its log has already."""
        if self.home.log.exists():
            files.sync_file(self.home.log)
        self._unsynced = None

    def _forgotten(self, bodies: int, blobs: Iterable[str]) -> int:
        """Neither files nor the redo log keep what the database has let go of."""
        with self._written("wipe the redo log of"):
            self._sync()
            if self._redo is not None and self._mark is not None:
                self.home.set_anchor(*self._mark)
                self._redo.wipe()
        for blob in blobs:
            self.home.blob(blob).unlink(missing_ok=True)
        return bodies

    def _open_redo(self) -> Redo | None:
        try:
            return self.home.open_redo(self._redo_bytes)
        except OSError as error:
            log.warning("the disk has no room for a redo log, so each commit is slower: %s", error)
            return None

    def _swap(self, made: Path) -> Path:
        """Old files aside, the new one in their place.  A crash in between is noticed."""
        number = 1
        while (kept := self.home.path / f"damaged-{number}").exists():
            number += 1
        files.private_folder(kept)
        old = [
            path
            for path in self.home.path.glob("journal.*")
            if path.suffix != ".lock" and path != made and not path.name.endswith("-shm")
        ]
        for path in old:
            shutil.copy2(path, kept / path.name)
        files.sync_folder(kept)
        for path in self.home.path.glob("journal.db-*"):
            path.unlink()
        made.replace(self.home.database)
        files.sync_folder(self.home.path)
        return kept

    @contextmanager
    def _written(self, what: str) -> Iterator[None]:
        """Whatever goes wrong while writing stops the journal, and says why."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            why = next((why for known, why in _WHY.items() if name.startswith(known)), "")
            raise JournalStopped(
                f"could not {what} {self.home.database}: {why or error} ({name}: {error})"
            ) from error
        except OSError as error:
            raise JournalStopped(f"could not {what} {self.home.database}: {error}") from error


def _clear(made: Path) -> None:
    """What an interrupted making has left."""
    for end in ("", "-journal", "-wal", "-shm"):
        made.with_name(made.name + end).unlink(missing_ok=True)


def _create(path: Path, meta: Meta, keep_open: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    path.chmod(0o600)
    # From the beginning: a change takes a rollback journal, which readers can't play back.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(schema.CREATE)
    connection.execute(
        "INSERT INTO meta VALUES ('journal', ?), ('format', ?)", (meta.journal, str(meta.format))
    )
    connection.execute("COMMIT")
    if not keep_open:
        connection.close()
    return connection


def _sha256(data: bytes) -> bytes:
    return sha256(data).digest()
