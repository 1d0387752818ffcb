"""A tape on PostgreSQL: one connection writes, and holds the journal while it lives.

Invariants:
1. A batch is one transaction in one round trip; its commit is synchronous.
2. Who holds the advisory lock holds it by the connection that writes: whoever loses the one has
   lost the other.  And each commit asks whether its epoch still owns the journal, so that a paused
   owner can't write behind its successor's back, wherever its connection has gone.
3. After a failure nothing is written any more.  A commit whose answer was lost may have happened;
   the next opening finds out, since the anchor is in the home.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import Connection, sql

from orlop.abi.errors import JournalAway, JournalStopped
from orlop.abi.ids import Seq
from orlop.abi.limits import JOURNAL_BUSY_S, JOURNAL_COMMIT_EVENTS
from orlop.store import postgres_commit
from orlop.store import postgres_schema as schema
from orlop.store.home import Home
from orlop.store.postgres_commit import Share
from orlop.store.postgres_reading import PostgresReading
from orlop.store.rows import Boot, Checkpoint, Entry, Meta
from orlop.store.stamp import PART_BITS

_WALL_NS_MAX: Final = (1 << 63) - 1


class PostgresTape(PostgresReading):
    """home: its keys and its anchor.  name: the PostgreSQL schema, one a journal.

    cluster: of the kernels that it has events in common with; empty: with none.
    """

    def __init__(self, home: Home, url: str, name: str, cluster: str = "") -> None:
        super().__init__(home, url, name)
        self._cluster = cluster
        self._share: Share | None = None
        self._writer: Connection | None = None
        self._is_stopped = False
        self._epoch = 0

    def lock(self) -> None:
        if self._writer is not None:
            return
        try:
            self.home.lock()
        except OSError as error:
            raise JournalStopped(f"{self.home.path} can't be locked: {error}") from error
        with self.translated():
            writer = self.connect()
            # A server takes a moment to notice that the last holder is gone.
            writer.execute(f"SET lock_timeout = '{JOURNAL_BUSY_S:g}s'".encode())
            try:
                writer.execute(
                    "SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"orlop {self._name}",)
                )
            except psycopg.errors.LockNotAvailable as error:
                writer.close()
                raise JournalStopped(
                    f"the journal {self._name} is held by another kernel: end that one first"
                ) from error
            writer.execute("SET lock_timeout = 0")
        self._writer = writer

    def recover(self) -> int:
        return 0  # Its server has recovered already.

    def create(self, meta: Meta) -> None:
        with self._written("create"), self._open().transaction():
            self._fill(meta)

    def write(self) -> None:
        self.is_writing = True
        with self._written("open"):
            connection = self._open()
            connection.execute("SET synchronous_commit = on")
            self.upgrade(connection)
            postgres_commit.prepare(connection, self._rendered(connection))
            # Who copies a journal goes on in its last epoch; a kernel begins one of its own.
            owned = connection.execute(self.statement("SELECT epoch FROM {schema}.owner"))
            self._epoch = int((owned.fetchone() or (0,))[0])
        self.look()
        self.learn_names()

    def upgrade(self, connection: Connection) -> None:
        """Bring older tables to the layout of today, in one transaction."""
        with connection.transaction():
            for layout in range(self.layout(connection) + 1, schema.LAYOUT + 1):
                connection.execute(self.statement(schema.STEPS[layout][1]))
            connection.execute(self.statement(schema.SET_LAYOUT), (str(schema.LAYOUT),))

    def begin(self, boot: Boot) -> None:
        with self._written("begin an epoch in"), self._open().transaction():
            self._open().execute(
                self.statement("INSERT INTO {schema}.boot VALUES (%s, %s)"), (boot.epoch, boot.boot)
            )
            owned = self._open().execute(
                self.statement("UPDATE {schema}.owner SET epoch = %s WHERE epoch < %s"),
                (boot.epoch, boot.epoch),
            )
            if owned.rowcount != 1:
                raise JournalStopped(f"epoch {boot.epoch} of {self._name} is over before it began")
        self._epoch = boot.epoch

    def commit(self, entries: Sequence[Entry], checkpoints: Sequence[Checkpoint]) -> None:
        with self._written("commit to"):
            connection = self._open()
            has_places = any(entry.header.place is not None for entry in entries)
            share = self._shared(connection) if self._cluster and has_places else None
            if checkpoints:
                with connection.transaction():
                    self._insert(connection, self._epoch, entries, checkpoints, share=share)
            else:
                postgres_commit.insert(connection, self._epoch, entries, share=share)
        self._note_names(entries)

    def set_anchor(self, slot: int, data: bytes) -> None:
        with self._written("anchor"):
            self.home.set_anchor(slot, data)

    def prune(self, before: Seq, keep: Sequence[str], before_wall_ns: int | None) -> int:
        older = _WALL_NS_MAX if before_wall_ns is None else before_wall_ns
        with self._written("prune"):
            pruned = self._open().execute(
                self.statement(schema.PRUNE), (before << PART_BITS, before, list(keep), older)
            )
            return pruned.rowcount

    def forget(self, places: Sequence[int]) -> int:
        with self._written("prune"):
            forgotten = self._open().execute(self.statement(schema.FORGET), (list(places),))
            return forgotten.rowcount

    def strike(self, seqs: Sequence[Seq]) -> int:
        with self._written("strike out"):
            struck = self._open().execute(self.statement(schema.STRIKE), (list(seqs),))
            return struck.rowcount

    def replace(
        self,
        meta: Meta,
        boots: Sequence[Boot],
        entries: Iterable[Entry],
        checkpoints: Sequence[Checkpoint],
    ) -> str:
        """The old schema stays under another name."""
        made = f"{self._name}_new"
        with self._written("rewrite"):
            connection = self._open()
            kept = self._free_name(connection)
            with connection.transaction():
                self._fill(meta, made)
                for boot in boots:
                    connection.execute(
                        self.statement("INSERT INTO {schema}.boot VALUES (%s, %s)", made),
                        (boot.epoch, boot.boot),
                    )
                for batch in _batches(entries):
                    self._insert(connection, 0, batch, (), made)
                self._insert(connection, 0, (), checkpoints, made)
                self._rename(connection, self._name, kept)
                self._rename(connection, made, self._name)
        return kept

    def publish(self, note: str) -> None:
        """A checkpoint is in the database, which is not where the anchor is."""

    def is_space_low(self) -> bool:
        return False  # The server's disk is the server's: when it is full, a commit says so.

    def stop(self) -> None:
        self._is_stopped = True

    def close(self) -> None:
        self.close_readers()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.home.close()

    def _open(self) -> Connection:
        if self._writer is None or self._is_stopped:
            raise JournalStopped("the journal is not open for writing")
        return self._writer

    def _fill(self, meta: Meta, name: str = "") -> None:
        connection = self._open()
        connection.execute(self.statement(schema.CREATE, name))
        connection.execute(
            self.statement(
                "INSERT INTO {schema}.meta VALUES ('journal', %s), ('format', %s), ('layout', %s)",
                name,
            ),
            (meta.journal, str(meta.format), str(schema.LAYOUT)),
        )

    def _rename(self, connection: Connection, old: str, new: str) -> None:
        rename = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
        connection.execute(rename.format(sql.Identifier(old), sql.Identifier(new)))

    def _insert(
        self,
        connection: Connection,
        epoch: int,
        entries: Sequence[Entry],
        checkpoints: Sequence[Checkpoint],
        name: str = "",
        share: Share | None = None,
    ) -> None:
        """Within a transaction; name: another schema than ours."""
        if entries:
            rendered = self._rendered(connection, name) if name else None
            postgres_commit.insert(connection, epoch, entries, rendered, share)
        if checkpoints:
            made = [(one.size, one.root, one.frontier, one.note) for one in checkpoints]
            connection.execute(self.statement(schema.INSERT_CHECKPOINTS, name), _columns(made))

    def _shared(self, connection: Connection) -> Share:
        """As whom places are taken; from the first such commit on."""
        if self._share is None:
            meta = self.look()
            if meta is None:
                raise JournalStopped(f"the journal {self._name} is not there any more")
            statement = self.statement(postgres_commit.PLACED).as_bytes(connection)
            postgres_commit.prepare(connection, statement, placed=True)
            self._share = Share(self._cluster, meta.journal)
        return self._share

    def _rendered(self, connection: Connection, name: str = "") -> bytes:
        return self.statement(postgres_commit.INSERT, name).as_bytes(connection)

    def _note_names(self, entries: Sequence[Entry]) -> None:
        names = self._names
        if names is None:
            return
        for entry in entries:
            for part in entry.brought:
                if part.name is not None:
                    names.add(part.name)
        if names.is_full:
            self.learn_names()

    def put_aside(self, why: str) -> str:
        """Rename the whole schema; who holds it now loses it."""
        self.lock()
        with self._written("put aside"):
            kept = self._free_name(self._open(), why)
            self._rename(self._open(), self._name, kept)
        return kept

    def pending(self) -> list[str]:
        """What `upgrade` would do, in words."""
        if self.look() is None:
            return []
        with self.translated():
            layout = self.layout(self._reader())
        return [schema.STEPS[step][0] for step in range(layout + 1, schema.LAYOUT + 1)]

    def _free_name(self, connection: Connection, why: str = "damaged") -> str:
        taken = {
            row[0]
            for row in connection.execute("SELECT schema_name FROM information_schema.schemata")
        }
        number = 1
        while (kept := f"{self._name}_{why}_{number}") in taken:
            number += 1
        return kept

    @contextmanager
    def _written(self, what: str) -> Iterator[None]:
        """Whatever goes wrong while writing stops the journal, and says why."""
        try:
            yield
        except psycopg.Error as error:
            raise JournalAway(
                f"could not {what} the journal {self._name} on PostgreSQL: {error}"
            ) from error
        except JournalStopped as error:
            raise type(error)(
                f"could not {what} the journal {self._name} on PostgreSQL: {error.message}"
            ) from error
        except OSError as error:
            raise JournalStopped(f"could not {what} {self.home.path}: {error}") from error


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == JOURNAL_COMMIT_EVENTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Rows to columns: what `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)]
