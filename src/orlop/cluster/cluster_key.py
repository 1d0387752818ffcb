"""The secret that kernels on one database share: a file of the administrator's, on each machine.

It wraps the tenants' keys, which lie in the database, and other secrets are derived from it, so
that whoever has the database alone reads nothing, and each kernel recognises another one's tokens.
"""

import hmac
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orlop.abi.errors import Misconfigured
from orlop.machine.chance import Chance

SECRET_BYTES_MIN: Final = 32
_NONCE_BYTES: Final = 12


class ClusterKey:
    def __init__(self, secret: bytes, chance: Chance) -> None:
        self._secret = secret
        self._chance = chance
        self._box = AESGCM(self.derived("keys"))
        self.name = hmac.digest(secret, b"orlop/1/cluster", sha256).hex()[:16]
        """Says which cluster a row in the database belongs to, and nothing of the secret."""

    @classmethod
    def read(cls, path: Path, chance: Chance) -> "ClusterKey":
        """Raises `Misconfigured` where the file is missing, short, or open to others."""
        try:
            if path.stat().st_mode & 0o077:
                raise Misconfigured(f"journal.key_file: {path} is open to others; `chmod 600` it")
            secret = path.read_bytes().strip()
        except OSError as error:
            raise Misconfigured(
                f"journal.key_file: {path} can't be read ({error.strerror}); make it once with "
                f"`(umask 077; openssl rand -hex 32 > {path})` and copy it to each machine"
            ) from error
        if len(secret) < SECRET_BYTES_MIN:
            raise Misconfigured(
                f"journal.key_file: {path} holds {len(secret)} bytes; {SECRET_BYTES_MIN} are the"
                " least: `openssl rand -hex 32`"
            )
        return cls(secret, chance)

    def derived(self, use: str) -> bytes:
        """32 bytes of their own for each use."""
        info = b"orlop/1/cluster/" + use.encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._secret)

    def wrap(self, key: bytes, what: str) -> bytes:
        """what: is authenticated with it."""
        nonce = self._chance.token(_NONCE_BYTES)
        return nonce + self._box.encrypt(nonce, key, what.encode())

    def unwrap(self, wrapped: bytes, what: str) -> bytes:
        """Raises `Misconfigured`: another secret wrapped it."""
        try:
            return self._box.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], what.encode())
        except InvalidTag as error:
            raise Misconfigured(f"journal.key_file: it did not wrap the key of {what}") from error
