"""What kernels that share a database have: a secret, the tenants' keys, leases, one memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orlop.abi.errors import Misconfigured
from orlop.cluster.cluster_key import ClusterKey
from orlop.cluster.commons import Commons
from orlop.cluster.peers import Peers, TenantKeys
from orlop.cluster.shared_keys import SharedKeyring
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload, ThreadOffload
from orlop.store import tapes
from orlop.store.home import Home
from orlop.store.journal import Journal
from orlop.store.keyring import Keyring
from orlop.store.tape import Tape
from orlop.store.tapes import JournalConfig


class Asked(Peers, TenantKeys, Protocol):
    """The database, for both."""


@dataclass(frozen=True, slots=True)
class Cluster:
    home: Home
    config: JournalConfig
    key: ClusterKey
    clock: Clock
    chance: Chance

    def peers(self) -> Peers:
        """A connection of its own."""
        return self._postgres()

    def tape(self) -> Tape:
        """The kernel's own."""
        return tapes.tape(self.home, self.config, self.key.name)

    def commons(self, own: Journal) -> Commons:
        """What memories and files are made of."""
        elders = ThreadOffload("others' journals")

        async def reach(schema: str) -> Journal:
            if schema == self.config.schema:
                return own
            return await self.reach(schema, own.keyring, elders)

        tapes.require_postgres()
        from orlop.cluster.postgres_common import PostgresCommon

        common = PostgresCommon(self.config.url, self.key.name)
        return Commons(own, common, ThreadOffload("commons"), reach, self.clock)

    def keyring(self, own: Keyring) -> Keyring:
        return SharedKeyring(own, self._postgres())

    def _postgres(self) -> "Asked":
        tapes.require_postgres()
        from orlop.cluster.postgres_peers import PostgresPeers

        return PostgresPeers(self.config.url, self.key, self.config.lease_s, self.chance)

    async def reach(self, schema: str, keyring: Keyring, offload: Offload) -> Journal:
        """Another kernel's journal, for reading."""
        # A home of its own: closing the journal lets go of nothing of ours.
        home = Home(self.home.path)
        there = tapes.tape(home, tapes.in_schema(self.config, schema))
        journal = Journal(there, keyring, self.clock, self.chance, offload)
        await journal.open_for_reading()
        return journal


def cluster(home: Home, config: JournalConfig, clock: Clock, chance: Chance) -> Cluster | None:
    """None: this kernel shares its database with nobody.  Raises `Misconfigured`."""
    if not config.key_file:
        return None
    if not config.url:
        raise Misconfigured("journal.key_file: only kernels on one PostgreSQL share a key: set url")
    key = ClusterKey.read(Path(config.key_file).expanduser(), chance)
    return Cluster(home, config, key, clock, chance)
