"""SQLite as a database of tools: one connection, in a thread of its own."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from orlop.abi.errors import DeadlineMissed, DeviceBusy, DeviceFailed, KernelError, ToolFailed
from orlop.effects.sql import OUTBOX, PLANNED, Answer, parameters
from orlop.machine.offload import Offload

T = TypeVar("T")

LOCKED_S: Final = 5.0
"""How long a statement waits for others that write to the same file."""

CREATE: Final = (
    f"CREATE TABLE IF NOT EXISTS {OUTBOX}(key TEXT PRIMARY KEY, result TEXT NOT NULL, "
    "at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
)


class Sqlite:
    """Invariant: a write and its row in the outbox are in one transaction."""

    def __init__(self, path: Path, offload: Offload) -> None:
        self._path = path
        self._offload = offload
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        """Its device and inode: who replaces a file under a connection would not be read."""

    async def read(
        self, sql: str, arguments: Mapping[str, object], rows_max: int, limit_s: float
    ) -> object:
        return await self._within(limit_s, lambda: self._read(sql, arguments, rows_max))

    async def write(
        self, sql: str, arguments: Mapping[str, object], rows_max: int, limit_s: float, key: str
    ) -> object:
        return await self._within(limit_s, lambda: self._write(sql, arguments, rows_max, key))

    async def known(self, key: str, limit_s: float) -> bool:
        return await self._within(limit_s, lambda: self._known(key) is not None)

    async def lacks(self, writes: bool, limit_s: float) -> str:
        return await self._within(limit_s, lambda: self._lacks(writes))

    async def wrong(self, sql: str, limit_s: float) -> str:
        return await self._within(limit_s, lambda: self._wrong(sql))

    async def close(self) -> None:
        if self._connection is not None:
            await self._offload(self._connection.close)
        self._offload.close()

    async def _within(self, limit_s: float, work: Callable[[], T]) -> T:
        """What is late is interrupted, and then either rolled back or done after all."""
        running = asyncio.ensure_future(self._offload(work))
        try:
            done, _ = await asyncio.wait((running,), timeout=limit_s)
            if not done and self._connection is not None:
                self._connection.interrupt()
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if self._connection is not None:
                self._connection.interrupt()
            await asyncio.wait((running,))
            raise

    def _read(self, sql: str, arguments: Mapping[str, object], rows_max: int) -> object:
        with self._translated() as connection:
            connection.execute("PRAGMA query_only = ON")
            return _answer(connection.execute(sql, _bound(arguments)), rows_max).value()

    def _write(self, sql: str, arguments: Mapping[str, object], rows_max: int, key: str) -> object:
        with self._translated() as connection:
            connection.execute("PRAGMA query_only = OFF")
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute(CREATE)
                row = connection.execute(
                    f"SELECT result FROM {OUTBOX} WHERE key = ?", (key,)
                ).fetchone()
                if row is not None:
                    connection.execute("ROLLBACK")
                    known: object = msgspec.json.decode(row[0])
                    return known
                value = _answer(connection.execute(sql, _bound(arguments)), rows_max).value()
                connection.execute(
                    f"INSERT INTO {OUTBOX}(key, result) VALUES (?, ?)",
                    (key, msgspec.json.encode(value).decode()),
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return value

    def _known(self, key: str) -> object:
        with self._translated() as connection:
            has = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = ?", (OUTBOX,)
            ).fetchone()
            asked = f"SELECT result FROM {OUTBOX} WHERE key = ?"
            found: object = connection.execute(asked, (key,)).fetchone() if has else None
            return found

    def _lacks(self, writes: bool) -> str:
        with self._translated() as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
        for path in (self._path, self._path.parent):  # The folder, for the log of a transaction.
            if writes and not os.access(path, os.W_OK):
                return f"{path} can't be written by this user"
        return ""

    def _wrong(self, sql: str) -> str:
        if not PLANNED.match(sql):
            return ""
        with self._translated() as connection:
            try:
                connection.execute(f"EXPLAIN {sql}", dict.fromkeys(parameters(sql)))
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorname", "") != "SQLITE_ERROR":
                    raise
                return str(error)
        return ""

    def _opened(self) -> sqlite3.Connection:
        """The connection; a new one where another file has come to its place.

        A file that is not there is not made: its name is wrong, or its disk is away.
        """
        try:
            found = self._path.stat()
        except OSError as error:
            raise DeviceBusy(f"{self._path} can't be opened: {error.strerror}") from error
        if self._connection is not None and self._file != (found.st_dev, found.st_ino):
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._file = found.st_dev, found.st_ino
            self._connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode=rw",
                uri=True,
                timeout=LOCKED_S,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.execute("PRAGMA foreign_keys = ON")
        return self._connection

    @contextmanager
    def _translated(self) -> Iterator[sqlite3.Connection]:
        """Every error of the library as one of ours."""
        try:
            yield self._opened()
        except KernelError:
            raise
        except sqlite3.OperationalError as error:
            raise _operational(error) from error
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError) as error:
            raise ToolFailed(f"the database refused: {error}") from error
        except (sqlite3.Error, OverflowError) as error:
            raise DeviceFailed(f"the database failed: {error}") from error


def _operational(error: sqlite3.OperationalError) -> KernelError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_INTERRUPT"):
        return DeadlineMissed("the statement took too long; nothing was changed")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN")):
        return DeviceBusy(f"the database can't be used now: {error}")
    if name.startswith(("SQLITE_ERROR", "SQLITE_READONLY")):
        return ToolFailed(f"the database refused: {error}")
    return DeviceFailed(f"the database failed: {error}")


def _bound(arguments: Mapping[str, object]) -> dict[str, object]:
    """Lists and objects are JSON there."""
    return {
        name: json.dumps(value) if isinstance(value, list | dict) else value
        for name, value in arguments.items()
    }


def _answer(cursor: sqlite3.Cursor, rows_max: int) -> Answer:
    columns = [str(one[0]) for one in cursor.description or ()]
    rows = cursor.fetchmany(rows_max + 1)
    if len(rows) > rows_max:
        raise ToolFailed(f"there are more than {rows_max} rows (rows_max): ask for fewer")
    return Answer(columns, rows, len(rows) if columns else cursor.rowcount)
