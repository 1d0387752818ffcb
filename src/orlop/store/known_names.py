"""Which names are surely not stored, without asking a server: a Bloom filter (Bloom, CACM 1970).

A name is a keyed digest, so its own bytes are as good as any hash of it.  With 16 bits a name and
four probes about one unknown name in four hundred is taken for a known one, and looked up.
"""

from collections.abc import Iterable
from typing import Final

_BITS_EACH: Final = 16
_NAMES_MIN: Final = 65_536


class KnownNames:
    """Grows by being built again: `is_full` says when.  2 bytes of RAM a name."""

    def __init__(self, names: Iterable[bytes], expected: int) -> None:
        self._capacity = max(_NAMES_MIN, 2 * expected)
        self._bits = bytearray(self._capacity * _BITS_EACH // 8)
        self._count = 0
        for name in names:
            self.add(name)

    @property
    def is_full(self) -> bool:
        return self._count > self._capacity

    def add(self, name: bytes) -> None:
        for place in self._places(name):
            self._bits[place >> 3] |= 1 << (place & 7)
        self._count += 1

    def may_hold(self, name: bytes) -> bool:
        """False: it was never added."""
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in self._places(name))

    def _places(self, name: bytes) -> tuple[int, ...]:
        size = len(self._bits) * 8
        return tuple(int.from_bytes(name[at : at + 4]) % size for at in (0, 4, 8, 12))
