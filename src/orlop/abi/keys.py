"""Keys of clients that nobody started."""

from msgspec import Struct

from orlop.abi.ids import KeyId, Nanoseconds
from orlop.abi.rights import EVERYTHING, Rights


class KeyCreated(Struct, frozen=True, kw_only=True, tag_field="kind", tag="key.created"):
    """A client key.  `secret_digest`: SHA-256 of the secret, hexadecimal."""

    key_id: KeyId
    name: str
    secret_digest: str
    team: str = ""
    """Whose budget its clients use."""
    rights: Rights = EVERYTHING
    """What its clients may do."""
    expires_ns: Nanoseconds | None = None
    operator: bool = False
    """Whoever has it may order all that is within its tenant."""


class KeyRevoked(Struct, frozen=True, kw_only=True, tag_field="kind", tag="key.revoked"):
    key_id: KeyId
