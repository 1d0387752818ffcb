"""The tables that all kernels of a database share, and a connection to ask them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg
from psycopg import Connection

from orlop.abi.errors import JournalStopped
from orlop.abi.limits import DATABASE_CONNECT_S

_ASK_S: Final = 5
"""How long a statement here may take: it is about seconds."""

_TABLES: Final[LiteralString] = """
CREATE SCHEMA IF NOT EXISTS orlop_kernels;
CREATE TABLE IF NOT EXISTS orlop_kernels.kernel(
  journal text PRIMARY KEY,
  cluster text NOT NULL,            -- which shared secret; others' rows are nobody's business
  schema text NOT NULL UNIQUE,
  host text NOT NULL,
  url text NOT NULL,
  boot text NOT NULL,
  epoch bigint NOT NULL,
  until timestamptz,                -- of its lease, by this server's clock; NULL: stopped cleanly
  taken_by text,
  taken boolean NOT NULL DEFAULT false,
  token_keys bytea                  -- public halves, sealed by the shared secret
);
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'orlop_kernels.kernel'::regclass
    AND attname = 'token_keys')
  THEN ALTER TABLE orlop_kernels.kernel ADD COLUMN token_keys bytea; END IF;
END $$;
CREATE TABLE IF NOT EXISTS orlop_kernels.tenant_key(
  id serial PRIMARY KEY,
  cluster text NOT NULL,
  tenant text NOT NULL,
  wrapped bytea                     -- by the shared secret; NULL: forgotten
);
CREATE UNIQUE INDEX IF NOT EXISTS tenant_key_one
  ON orlop_kernels.tenant_key(cluster, tenant) WHERE wrapped IS NOT NULL;
CREATE TABLE IF NOT EXISTS orlop_kernels.common(
  cluster text NOT NULL,
  place bigint NOT NULL,            -- among all events of memories and files, gap-free from 1
  journal text NOT NULL,
  seq bigint NOT NULL,              -- where the event itself lies
  kind text NOT NULL,
  PRIMARY KEY (cluster, place)
);
CREATE TABLE IF NOT EXISTS orlop_kernels.pen(
  cluster text PRIMARY KEY,
  holder text,                      -- the journal whose kernel gives places; NULL: who asks next
  wanted text[] NOT NULL DEFAULT '{}'
);
"""


class PostgresShared:
    """One connection, made anew after a failure: what is said here can be said again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def asked(self) -> Iterator[Connection]:
        """Raises `JournalStopped` where the database is away."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            yield self._connection
        except psycopg.Error as error:
            self.close()
            raise JournalStopped(
                f"PostgreSQL can't say which kernels there are: {error}"
            ) from error

    def _connect(self) -> Connection:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=DATABASE_CONNECT_S,
            application_name="orlop kernels",
            client_encoding="utf8",
            tcp_user_timeout=_ASK_S * 1000,
        )
        connection.execute(f"SET statement_timeout = '{_ASK_S}s'".encode())
        connection.execute("SET client_min_messages = warning")
        # Two kernels may come at the same time.
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('orlop_kernels', 0))")
            connection.execute(_TABLES)
        return connection


def let_go(connection: Connection, cluster: str, journal: str) -> None:
    """Within a transaction: a kernel that is gone neither holds the pen nor waits for it."""
    connection.execute(
        "UPDATE orlop_kernels.pen SET holder = nullif(holder, %s),"
        " wanted = array_remove(wanted, %s) WHERE cluster = %s",
        (journal, journal, cluster),
    )
