"""The SQLite file under a projection.  All methods block.

Invariants:
1. What was folded, and how far that reaches, change in one transaction.
2. A file that is missing, damaged, of another format or of another journal is begun anew.
3. Commits are not flushed to the disk, and a power failure takes the newest back, in order: they
   are in the journal.
"""

import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from orlop.abi.ids import JournalId, Seq
from orlop.abi.limits import PROJECTION_BUSY_S, WAL_PAGES
from orlop.store import files
from orlop.store.rows import Stored

_PAGE_BYTES: Final = 4096
_META: Final = """
CREATE TABLE projection(
  name TEXT PRIMARY KEY, value TEXT NOT NULL
) WITHOUT ROWID;
"""


class Fold(Protocol):
    """What is made of events."""

    @property
    def name(self) -> str:
        """Of the file, and in messages."""
        ...

    @property
    def schema(self) -> str:
        """Statements that make its tables.  Where they change, the file is begun anew."""
        ...

    @property
    def format(self) -> int:
        """To be raised where `fold` makes something else of the same events."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Of the events that it wants."""
        ...

    def fold(self, connection: sqlite3.Connection, events: Sequence[Stored]) -> None:
        """Change the tables, inside a transaction.  Events come in order, each once; one whose
        body was pruned has None."""
        ...


class ProjectionFile:
    """path: None: in RAM.  Then one connection does all, so that its user must do one thing at a
    time."""

    def __init__(self, fold: Fold, path: Path | None) -> None:
        self._fold = fold
        self._path = path
        self._writer: sqlite3.Connection | None = None
        self._born = 0
        """Of the file that is open: who holds rows in RAM can tell that they are of another one."""

    def open(self, journal: JournalId) -> tuple[Seq, bytes]:
        """How far it reaches, and that event's hash (0 and nothing: begun anew)."""
        self.close()
        try:
            found = self._open(journal)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            found = None
        if found is not None:
            return found
        self.discard()
        self._create(journal)
        return Seq(0), b""

    def apply(self, events: Sequence[Stored], seq: Seq, digest: bytes) -> None:
        """Fold `events`, all there are up to `seq`; `digest` is that event's hash."""
        writer = self._open_writer()
        writer.execute("BEGIN IMMEDIATE")
        try:
            if events:
                self._fold.fold(writer, events)
            writer.execute(
                "UPDATE projection SET value = ? WHERE name = 'applied'", (f"{seq} {digest.hex()}",)
            )
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise

    def reader(self) -> sqlite3.Connection:
        """A connection that is open read-only, for one thread at a time; its user closes it.

        In RAM: the one that there is.
        """
        if self._path is None:
            return self._open_writer()
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=PROJECTION_BUSY_S,
        )

    def release(self, reader: sqlite3.Connection) -> None:
        if self._path is not None:
            reader.close()

    def compact(self) -> None:
        """Give back what deleted rows took; nothing of them stays in the file or in its log."""
        writer = self._open_writer()
        writer.execute("VACUUM")
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def discard(self) -> None:
        """Throw the file away."""
        self.close()
        if self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _open(self, journal: JournalId) -> tuple[Seq, bytes] | None:
        """None where it is not what it should be."""
        if self._path is None or not self._path.exists():
            return None
        writer = self._writer = self._connect()
        tables = {name for (name,) in writer.execute("SELECT name FROM sqlite_master")}
        if "projection" not in tables:
            return None
        found = dict(writer.execute("SELECT name, value FROM projection"))
        if {name: found.get(name) for name in ("journal", "shape")} != self._identity(journal):
            return None
        (self._born,) = writer.execute("PRAGMA user_version").fetchone()
        seq, _, digest = str(found.get("applied", "")).partition(" ")
        return Seq(int(seq)), bytes.fromhex(digest)

    def _create(self, journal: JournalId) -> None:
        if self._path is not None:
            files.private_folder(self._path.parent)
        writer = self._writer = self._connect()
        if self._path is not None:
            self._path.chmod(0o600)
        self._born += 1
        writer.execute(f"PRAGMA user_version = {self._born}")
        writer.executescript(f"BEGIN IMMEDIATE;{_META}{self._fold.schema}")
        rows = [*self._identity(journal).items(), ("applied", "0 ")]
        writer.executemany("INSERT INTO projection VALUES (?, ?)", rows)
        writer.execute("COMMIT")

    def _identity(self, journal: JournalId) -> dict[str, str]:
        shape = f"{self._fold.format}\n{self._fold.schema}"
        return {"journal": journal, "shape": sha256(shape.encode()).hexdigest()}

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:" if self._path is None else self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=PROJECTION_BUSY_S,
        )
        if self._path is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            # Flushed when the log is folded back into the file, so that this stays whole.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * _PAGE_BYTES}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            raise sqlite3.OperationalError("the projection is not open")
        return self._writer
