"""Randomness and fresh ids: the operating system's entropy, or a seed in the simulation."""

import os
import random
from typing import Final, Protocol

from orlop.abi.ids import Nanoseconds

_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class Chance(Protocol):
    """Where bytes come from."""

    def token(self, length: int) -> bytes: ...

    def uniform(self) -> float:
        """In [0, 1): for jitter and choices, never for secrets."""
        ...


class SystemChance:
    def token(self, length: int) -> bytes:
        return os.urandom(length)

    def uniform(self) -> float:
        return random.random()


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
