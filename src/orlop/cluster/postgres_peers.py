"""Leases, take-overs and tenants' keys in the database that several kernels share."""

import logging
from collections.abc import Sequence
from typing import Final

import msgspec
import psycopg
from psycopg import Connection, sql

from orlop.abi.errors import Fenced, JournalStopped, Misconfigured, NotReady
from orlop.abi.ids import BootId, JournalId, Seq, TenantId
from orlop.cluster.cluster_key import ClusterKey
from orlop.cluster.peers import Me, Peer
from orlop.cluster.postgres_shared import PostgresShared, let_go
from orlop.machine.chance import Chance
from orlop.store.chain import GENESIS
from orlop.store.keyring import KEY_BYTES, TenantKey
from orlop.store.signing_keys import PublicKey

log = logging.getLogger(__name__)

_JOIN: Final = """
INSERT INTO orlop_kernels.kernel(journal, cluster, schema, host, url, boot, epoch, until)
VALUES (%(journal)s, %(cluster)s, %(schema)s, %(host)s, %(url)s, %(boot)s, %(epoch)s,
  clock_timestamp() + %(lease)s * interval '1 s')
ON CONFLICT (journal) DO UPDATE SET cluster = excluded.cluster, schema = excluded.schema,
  host = excluded.host, url = excluded.url, boot = excluded.boot, epoch = excluded.epoch,
  until = excluded.until
"""
_MINE: Final = "journal = %s AND boot = %s AND (taken_by IS NULL OR taken)"
_PEER: Final = """
SELECT journal, schema, host, url, epoch,
  extract(epoch FROM until - clock_timestamp())::float8, taken_by, taken, token_keys
FROM orlop_kernels.kernel WHERE cluster = %s
"""
_TAKE: Final = """
UPDATE orlop_kernels.kernel SET taken_by = %s, taken = false
WHERE journal = %s AND cluster = %s AND until < clock_timestamp()
  AND (taken_by IS NULL OR (taken_by = %s AND NOT taken) OR (NOT taken AND EXISTS (
    SELECT 1 FROM orlop_kernels.kernel other
    WHERE other.journal = orlop_kernels.kernel.taken_by AND other.taken_by = %s)))
RETURNING schema
"""
_END_WRITER: Final = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
  AND (classid::bigint << 32) | objid::bigint = hashtextextended(%s, 0)
