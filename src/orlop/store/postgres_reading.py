"""The reading half of the PostgreSQL tape."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg
from psycopg import Connection, sql

from orlop.abi.errors import JournalAway, JournalDamaged, JournalStopped
from orlop.abi.ids import JournalId, ProcessId, Seq
from orlop.abi.limits import DATABASE_CONNECT_S, DATABASE_STATEMENT_S
from orlop.store import postgres_schema as schema
from orlop.store.chain import GENESIS
from orlop.store.home import Home
from orlop.store.known_names import KnownNames
from orlop.store.rows import Body, Boot, Checkpoint, Meta, Row

_SEQ_MAX: Final = (1 << 47) - 1
_NAMES_AT_ONCE: Final = 10_000


class PostgresReading:
    """Two connections, as with SQLite: one for reads in bulk, one for look-ups on the event loop.

    The anchor lies in the home, not beside what it watches over.
    """

    def __init__(self, home: Home, url: str, name: str) -> None:
        self.home = home
        self._url = url
        self._name = name
        self._bulk: Connection | None = None
        self._lookup: Connection | None = None
        self._names: KnownNames | None = None
        self.is_writing = False

    def statement(self, text: LiteralString, name: str = "") -> sql.Composed:
        """`text` with our schema's name in it, or another one."""
        return sql.SQL(text).format(schema=sql.Identifier(name or self._name))

    def look(self) -> Meta | None:
        with self.translated():
            self._bulk = self._bulk or self.connect()
            self._lookup = self._lookup or self.connect()
            known = self._bulk.execute(
                "SELECT 1 FROM information_schema.tables WHERE table_schema = %s"
                " AND table_name = 'meta'",
                (self._name,),
            ).fetchone()
            if known is None:
                return None
            found: dict[str, str] = dict(
                self._bulk.execute(self.statement("SELECT name, value FROM {schema}.meta"))
            )
        try:
            return Meta(JournalId(found["journal"]), int(found["format"]))
        except (KeyError, ValueError) as error:
            raise JournalDamaged(f"{self._name} does not say which journal it is") from error

    def layout(self, connection: Connection) -> int:
        """Of the tables as they are; the first release did not say."""
        asked = self.statement("SELECT value FROM {schema}.meta WHERE name = 'layout'")
        found = connection.execute(asked).fetchone()
        return 1 if found is None else int(found[0])

    def head(self) -> Row | None:
        rows = self._singly("ORDER BY e.seq DESC LIMIT 1", ())
        return rows[0] if rows else None

    def rows(self, first: Seq, last: Seq | None, limit: int) -> list[Row]:
        upper = _SEQ_MAX if last is None else last
        before = self.statement("SELECT hash FROM {schema}.event WHERE seq = %s")
        wanted = self.statement(
            schema.SELECT.replace("{prev}", "NULL::bytea")
            + "WHERE e.seq BETWEEN %s AND %s ORDER BY e.seq LIMIT %s"
        )
        with self.translated():
            reader = self._reader()
            known = reader.execute(before, (first - 1,), binary=True).fetchone()
            found = reader.execute(wanted, (first, upper, limit), binary=True).fetchall()
        prev = GENESIS if known is None else known[0]
        rows = []
        for seq, text, digest, parts, _, *rest in found:
            rows.append(Row(seq, text.encode(), digest, parts, prev, *rest))
            prev = digest
        return rows

    def at(self, seqs: Sequence[Seq]) -> list[Row]:
        return self._singly("WHERE e.seq = ANY(%s) ORDER BY e.seq", (list(seqs),))

    def of_process(
        self, process: ProcessId, after: int, kinds: Sequence[str] | None, limit: int
    ) -> list[Row]:
        return self._singly(
            "WHERE e.process = %s AND e.process_seq > %s AND (%s::text[] IS NULL OR"
            " e.kind = ANY(%s::text[])) ORDER BY e.process_seq LIMIT %s",
            (process, after, *2 * (None if kinds is None else list(kinds),), limit),
        )

    def of_call(self, call: str) -> list[Row]:
        return self._singly("WHERE e.call = %s ORDER BY e.seq", (call,))

    def newest(self, kind: str, limit: int) -> list[Row]:
        return self._singly("WHERE e.kind = %s ORDER BY e.seq DESC LIMIT %s", (kind, limit))

    def process_head(self, process: ProcessId) -> int:
        if self._lookup is None and (self.is_writing or self.look() is None):
            return 0
        assert self._lookup is not None
        statement = (
            "SELECT process_seq FROM {schema}.event WHERE process = %s"
            " ORDER BY process_seq DESC LIMIT 1"
        )
        with self.translated():
            found = self._lookup.execute(self.statement(statement), (process,)).fetchone()
        return 0 if found is None else int(found[0])

    def has_part(self, name: bytes) -> bool:
        # On the event loop, for each new message: most are new, and no server need say so.
        if self._lookup is None or (self._names is not None and not self._names.may_hold(name)):
            return False
        statement = self.statement("SELECT 1 FROM {schema}.body WHERE name = %s")
        with self.translated():
            return self._lookup.execute(statement, (name,)).fetchone() is not None

    def part(self, name: bytes) -> Body | None:
        bodies = self._bodies("WHERE name = %s", (name,))
        return bodies[0] if bodies else None

    def parts_between(self, first: Seq, last: Seq) -> list[Body]:
        return self._bodies(
            "WHERE id BETWEEN %s AND %s AND id & 65535 <> 0 ORDER BY id",
            (first << 16, last << 16 | 65535),
        )

    def checkpoints(self, newest: int | None = None) -> list[Checkpoint]:
        statement = (
            "SELECT size, root, frontier, note FROM {schema}.checkpoint ORDER BY size DESC LIMIT %s"
        )
        with self.translated():
            found = self._reader().execute(self.statement(statement), (newest,), binary=True)
            return [Checkpoint(*row) for row in found]

    def boots(self) -> list[Boot]:
        with self.translated():
            found = self._reader().execute(self.statement("SELECT epoch, id FROM {schema}.boot"))
            return [Boot(*row) for row in found]

    def anchor(self) -> tuple[bytes, ...] | None:
        return self.home.anchor()

    def flaws(self) -> list[str]:
        """PostgreSQL checks its pages itself where it was told to (`data_checksums`)."""
        return []

    def close(self) -> None:
        self.close_readers()
        self.home.close()

    def close_readers(self) -> None:
        for connection in (self._bulk, self._lookup):
            if connection is not None:
                connection.close()
        self._bulk = self._lookup = None

    def connect(self) -> Connection:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=DATABASE_CONNECT_S,
            application_name=f"orlop {self._name}",
            client_encoding="utf8",
            # A server that is gone without a word is noticed, and nobody waits for ever.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=DATABASE_STATEMENT_S * 1000,
        )
        connection.execute(f"SET statement_timeout = '{DATABASE_STATEMENT_S}s'")
        return connection

    def learn_names(self) -> None:
        """Every stored name, for `has_part`."""
        with self.translated():
            reader = self._reader()
            counted = reader.execute(
                self.statement("SELECT count(*) FROM {schema}.body WHERE name IS NOT NULL")
            ).fetchone()
            with reader.transaction(), reader.cursor("names", binary=True) as cursor:
                cursor.itersize = _NAMES_AT_ONCE
                cursor.execute(
                    self.statement("SELECT name FROM {schema}.body WHERE name IS NOT NULL")
                )
                self._names = KnownNames((row[0] for row in cursor), counted[0] if counted else 0)

    def _reader(self) -> Connection:
        if self._bulk is None and self.look() is None:
            raise JournalStopped(f"there is no journal {self._name} in this database")
        assert self._bulk is not None
        return self._bulk

    def _singly(self, where: LiteralString, values: tuple[object, ...]) -> list[Row]:
        statement = self.statement(schema.SELECT.replace("{prev}", schema.PREV) + where)
        with self.translated():
            found = self._reader().execute(statement, values, binary=True).fetchall()
        return [
            Row(seq, text.encode(), digest, parts, GENESIS if prev is None else prev, *rest)
            for seq, text, digest, parts, prev, *rest in found
        ]

    def _bodies(self, where: LiteralString, values: tuple[object, ...]) -> list[Body]:
        statement = self.statement(schema.BODY + where)
        with self.translated():
            found = self._reader().execute(statement, values, binary=True).fetchall()
        return [
            Body(place, key_id, data, name, digest, blob)
            for place, key_id, data, name, digest, blob in found
        ]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """PostgreSQL's errors as ours."""
        try:
            yield
        except psycopg.errors.DataCorrupted as error:
            raise JournalDamaged(f"PostgreSQL finds {self._name} damaged: {error}") from error
        except psycopg.Error as error:
            self._drop_broken()
            raise JournalAway(f"PostgreSQL can't give the journal {self._name}: {error}") from error

    def _drop_broken(self) -> None:
        """Reading is connected anew the next time.  A writer's look-ups are not: they are made on
        the event loop, and stop the journal, as the loss of the connection that writes does."""
        connections = [one for one in (self._bulk, self._lookup) if one is not None]
        if not any(one.closed for one in connections):
            return
        if not self.is_writing:
            self.close_readers()
        elif self._bulk is not None and self._bulk.closed:
            self._bulk.close()
            self._bulk = None
