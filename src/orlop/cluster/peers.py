"""The kernels that share a database: who holds a lease, who is lost, who has taken whom over.

Invariants, of every implementation:
1. A lease is by the database's own clock, so no two machines' clocks are compared.
2. A journal is taken over by one kernel at most, in one transaction with the end of its epoch:
   whatever its owner commits comes before that, or not at all.
3. A journal that was taken over is no kernel's again until all its processes have arrived, and
   gives its owner back an empty house: the owner learns who has them.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from orlop.abi.ids import BootId, JournalId, Seq, TenantId
from orlop.store.keyring import TenantKey
from orlop.store.signing_keys import PublicKey


class Me(Struct, frozen=True, kw_only=True):
    """What a kernel says of itself."""

    journal: JournalId
    schema: str
    host: str
    url: str
    boot: BootId
    epoch: int


class Peer(Struct, frozen=True, kw_only=True):
    """One kernel as the database knows it."""

    journal: JournalId
    schema: str
    host: str
    url: str
    epoch: int
    lease_s: float | None
    """How long it still holds; negative: since when it has not.  None: it has stopped cleanly."""
    head: Seq
    head_hash: bytes
    taken_by: JournalId | None = None
    is_taken: bool = False
    """All its processes have arrived where it was taken over."""
    token_keys: tuple[PublicKey, ...] = ()
    """By which its processes' tokens are recognised."""


class Peers(Protocol):
    """All methods block, and raise `JournalStopped` where the database is away."""

    def join(self, me: Me) -> Peer | None:
        """Take the lease of one's own journal.  Who took its processes over meanwhile, or None.

        `NotReady` while somebody is just doing so.
        """
        ...

    def settled(self, me: Me) -> None:
        """Those processes have left this journal too."""
        ...

    def renew(self, me: Me) -> None:
        """Hold it for another term.  `Fenced`: somebody has taken this journal over."""
        ...

    def tell(self, me: Me, token_keys: Sequence[PublicKey]) -> None:
        """By which keys this kernel's tokens are recognised, also once it is lost."""
        ...

    def all(self) -> list[Peer]:
        """Also the stopped ones, and oneself."""
        ...

    def take(self, me: Me, journal: JournalId) -> bool:
        """End the epoch of a kernel whose lease is over.  False: it is back, or another was
        faster.

        Also true where one has begun to before, and has not said `taken`.
        """
        ...

    def taken(self, me: Me, journal: JournalId) -> None:
        """All its processes have arrived, durably."""
        ...

    def leave(self, me: Me) -> None:
        """Stop cleanly: nobody takes over what waits for the next start."""
        ...

    def close(self) -> None: ...


class TenantKeys(Protocol):
    """The tenants' keys that all kernels of a cluster use."""

    def of_tenant(self, tenant: TenantId) -> TenantKey:
        """A new one where there is none; the same for whoever asks."""
        ...

    def by_id(self, key_id: int) -> TenantKey | None:
        """None: forgotten."""
        ...

    def has(self, tenant: TenantId) -> bool:
        """False: forgotten, or never made."""
        ...

    def forget(self, tenant: TenantId) -> None: ...
