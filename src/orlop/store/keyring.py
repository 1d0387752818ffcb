"""The journal's keys: one a tenant (sealing, names, digests), and one that signs checkpoints.

A tenant whose key is forgotten is forgotten: what it sealed can't be read; the chain verifies.
"""

import base64
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import TenantId
from orlop.machine.chance import Chance
from orlop.store import files

KEY_BYTES: Final = 32
_KEYRING: Final = "keyring.json"
_PUBLIC: Final = "journal.pub"
_RAW: Final = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class TenantKey(Struct, frozen=True):
    """`id` is written beside each body that the key sealed, and never used again."""

    id: int
    key: bytes


class _Ring(Struct, frozen=True):
    """The keyring file; bytes are base 64."""

    signing: bytes
    next_id: int
    tenants: dict[str, TenantKey]


class Verifier:
    """The public half: enough to check signatures, offline."""

    def __init__(self, public: bytes) -> None:
        self.public = public
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def fits(self, signature: bytes, data: bytes) -> bool:
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class Keyring:
    """All keys, in RAM; `save` keeps a changed ring before a new key is used."""

    def __init__(self, ring: _Ring, chance: Chance, save: Callable[[_Ring], None]) -> None:
        self._ring = ring
        self._chance = chance
        self._save = save
        self._signer = Ed25519PrivateKey.from_private_bytes(ring.signing)
        self.verifier = Verifier(self._signer.public_key().public_bytes(*_RAW))

    @classmethod
    def volatile(cls, chance: Chance) -> "Keyring":
        """For tests and the simulation: it outlives its journal, and no more."""
        return cls(_new_ring(chance), chance, lambda ring: None)

    @classmethod
    def create(cls, folder: Path, chance: Chance) -> "Keyring":
        """A new ring in `folder`, which must not hold one."""
        files.private_folder(folder)
        if (folder / _KEYRING).exists():
            raise JournalStopped(f"{folder / _KEYRING} is there already; it is not overwritten")
        ring = _new_ring(chance)
        keyring = cls(ring, chance, lambda ring: _save(folder, ring))
        files.replace(folder / _PUBLIC, base64.b64encode(keyring.verifier.public) + b"\n", 0o644)
        _save(folder, ring)
        return keyring

    @classmethod
    def load(cls, folder: Path, chance: Chance) -> "Keyring":
        path = folder / _KEYRING
        try:
            if path.stat().st_mode & 0o077:
                raise JournalStopped(f"others may read {path}; `chmod 600` it, or make new keys")
            ring = msgspec.json.decode(path.read_bytes(), type=_Ring)
        except (OSError, msgspec.MsgspecError) as error:
            raise JournalStopped(f"the keys in {path} can't be read: {error}") from error
        return cls(ring, chance, lambda ring: _save(folder, ring))

    def of_tenant(self, tenant: TenantId) -> TenantKey:
        """The tenant's key; a new one, kept before it is returned, where it has none."""
        found = self._ring.tenants.get(tenant)
        if found is not None:
            return found
        made = TenantKey(self._ring.next_id, self._chance.token(KEY_BYTES))
        ring = _Ring(self._ring.signing, made.id + 1, {**self._ring.tenants, tenant: made})
        self._save(ring)
        self._ring = ring
        return made

    def by_id(self, key_id: int) -> TenantKey | None:
        """None: forgotten."""
        for key in self._ring.tenants.values():
            if key.id == key_id:
                return key
        return None

    def has(self, tenant: TenantId) -> bool:
        return tenant in self._ring.tenants

    def forget(self, tenant: TenantId) -> None:
        """For ever; copies of the keyring file, if any, are not ours to find."""
        if tenant not in self._ring.tenants:
            return
        ring = _Ring(
            self._ring.signing,
            self._ring.next_id,
            {name: key for name, key in self._ring.tenants.items() if name != tenant},
        )
        self._save(ring)
        self._ring = ring

    def sign(self, data: bytes) -> bytes:
        return self._signer.sign(data)


def load_verifier(folder: Path) -> Verifier | None:
    """The public key alone; None where it is missing or not a key."""
    try:
        return Verifier(base64.b64decode((folder / _PUBLIC).read_bytes(), validate=False))
    except (OSError, ValueError):
        return None


def fingerprint(public: bytes) -> str:
    return sha256(public).hexdigest()[:16]


def _new_ring(chance: Chance) -> _Ring:
    return _Ring(signing=chance.token(KEY_BYTES), next_id=1, tenants={})


def _save(folder: Path, ring: _Ring) -> None:
    try:
        files.replace(folder / _KEYRING, msgspec.json.encode(ring), 0o600)
    except OSError as error:
        raise JournalStopped(
            f"the keys can't be kept in {folder}: {os.strerror(error.errno or 0)}"
        ) from error
