"""Randomness and fresh ids: the operating system's entropy, or a seed in the simulation."""

import os
import random
import threading
from typing import Final, Protocol

from orlop.abi.ids import Nanoseconds

_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class Chance(Protocol):
    """Where bytes come from."""

    def token(self, length: int) -> bytes: ...

    def uniform(self) -> float:
        """In [0, 1): for jitter and choices, never for secrets."""
        ...


_AT_ONCE: Final = 4096
"""Bytes that are asked of the system together: each call needs a few, and asking costs more than
they do."""


class SystemChance:
    """No byte is given out twice, whatever thread or child process asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fresh = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)

    def token(self, length: int) -> bytes:
        with self._lock:
            begin, end = self._at, self._at + length
            if end > len(self._fresh):
                if length > _AT_ONCE:
                    return os.urandom(length)
                self._fresh, begin, end = os.urandom(_AT_ONCE), 0, length
            self._at = end
            return self._fresh[begin:end]

    def uniform(self) -> float:
        return random.random()

    def _forget(self) -> None:
        self._lock, self._fresh, self._at = threading.Lock(), b"", 0


class SeededChance:
    """The same seed gives the same bytes; for the simulation only."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token(self, length: int) -> bytes:
        return self._random.randbytes(length)

    def uniform(self) -> float:
        return self._random.random()


_PAIRS: Final = tuple(high + low for high in _CROCKFORD for low in _CROCKFORD)
"""Ten bits at a time: an id is minted for every call."""


def mint(prefix: str, chance: Chance, wall_ns: Nanoseconds) -> str:
    """A TypeID: `prefix`, `_`, and a UUIDv7 (RFC 9562) in Crockford base 32."""
    milliseconds = (wall_ns // 1_000_000) & ((1 << 48) - 1)
    noise = int.from_bytes(chance.token(10))
    number = milliseconds << 80 | 0x7 << 76 | (noise >> 68) << 64
    number |= 0b10 << 62 | (noise & ((1 << 62) - 1))
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"
