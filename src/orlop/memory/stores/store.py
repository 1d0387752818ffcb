"""What an external vector store must do, and by which names it knows our things.

A store is told numbers of rows, vectors, and digests of where they belong: neither texts nor names
of tenants, namespaces and models leave the kernel, and no name needs to be escaped for it.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from orlop.abi.ids import TenantId
from orlop.memory.vectors import dimensions

POINTS_MAX: Final = 500
"""Points that a store is given at once, and ids that it is to drop."""
NUMBERS_MAX: Final = 100_000
"""Numbers in the vectors of those: Pinecone takes 2 MB in one message, the least of all."""
ANSWER_S: Final = 5.0
"""A search that takes longer counts as failed: a recall waits for it."""
TAKE_S: Final = 60.0
"""The same of everything else: some build their graphs while they are given points."""


class Place(NamedTuple):
    """One tenant's namespace by one model's vectors: what is fed, searched, emptied together."""

    tenant: TenantId
    namespace: str
    model: str

    @property
    def key(self) -> str:
        """Whose and which namespace, in 32 hexadecimal digits."""
        return sha256(f"{self.tenant}\n{self.namespace}".encode()).hexdigest()[:32]


class Point(NamedTuple):
    """A version's row, and its vector as `memory.vectors` packs it."""

    id: int
    vector: bytes


class VectorStore(Protocol):
    """A driver of an external store.  Blocks; used by one thread at a time.

    Any exception of its library counts as the store being away, and so does an answer that takes
    longer than `ANSWER_S` (`near`) or `TAKE_S`: nothing here may wait for ever.
    """

    name: str

    def put(self, place: Place, points: Sequence[Point]) -> None:
        """By id; one that is there is replaced.  One of `batches`."""
        ...

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        """Those that are there; at most `POINTS_MAX`."""
        ...

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        """Ids of about the nearest within `places` (one or more, of one model), in no order."""
        ...

    def clear(self) -> None:
        """Forget everything that a kernel of this name ever put, in any of its lives."""
        ...

    def close(self) -> None: ...


def batches(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """Of vectors of the newest's length; others are of an earlier version of their model."""
    if not points:
        return
    size = len(points[-1].vector)
    fitting = [point for point in points if len(point.vector) == size]
    step = max(1, min(POINTS_MAX, NUMBERS_MAX // dimensions(points[-1].vector)))
    for start in range(0, len(fitting), step):
        yield fitting[start : start + step]


class Shelves(NamedTuple):
    """How one kernel's things are called in a store that it may share with others."""

    prefix: str

    @staticmethod
    def of(kernel: str) -> "Shelves":
        """kernel: what stays the same as long as its rows do."""
        return Shelves(f"orlop_{sha256(kernel.encode()).hexdigest()[:8]}_")

    def name(self, model: str) -> str:
        """Letters, digits and `_`, 27 in all: vectors of one length, so a model's own."""
        return f"{self.prefix}{sha256(model.encode()).hexdigest()[:12]}"