"""


class PostgresPeers(PostgresShared):
    """lease_s: how long a kernel may be silent."""

    def __init__(self, url: str, key: ClusterKey, lease_s: float, chance: Chance) -> None:
        super().__init__(url)
        self._key = key
        self._lease_s = lease_s
        self._chance = chance
        self._opened: dict[bytes, tuple[PublicKey, ...]] = {}

    # Leases.

    def join(self, me: Me) -> Peer | None:
        values = {
            "journal": me.journal,
            "cluster": self._key.name,
            "schema": me.schema,
            "host": me.host,
            "url": me.url,
            "boot": me.boot,
            "epoch": me.epoch,
            "lease": self._lease_s,
        }
        with self.asked() as connection, connection.transaction():
            found = connection.execute(
                "SELECT taken_by, taken FROM orlop_kernels.kernel WHERE journal = %s FOR UPDATE",
                (me.journal,),
            ).fetchone()
            if found is not None and found[0] is not None and not found[1]:
                raise NotReady(
                    f"kernel {found[0]} is just taking this one's processes over", retry_after_s=1.0
                )
            # A journal that was in this schema before is there no more.
            connection.execute(
                "DELETE FROM orlop_kernels.kernel WHERE schema = %s AND journal <> %s",
                (me.schema, me.journal),
            )
            connection.execute(_JOIN, values)
        if found is None or found[0] is None:
            return None
        return next((peer for peer in self.all() if peer.journal == found[0]), None)

    def settled(self, me: Me) -> None:
        with self.asked() as connection:
            connection.execute(
                "UPDATE orlop_kernels.kernel SET taken_by = NULL, taken = false WHERE " + _MINE,
                (me.journal, me.boot),
            )

    def renew(self, me: Me) -> None:
        with self.asked() as connection:
            held = connection.execute(
                "UPDATE orlop_kernels.kernel SET until = clock_timestamp() + %s * interval '1 s'"
                " WHERE " + _MINE,
                (self._lease_s, me.journal, me.boot),
            )
            if held.rowcount != 1:
                raise Fenced("another kernel has taken this one's processes over")

    def leave(self, me: Me) -> None:
        with self.asked() as connection:
            connection.execute(
                "UPDATE orlop_kernels.kernel SET until = NULL WHERE " + _MINE, (me.journal, me.boot)
            )

    def tell(self, me: Me, token_keys: Sequence[PublicKey]) -> None:
        said = self._key.wrap(msgspec.json.encode(list(token_keys)), f"token keys {me.journal}")
        with self.asked() as connection:
            connection.execute(
                "UPDATE orlop_kernels.kernel SET token_keys = %s WHERE " + _MINE,
                (said, me.journal, me.boot),
            )

    def all(self) -> list[Peer]:
        with self.asked() as connection:
            rows = connection.execute(_PEER, (self._key.name,)).fetchall()
            return [
                Peer(
                    journal=JournalId(journal),
                    schema=schema,
                    host=host,
                    url=url,
                    epoch=epoch,
                    lease_s=lease_s,
                    head=head,
                    head_hash=head_hash,
                    taken_by=None if taken_by is None else JournalId(taken_by),
                    is_taken=is_taken,
                    token_keys=self._token_keys(journal, said),
                )
                for journal, schema, host, url, epoch, lease_s, taken_by, is_taken, said in rows
                for head, head_hash in [self._head(connection, schema)]
            ]

    # Taking over.

    def take(self, me: Me, journal: JournalId) -> bool:
        with self.asked() as connection:
            named = "SELECT schema FROM orlop_kernels.kernel WHERE journal = %s"
            known = connection.execute(named, (journal,)).fetchone()
            if known is None:
                return False
            self._end_writer(connection, known[0])
            with connection.transaction():
                values = (me.journal, journal, self._key.name, me.journal, me.journal)
                taken = connection.execute(_TAKE, values).fetchone()
                if taken is None:
                    return False
                self._end_epoch(connection, taken[0], me.boot)
                let_go(connection, self._key.name, journal)
        return True

    def taken(self, me: Me, journal: JournalId) -> None:
        with self.asked() as connection:
            connection.execute(
                "UPDATE orlop_kernels.kernel SET taken = true WHERE journal = %s AND taken_by = %s",
                (journal, me.journal),
            )

    def _end_writer(self, connection: Connection, schema: str) -> None:
        """A paused owner may hold a commit half done; its connection is ended, if we may."""
        try:
            connection.execute(_END_WRITER, (f"orlop {schema}",))
        except psycopg.errors.InsufficientPrivilege as error:
            log.warning("the connection of %s is left to its own end: %s", schema, error)

    def _end_epoch(self, connection: Connection, schema: str, boot: BootId) -> None:
        """Waits for a commit of the old owner that is under way; there will be no other."""
        name = sql.Identifier(schema)
        ended = connection.execute(
            sql.SQL("UPDATE {}.owner SET epoch = epoch + 1 RETURNING epoch").format(name)
        ).fetchone()
        if ended is None:
            raise JournalStopped(f"the journal {schema} has no owner that could be replaced")
        connection.execute(
            sql.SQL("INSERT INTO {}.boot VALUES (%s, %s)").format(name), (*ended, boot)
        )

    def _token_keys(self, journal: str, said: bytes | None) -> tuple[PublicKey, ...]:
        """Nobody who lacks the shared secret can name a key."""
        if said is None:
            return ()
        if said not in self._opened:
            try:
                plain = self._key.unwrap(said, f"token keys {journal}")
                self._opened[said] = msgspec.json.decode(plain, type=tuple[PublicKey, ...])
            except (Misconfigured, msgspec.DecodeError) as error:
                log.error("kernel %s's tokens are not recognised: %s", journal, error)
                self._opened[said] = ()
        return self._opened[said]

    def _head(self, connection: Connection, schema: str) -> tuple[Seq, bytes]:
        asked = sql.SQL("SELECT seq, hash FROM {}.event ORDER BY seq DESC LIMIT 1")
        try:
            found = connection.execute(asked.format(sql.Identifier(schema))).fetchone()
        except psycopg.errors.UndefinedTable:  # Somebody has dropped it.
            found = None
        return (Seq(0), GENESIS) if found is None else (Seq(found[0]), found[1])

    # Tenants' keys.

    def of_tenant(self, tenant: TenantId) -> TenantKey:
        asked = (
            "SELECT id, wrapped FROM orlop_kernels.tenant_key"
            " WHERE cluster = %s AND tenant = %s AND wrapped IS NOT NULL"
        )
        place = (self._key.name, tenant)
        with self.asked() as connection:
            found = connection.execute(asked, place).fetchone()
            if found is None:
                made = self._key.wrap(self._chance.token(KEY_BYTES), f"tenant {tenant}")
                connection.execute(
                    "INSERT INTO orlop_kernels.tenant_key(cluster, tenant, wrapped)"
                    " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    (*place, made),
                )
                found = connection.execute(asked, place).fetchone()
        if found is None:
            raise JournalStopped(f"the key of tenant {tenant} was forgotten while it was made")
        return TenantKey(found[0], self._key.unwrap(found[1], f"tenant {tenant}"))

    def by_id(self, key_id: int) -> TenantKey | None:
        with self.asked() as connection:
            found = connection.execute(
                "SELECT tenant, wrapped FROM orlop_kernels.tenant_key"
                " WHERE id = %s AND cluster = %s AND wrapped IS NOT NULL",
                (key_id, self._key.name),
            ).fetchone()
        if found is None:
            return None
        return TenantKey(key_id, self._key.unwrap(found[1], f"tenant {found[0]}"))

    def has(self, tenant: TenantId) -> bool:
        with self.asked() as connection:
            found = connection.execute(
                "SELECT 1 FROM orlop_kernels.tenant_key"
                " WHERE cluster = %s AND tenant = %s AND wrapped IS NOT NULL",
                (self._key.name, tenant),
            ).fetchone()
        return found is not None

    def forget(self, tenant: TenantId) -> None:
        with self.asked() as connection:
            connection.execute(
                "UPDATE orlop_kernels.tenant_key SET wrapped = NULL"
                " WHERE cluster = %s AND tenant = %s",
                (self._key.name, tenant),
            )
