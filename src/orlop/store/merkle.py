"""A Merkle tree that only grows (RFC 6962), kept as its frontier; and proofs that a leaf is in it.

Leaves are the events' hashes.  The frontier holds the roots of the perfect subtrees that make up
the tree, left to right: one for each bit that is set in its size.
"""

from collections.abc import Iterable, Sequence
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


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof of leaf `index`: its siblings on the way up (RFC 6962, 2.1.1).

    hashes: `leaf` of all leaves.  `IndexError` where there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise IndexError(f"leaf {index} of {len(hashes)}")
    level, found = list(hashes), list[bytes]()
    while len(level) > 1:
        if (index ^ 1) < len(level):
            found.append(level[index ^ 1])
        pairs = [node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        # One that has no partner goes up as it is.
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
        index >>= 1
    return found


def root_by(path: Sequence[bytes], grown: bytes, index: int, size: int) -> bytes | None:
    """The root that a proof comes to (RFC 9162, 2.1.3.2); None where its length fits no such tree.

    grown: `leaf` of the one that is proven.
    """
    if not 0 <= index < size:
        return None
    last = size - 1
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            grown = node(sibling, grown)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            grown = node(grown, sibling)
        index, last = index >> 1, last >> 1
    return grown if last == 0 else None
