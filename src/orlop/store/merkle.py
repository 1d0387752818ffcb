"""A Merkle tree that only grows (RFC 6962), kept as its frontier.

Leaves are the events' hashes.  The frontier holds the roots of the perfect subtrees that make up
the tree, left to right: one for each bit that is set in its size.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

_EMPTY: Final = sha256(b"").digest()


def leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """Invariant: `len(frontier)` is the number of bits set in `size`."""

    def __init__(self, size: int = 0, frontier: Iterable[bytes] = ()) -> None:
        self.size = size
        self.frontier = list(frontier)

    @classmethod
    def unpack(cls, size: int, frontier: bytes) -> "Tree":
        """From `packed`; `ValueError` where the length does not fit the size."""
        if len(frontier) != 32 * size.bit_count():
            raise ValueError(f"a frontier of {len(frontier)} bytes does not fit {size} leaves")
        return cls(size, (frontier[at : at + 32] for at in range(0, len(frontier), 32)))

    def packed(self) -> bytes:
        return b"".join(self.frontier)

    def add(self, data: bytes) -> None:
        """Append a leaf: amortised two hashes."""
        grown = leaf(data)
        # Each low bit that is set is a perfect subtree that the new leaf completes to a larger one.
        carry = self.size
        while carry & 1:
            grown = node(self.frontier.pop(), grown)
            carry >>= 1
        self.frontier.append(grown)
        self.size += 1

    def root(self) -> bytes:
        if not self.frontier:
            return _EMPTY
        root = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            root = node(left, root)
        return root
