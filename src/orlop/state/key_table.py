"""The keys of clients: a fold of the journal."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from orlop.abi.events import Header
from orlop.abi.ids import DEFAULT_TENANT, KeyId, Nanoseconds, TenantId
from orlop.abi.keys import KeyCreated, KeyRevoked
from orlop.abi.rights import EVERYTHING, Rights


class KeyRow(Struct, frozen=True, kw_only=True):
    id: KeyId
    name: str
    secret_digest: str
    created_ns: Nanoseconds
    team: str = ""
    rights: Rights = EVERYTHING
    expires_ns: Nanoseconds | None = None
    tenant: TenantId = DEFAULT_TENANT
    operator: bool = False
    """It speaks for the tenant as a whole."""


@dataclass(eq=False, slots=True)
class Keys:
    """Those that are not revoked."""

    rows: dict[KeyId, KeyRow] = field(default_factory=dict)
    by_digest: dict[str, KeyId] = field(default_factory=dict)
    """By the SHA-256 of the secret, hexadecimal."""

    def fold(self, header: Header, event: KeyCreated | KeyRevoked) -> None:
        if isinstance(event, KeyCreated):
            self.put(
                KeyRow(
                    id=event.key_id,
                    name=event.name,
                    secret_digest=event.secret_digest,
                    created_ns=header.wall_ns,
                    team=event.team,
                    rights=event.rights,
                    expires_ns=event.expires_ns,
                    tenant=header.tenant,
                    operator=event.operator,
                )
            )
        elif (key := self.rows.pop(event.key_id, None)) is not None:
            del self.by_digest[key.secret_digest]

    def put(self, row: KeyRow) -> None:
        self.rows[row.id] = row
        self.by_digest[row.secret_digest] = row.id


def restored(rows: Iterable[KeyRow]) -> Keys:
    keys = Keys()
    for row in rows:
        keys.put(row)
    return keys
