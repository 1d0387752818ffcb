"""Sealing: packed, then AES-256-GCM under the tenant's key, bound to its place in its journal.

A sealed body is `0x00 ‖ nonce (12) ‖ ciphertext ‖ tag (16)`.  The place (journal, epoch, sequence,
part) is authenticated with it, so that a body from elsewhere, or from a lost tail, is refused.
"""

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orlop.abi.errors import JournalDamaged
from orlop.abi.ids import JournalId, TenantId
from orlop.machine.chance import Chance
from orlop.store.keyring import KEY_BYTES, Keyring, TenantKey
from orlop.store.pack import pack, unpack

FORMAT: Final = b"\x00"
NAME_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_NONCE_END: Final = 1 + _NONCE_BYTES


class _Keys:
    """What is derived from one tenant's key, each for one use."""

    __slots__ = ("arguments", "box", "id", "names")

    def __init__(self, tenant_key: TenantKey) -> None:
        def derive(use: bytes) -> bytes:
            kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"orlop/1/" + use)
            return kdf.derive(tenant_key.key)

        self.id = tenant_key.id
        self.box = AESGCM(derive(b"seal"))
        self.names = derive(b"names")
        self.arguments = derive(b"arguments")


class Sealer:
    """Seals and opens the bodies of one journal."""

    def __init__(self, journal: JournalId, keyring: Keyring, chance: Chance) -> None:
        self._journal = journal.encode()
        self._keyring = keyring
        self._chance = chance
        self._of_tenant: dict[TenantId, _Keys] = {}
        self._by_id: dict[int, _Keys | None] = {}

    def seal(
        self, tenant: TenantId, epoch: int, place: int, plain: bytes, packed: bytes = b""
    ) -> tuple[int, bytes]:
        """The key's id, and the sealed bytes.  packed: `plain`, if it is packed already."""
        keys = self._of_tenant.get(tenant) or self._keys(tenant)
        nonce = self._chance.token(_NONCE_BYTES)
        return keys.id, FORMAT + nonce + keys.box.encrypt(
            nonce, packed or pack(plain), self._journal + epoch.to_bytes(8) + place.to_bytes(8)
        )

    def open(self, key_id: int, epoch: int, place: int, sealed: bytes) -> bytes | None:
        """None: the key is forgotten.  `JournalDamaged`: these bytes were not sealed for here."""
        keys = self._by_id[key_id] if key_id in self._by_id else self._find(key_id)
        if keys is None:
            return None
        try:
            packed = keys.box.decrypt(
                sealed[1:_NONCE_END],
                sealed[_NONCE_END:],
                self._journal + epoch.to_bytes(8) + place.to_bytes(8),
            )
        except (InvalidTag, TypeError, ValueError) as error:
            raise JournalDamaged(
                f"body {place & 0xFFFF} of event {place >> 16} is not what was sealed there"
            ) from error
        return unpack(packed)

    def name_of(self, tenant: TenantId, data: bytes) -> bytes:
        """A name that says nothing of the content to whoever lacks the tenant's key."""
        keys = self._of_tenant.get(tenant) or self._keys(tenant)
        return hmac.digest(keys.names, data, "sha256")[:NAME_BYTES]

    def args_digest(self, tenant: TenantId, data: bytes) -> bytes:
        keys = self._of_tenant.get(tenant) or self._keys(tenant)
        return hmac.digest(keys.arguments, data, "sha256")

    def has_key(self, tenant: TenantId) -> bool:
        return self._keyring.has(tenant)

    def forget(self, tenant: TenantId) -> None:
        self._keyring.forget(tenant)
        self._of_tenant.pop(tenant, None)
        self._by_id.clear()

    def _keys(self, tenant: TenantId) -> _Keys:
        keys = _Keys(self._keyring.of_tenant(tenant))
        self._of_tenant[tenant] = self._by_id[keys.id] = keys
        return keys

    def _find(self, key_id: int) -> _Keys | None:
        found = self._keyring.by_id(key_id)
        keys = None if found is None else _Keys(found)
        self._by_id[key_id] = keys
        return keys
