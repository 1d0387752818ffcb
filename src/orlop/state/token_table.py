"""Revoked tokens: a fold of the journal."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orlop.abi.capabilities import RevokedView, TokenRevoked
from orlop.abi.events import Header
from orlop.abi.ids import TenantId
from orlop.abi.limits import TOKENS_REVOKED_MAX


@dataclass(eq=False, slots=True)
class RevokedTokens:
    """By revocation id; those that have expired since are forgotten where room is short."""

    rows: dict[str, RevokedView] = field(default_factory=dict)

    def fold(self, header: Header, event: TokenRevoked) -> None:
        self.rows[event.id] = RevokedView(
            id=event.id,
            reason=event.reason,
            revoked_ns=header.wall_ns,
            expires_ns=event.expires_ns,
            tenant=header.tenant,
        )
        if len(self.rows) > TOKENS_REVOKED_MAX:
            self.rows = {
                id: row
                for id, row in self.rows.items()
                if row.expires_ns is None or row.expires_ns > header.wall_ns
            }

    def forget(self, tenant: TenantId) -> None:
        self.rows = {id: row for id, row in self.rows.items() if row.tenant != tenant}


def restored(rows: Iterable[RevokedView]) -> RevokedTokens:
    return RevokedTokens({row.id: row for row in rows})
