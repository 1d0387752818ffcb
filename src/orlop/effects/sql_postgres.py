"""PostgreSQL as a database of tools: a connection a call that runs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from orlop.abi.errors import (
    DeadlineMissed,
    DeviceBusy,
    DeviceFailed,
    KernelError,
    ToolFailed,
)
from orlop.abi.limits import DATABASE_CONNECT_S
from orlop.effects.sql import OUTBOX, PLANNED, Answer, parameters, pyformat
from orlop.machine.credential import hidden

CREATE: Final = (
    f"CREATE TABLE IF NOT EXISTS {OUTBOX}(key text PRIMARY KEY, result text, "
    "at timestamptz NOT NULL DEFAULT now())"
)

MAY_WRITE: Final = f"""
SELECT CASE
  WHEN to_regclass('{OUTBOX}') IS NULL THEN has_schema_privilege(current_schema(), 'CREATE')
  ELSE has_table_privilege('{OUTBOX}', 'SELECT') AND has_table_privilege('{OUTBOX}', 'INSERT')
   AND has_table_privilege('{OUTBOX}', 'UPDATE') END
"""

SURE: Final = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.SyntaxError,
)
"""What does not depend on the values that a call will bind."""


class Postgres:
    """Invariant: a write and its row in the outbox are in one transaction.

    A second call with the key waits in the database for the first one, and then finds its result.
    """

    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._password = password
        self._idle: list[AsyncConnection[TupleRow]] = []
        self._has_outbox = False

    async def read(
        self, sql: str, arguments: Mapping[str, object], rows_max: int, limit_s: float
    ) -> object:
        async with self._connected(limit_s) as connection:
            await connection.set_read_only(True)
            async with connection.transaction():
                cursor = await connection.execute(pyformat(sql).encode(), _bound(arguments))
                return (await _answer(cursor, rows_max)).value()

    async def write(
        self, sql: str, arguments: Mapping[str, object], rows_max: int, limit_s: float, key: str
    ) -> object:
        async with self._connected(limit_s) as connection:
            await connection.set_read_only(False)
            if not self._has_outbox:
                await connection.execute(CREATE.encode())
                await connection.commit()
                self._has_outbox = True
            async with connection.transaction():
                taken = await connection.execute(
                    f"INSERT INTO {OUTBOX}(key) VALUES (%s) ON CONFLICT DO NOTHING".encode(), (key,)
                )
                if taken.rowcount == 0:
                    return await _known(connection, key)
                cursor = await connection.execute(pyformat(sql).encode(), _bound(arguments))
                value = (await _answer(cursor, rows_max)).value()
                await connection.execute(
                    f"UPDATE {OUTBOX} SET result = %s WHERE key = %s".encode(),
                    (msgspec.json.encode(value).decode(), key),
                )
            return value

    async def known(self, key: str, limit_s: float) -> bool:
        async with self._connected(limit_s) as connection:
            found = await connection.execute("SELECT to_regclass(%s)", (OUTBOX,))
            row = await found.fetchone()
            if row is None or row[0] is None:
                return False
            asked = f"SELECT 1 FROM {OUTBOX} WHERE key = %s".encode()
            cursor = await connection.execute(asked, (key,))
            return await cursor.fetchone() is not None

    async def lacks(self, writes: bool, limit_s: float) -> str:
        async with self._connected(limit_s) as connection:
            cursor = await connection.execute(MAY_WRITE.encode() if writes else b"SELECT true")
            row = await cursor.fetchone()
        if row is None or row[0]:
            return ""
        return f"its user may neither make nor write the table {OUTBOX}, which what writes needs"

    async def wrong(self, sql: str, limit_s: float) -> str:
        if not PLANNED.match(sql):
            return ""
        async with self._connected(limit_s) as connection:
            await connection.set_read_only(True)
            try:
                asked = f"EXPLAIN {pyformat(sql)}".encode()
                await connection.execute(asked, dict.fromkeys(parameters(sql)))
            except SURE as error:
                await connection.rollback()
                return str(error).partition("\n")[0]
            except psycopg.errors.ProgrammingError:  # Of what type a value is, a call will show.
                await connection.rollback()
        return ""

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _connected(self, limit_s: float) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """A connection; one that something went wrong on is closed."""
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._take()
                try:
                    yield connection
                    await connection.rollback()
                    self._idle.append(connection)
                except BaseException:
                    await connection.close()
                    raise
        except TimeoutError as error:
            raise DeadlineMissed(f"the database took more than {limit_s:g} s") from error
        except KernelError:
            raise
        except psycopg.Error as error:
            raise self._translated(error) from error

    async def _take(self) -> AsyncConnection[TupleRow]:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not connection.broken:
                return connection
        try:
            return await AsyncConnection.connect(
                self._url, password=self._password or None, connect_timeout=DATABASE_CONNECT_S
            )
        except psycopg.OperationalError as error:
            said = hidden(str(error), self._password)
            raise DeviceBusy(f"the database can't be reached: {said}") from error

    def _translated(self, error: psycopg.Error) -> KernelError:
        said = hidden(str(error).strip(), self._password)
        if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.SerializationFailure):
            return DeviceBusy(f"the database is busy: {said}")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return DeviceFailed(f"the database failed: {said}")
        return ToolFailed(f"the database refused: {said}")


async def _known(connection: AsyncConnection[TupleRow], key: str) -> object:
    cursor = await connection.execute(
        f"SELECT result FROM {OUTBOX} WHERE key = %s".encode(), (key,)
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        raise DeviceFailed(f"the outbox holds no result for {key}")
    value: object = msgspec.json.decode(row[0])
    return value


def _bound(arguments: Mapping[str, object]) -> dict[str, object]:
    """Lists are arrays there, and objects JSON."""
    return {
        name: Jsonb(value) if isinstance(value, dict) else value
        for name, value in arguments.items()
    }


async def _answer(cursor: AsyncCursor[TupleRow], rows_max: int) -> Answer:
    if cursor.description is None:
        return Answer((), (), cursor.rowcount)
    rows = await cursor.fetchmany(rows_max + 1)
    if len(rows) > rows_max:
        raise ToolFailed(f"there are more than {rows_max} rows (rows_max): ask for fewer")
    return Answer([column.name for column in cursor.description], rows, len(rows))
