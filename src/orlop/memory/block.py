"""One block of vectors: columns in RAM, and what is nearest among their rows.

Invariants:
1. `ids` ascend, and each is there once.
2. A row that is closed in the table is closed in the block, once that is refreshed.
"""

from typing import Final, Protocol, TypeAlias, TypeVar

import numpy
import numpy.typing

from orlop.abi.ids import Seq
from orlop.memory.columns import NEVER_NS
from orlop.memory.finding import Filter
from orlop.memory.meaning import Query, Ranking

Integers: TypeAlias = numpy.typing.NDArray[numpy.int64]
Floats: TypeAlias = numpy.typing.NDArray[numpy.float32]
Flags: TypeAlias = numpy.typing.NDArray[numpy.bool_]
N = TypeVar("N", numpy.int64, numpy.float32)

OPEN: Final = NEVER_NS
"""`known_to` of a version that is open."""
_OVERSAMPLE: Final = 8
"""What the graph is asked for, in results: some of it may not meet the filter."""


class Near(Protocol):
    """A graph over the first `rows` of a block; see `memory.graph`."""

    rows: int
    bytes: int

    def near(self, query: Floats, limit: int) -> Integers:
        """Places of about the nearest rows, in no order."""
        ...


class Block:
    """Columns of equal length, with room for more behind them."""

    def __init__(self, seen: Seq, times: Integers, confidence: Floats, vectors: Floats) -> None:
        self.seen = seen
        self.born = 0
        self.rows = times.shape[1]
        self.dead = 0
        self.graph: Near | None = None
        self._times = times
        self._confidence = confidence
        self._vectors = vectors

    @property
    def times(self) -> Integers:
        """[6, rows]: id, known_from, known_to, valid_from, valid_to, expires."""
        return self._times[:, : self.rows]

    @property
    def ids(self) -> Integers:
        return self._times[0, : self.rows]

    @property
    def vectors(self) -> Floats:
        """[rows, dimensions], each row of length 1."""
        return self._vectors[: self.rows]

    @property
    def dimensions(self) -> int:
        return int(self._vectors.shape[1])

    @property
    def bytes(self) -> int:
        graph = self.graph.bytes if self.graph is not None else 0
        return self._times.nbytes + self._confidence.nbytes + self._vectors.nbytes + graph

    def mask(self, wanted: Filter, rows: Integers | None = None) -> Flags:
        """Which rows (all, or those at these places) count, by time and confidence."""
        times = self.times if rows is None else self.times[:, rows]
        _, known_from, known_to, valid_from, valid_to, expires = times
        at = wanted.at_ns
        said: Flags
        if wanted.as_of is None:
            said = known_to == OPEN
        else:
            said = (known_from <= wanted.as_of) & (known_to > wanted.as_of)
        said &= (valid_from <= at) & (valid_to > at) & (expires > at)
        if wanted.confidence_min > 0:
            confidence = self._confidence[: self.rows]
            said &= (confidence if rows is None else confidence[rows]) >= wanted.confidence_min
        return said

    def extend(self, more: "Block") -> None:
        """Append; room grows by half, so that many small steps cost little."""
        rows = self.rows + more.rows
        if rows > len(self._vectors):
            room = rows + rows // 2
            self._times = _roomy(self._times, (6, room))
            self._confidence = _roomy(self._confidence, (room,))
            self._vectors = _roomy(self._vectors, (room, self.dimensions))
        self._times[:, self.rows : rows] = more.times
        self._confidence[self.rows : rows] = more._confidence[: more.rows]
        self._vectors[self.rows : rows] = more.vectors
        self.rows = rows

    def close(self, id: int, known_to: int) -> None:
        """The version with this id is known no more from there on."""
        at = int(numpy.searchsorted(self.ids, id))
        if at < self.rows and self.ids[at] == id and self._times[2, at] == OPEN:
            self._times[2, at] = known_to
            self.dead += 1


def exact(block: Block, query: Query, vector: Floats) -> Ranking:
    """Every row that counts is compared: nothing is missed."""
    mask, among = block.mask(query.wanted), query.among
    if among is not None:
        # Only the rows that are left are multiplied.
        at = numpy.searchsorted(block.ids, numpy.asarray(sorted(among), numpy.int64))
        at = at[at < block.rows]
        at = at[numpy.isin(block.ids[at], numpy.asarray(among, numpy.int64)) & mask[at]]
        return top(block.ids[at], block.vectors[at] @ vector, query.limit)
    scores = block.vectors @ vector
    if not mask.all():
        scores = numpy.where(mask, scores, numpy.float32(-2))
    return [pair for pair in top(block.ids, scores, query.limit) if pair[1] > -2]


def by_graph(block: Block, graph: Near, query: Query, vector: Floats) -> Ranking:
    """About the best; fewer than `limit` where the filter leaves too few of those it named."""
    tail = numpy.arange(graph.rows, block.rows, dtype=numpy.int64)
    at = numpy.concatenate((graph.near(vector, _OVERSAMPLE * query.limit), tail))
    at = at[block.mask(query.wanted, at)]
    return top(block.ids[at], block.vectors[at] @ vector, query.limit)


def top(ids: Integers, scores: Floats, limit: int) -> Ranking:
    """The best `limit`; equal scores: the smaller id first."""
    if len(ids) > 4 * limit:
        chosen = numpy.argpartition(-scores, limit)[:limit]
        ids, scores = ids[chosen], scores[chosen]
    order = numpy.lexsort((ids, -scores))[:limit]
    return list(zip(ids[order].tolist(), scores[order].tolist(), strict=True))


def _roomy(column: numpy.typing.NDArray[N], shape: tuple[int, ...]) -> numpy.typing.NDArray[N]:
    """A larger one that begins like `column`."""
    made = numpy.empty(shape, column.dtype)
    made[tuple(slice(0, length) for length in column.shape)] = column
    return made
