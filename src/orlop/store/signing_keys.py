"""The keys that tokens are signed with: the newest signs, earlier ones are accepted for a while.

They lie in `keys/tokens.json`, for the owner alone.  The journal knows their public halves.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.errors import Exhausted, Misconfigured
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import SIGNING_KEYS_MAX
from orlop.machine.chance import Chance
from orlop.store import files
from orlop.store.secrets import require_private

KEY_BYTES: Final = 32


class SigningKey(Struct, frozen=True, kw_only=True):
    """Ed25519; `number` is written into each token that it signs."""

    number: int
    private: bytes
    public: bytes
    made_ns: Nanoseconds
    until_ns: Nanoseconds | None = None
    """Its tokens are accepted until then; None: it signs."""


class PublicKey(Struct, frozen=True, kw_only=True):
    """What others need to recognise a key's tokens."""

    number: int
    public: bytes
    until_ns: Nanoseconds | None = None


class SigningKeys:
    """All that are accepted, the newest last.  `save` keeps a changed ring before it is used.

    others: of kernels on the same database, whose numbers may be the same as ours.
    """

    def __init__(
        self, keys: Sequence[SigningKey], save: Callable[[Sequence[SigningKey]], None]
    ) -> None:
        self.all = tuple(keys)
        self.others: tuple[PublicKey, ...] = ()
        self._save = save

    @classmethod
    def volatile(cls, chance: Chance) -> "SigningKeys":
        """For tests and the simulation."""
        return cls([_made(chance, 1, Nanoseconds(0))], lambda keys: None)

    @classmethod
    def open(cls, path: Path, chance: Chance, now_ns: Nanoseconds) -> "SigningKeys":
        """Those in `path`; a first one where there is none.  Raises `Misconfigured`."""
        keys: list[SigningKey]
        if path.exists():
            require_private(path)
            try:
                keys = msgspec.json.decode(path.read_bytes(), type=list[SigningKey])
            except (OSError, msgspec.MsgspecError) as error:
                raise Misconfigured(f"the keys in {path} can't be read: {error}") from error
            if not keys:
                raise Misconfigured(f"{path} holds no key; remove it, and a new one is made")
        else:
            files.private_folder(path.parent)
            keys = [_made(chance, 1, now_ns)]
            _write(path, keys)
        return cls(keys, lambda changed: _write(path, changed))

    @property
    def newest(self) -> SigningKey:
        return self.all[-1]

    def find(self, number: int, now_ns: Nanoseconds) -> SigningKey | None:
        """If tokens that it signed are accepted."""
        for key in self.all:
            if key.number == number:
                return key if key.until_ns is None or now_ns < key.until_ns else None
        return None

    def public(self) -> tuple[PublicKey, ...]:
        """For other kernels."""
        return tuple(
            PublicKey(number=key.number, public=key.public, until_ns=key.until_ns)
            for key in self.all
        )

    def rotate(self, chance: Chance, now_ns: Nanoseconds, until_ns: Nanoseconds) -> SigningKey:
        """A new key signs from here on; earlier ones are accepted until then, or less long.

        Raises `Exhausted`, `Misconfigured` where it can't be kept.
        """
        kept = [
            replace(key, until_ns=min(until_ns, key.until_ns or until_ns))
            for key in self.all
            if key.until_ns is None or now_ns < key.until_ns
        ]
        if len(kept) >= SIGNING_KEYS_MAX:
            raise Exhausted(f"{len(kept)} keys are accepted already (SIGNING_KEYS_MAX)")
        made = _made(chance, self.newest.number + 1, now_ns)
        changed = (*(key for key in kept if (key.until_ns or 0) > now_ns), made)
        self._save(changed)
        self.all = changed
        return made


def _made(chance: Chance, number: int, now_ns: Nanoseconds) -> SigningKey:
    private = chance.token(KEY_BYTES)
    public = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return SigningKey(number=number, private=private, public=public, made_ns=now_ns)


def _write(path: Path, keys: Sequence[SigningKey]) -> None:
    try:
        files.replace(path, msgspec.json.encode(list(keys)), 0o600)
    except OSError as error:
        raise Misconfigured(f"the keys can't be kept in {path}: {error}") from error
