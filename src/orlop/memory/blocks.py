"""Vectors in RAM, for exact search: one block a namespace and model, as matrices.

A block is a cache of rows.  Before each use it reads what was folded since (`Block.seen`), so it is
never behind the connection that it is used with.

Invariants:
1. `ids` ascend, and each is there once.
2. A row that is closed in the table is closed in the block, once that is refreshed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias, TypeVar

import numpy
import numpy.typing

from orlop.abi.ids import Seq, TenantId
from orlop.abi.memory_orders import Shelf
from orlop.memory.columns import NEVER_NS
from orlop.memory.reading import Filter, applied, born
from orlop.memory.residency import Residency

Integers: TypeAlias = numpy.typing.NDArray[numpy.int64]
Floats: TypeAlias = numpy.typing.NDArray[numpy.float32]
Flags: TypeAlias = numpy.typing.NDArray[numpy.bool_]
N = TypeVar("N", numpy.int64, numpy.float32)

_OPEN: Final = NEVER_NS
"""`known_to` of a version that is open."""
_OVERSAMPLE: Final = 8
"""What the graph is asked for, in results: some of it may not meet the filter."""
_CHUNK: Final = 20_000
"""Rows that are looked at together where a block may not stay in RAM."""
_DEAD_SHARE: Final = 4
"""A block is read anew once more than a quarter of its rows are closed."""
_ROWS: Final = (
    "SELECT v.id, v.known_from, coalesce(v.known_to, {open}), v.valid_from, v.valid_to, v.expires,"
    " v.confidence, e.data FROM version v {index} JOIN vector e ON e.model = ? AND e.id = v.id"
    " WHERE v.tenant = ? AND v.namespace = ? AND {which} ORDER BY v.id"
)


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
            said = known_to == _OPEN
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
        if at < self.rows and self.ids[at] == id and self._times[2, at] == _OPEN:
            self._times[2, at] = known_to
            self.dead += 1


@dataclass(eq=False, slots=True)
class Blocks:
    """Searches by meaning.  Used by one thread at a time."""

    residency: Residency[Block]
    graph_rows_min: int
    """Rows from which on a search of all of a namespace goes by a graph; 0: never."""
    wanted_graphs: dict[tuple[TenantId, str], Block] = field(default_factory=dict)
    """Blocks that are large enough for a graph and have none.  Whoever has the time builds one."""

    @staticmethod
    def within(bytes_max: int, pinned: Sequence[str], graph_rows_min: int) -> "Blocks":
        """bytes_max: of each tenant.  pinned: namespaces."""
        return Blocks(Residency(bytes_max, frozenset(pinned)), graph_rows_min)

    def search(
        self,
        connection: sqlite3.Connection,
        wanted: Filter,
        model: str,
        vector: bytes,
        limit: int,
        among: Sequence[int] | None,
    ) -> tuple[list[tuple[int, float]], bool]:
        """Ids and cosines, best first, and whether all came from RAM.

        among: ids that meet the rest of the filter; None: it has no rest.
        """
        query = numpy.frombuffer(vector, numpy.float16).astype(numpy.float32)
        best: list[tuple[int, float]] = []
        was_here = True
        for namespace in wanted.namespaces:
            for past in (False, True) if wanted.as_of is not None else (False,):
                found, here = self._in_one(
                    connection, wanted, (namespace, model, past), query, limit, among
                )
                best += found
                was_here = was_here and here
        # A version that was closed lately may be in both blocks.
        once = sorted(dict(best).items(), key=lambda pair: (-pair[1], pair[0]))
        return once[:limit], was_here

    def cosines(
        self, connection: sqlite3.Connection, model: str, vector: bytes, ids: Sequence[int]
    ) -> list[tuple[int, float]]:
        marks = ",".join("?" * len(ids))
        rows = connection.execute(
            f"SELECT id, data FROM vector WHERE model = ? AND id IN ({marks})", (model, *ids)
        ).fetchall()
        found = [(id, data) for id, data in rows if len(data) == len(vector)]
        if not found:
            return []
        query = numpy.frombuffer(vector, numpy.float16).astype(numpy.float32)
        joined = numpy.frombuffer(b"".join(data for _, data in found), numpy.float16)
        near = joined.reshape(len(found), -1).astype(numpy.float32) @ query
        return [(id, cosine) for (id, _), cosine in zip(found, near.tolist(), strict=True)]

    def forget(self, tenant: TenantId | None) -> None:
        for owner, name in tuple(self.residency.held):
            if tenant in (None, owner):
                self.residency.drop(owner, name)
        self.wanted_graphs.clear()

    def take_wanted(self) -> list[Callable[[], None]]:
        wanted, self.wanted_graphs = self.wanted_graphs, {}
        return [partial(_build_graph, block) for block in wanted.values()]

    def no_graphs(self) -> None:
        self.graph_rows_min = 0

    def shelves(self) -> list[Shelf]:
        residency = self.residency
        return [
            Shelf(
                tenant=tenant,
                bytes=books.bytes,
                bytes_max=residency.bytes_max,
                blocks=len(residency.of(tenant)),
                pinned=tuple(sorted(residency.pinned)),
                hits=books.hits,
                misses=books.misses,
                evictions=books.evictions,
            )
            for tenant, books in tuple(residency.books.items())
        ]

    def _in_one(
        self,
        connection: sqlite3.Connection,
        wanted: Filter,
        place: tuple[str, str, bool],
        query: Floats,
        limit: int,
        among: Sequence[int] | None,
    ) -> tuple[list[tuple[int, float]], bool]:
        namespace, model, past = place
        name = block_name(namespace, model, past)
        block = self.residency.get(wanted.tenant, name)
        here = block is not None
        if block is not None:
            block = refreshed(connection, wanted.tenant, namespace, model, past, block)
        if block is None:
            rows = count(connection, wanted.tenant, namespace, past)
            if not self.residency.fits(name, rows * (query.nbytes + 52)):
                return self._from_disk(connection, wanted, place, query, limit, among), False
            block = loaded(connection, wanted.tenant, namespace, model, past, len(query))
        self.residency.put(wanted.tenant, name, block, block.bytes)
        if not block.rows or block.dimensions != len(query):
            return [], here
        is_scan = among is None and wanted.as_of is None
        if is_scan and 0 < self.graph_rows_min <= block.rows:
            if block.graph is None or block.rows > 2 * block.graph.rows:
                self.wanted_graphs[(wanted.tenant, name)] = block
            if block.graph is not None:
                found = by_graph(block, block.graph, wanted, query, limit)
                if len(found) == limit:
                    return found, here
        return exact(block, wanted, query, limit, among), here

    def _from_disk(
        self,
        connection: sqlite3.Connection,
        wanted: Filter,
        place: tuple[str, str, bool],
        query: Floats,
        limit: int,
        among: Sequence[int] | None,
    ) -> list[tuple[int, float]]:
        """A namespace that has no place in RAM: piece by piece, nothing is kept."""
        namespace, model, past = place
        best: list[tuple[int, float]] = []
        rows = _select(connection, wanted.tenant, namespace, model, past, "1")
        while chunk := rows.fetchmany(_CHUNK):
            block = _block(Seq(0), chunk, len(query))
            best += exact(block, wanted, query, limit, among)
        best.sort(key=lambda pair: (-pair[1], pair[0]))
        return best[:limit]


def _build_graph(block: Block) -> None:
    """In a thread of its own: rows that are there never change, and later ones are left out."""
    from orlop.memory.graph import Graph

    block.graph = Graph(block.vectors)


def block_name(namespace: str, model: str, past: bool) -> str:
    return f"{namespace}\n{model}" + ("\npast" if past else "")


def exact(
    block: Block, wanted: Filter, query: Floats, limit: int, among: Sequence[int] | None
) -> list[tuple[int, float]]:
    """Every row that counts is compared: nothing is missed."""
    mask = block.mask(wanted)
    if among is not None:
        # Only the rows that are left are multiplied.
        at = numpy.searchsorted(block.ids, numpy.asarray(sorted(among), numpy.int64))
        at = at[at < block.rows]
        at = at[numpy.isin(block.ids[at], numpy.asarray(among, numpy.int64)) & mask[at]]
        return top(block.ids[at], block.vectors[at] @ query, limit)
    scores = block.vectors @ query
    if not mask.all():
        scores = numpy.where(mask, scores, numpy.float32(-2))
    return [pair for pair in top(block.ids, scores, limit) if pair[1] > -2]


def by_graph(
    block: Block, graph: Near, wanted: Filter, query: Floats, limit: int
) -> list[tuple[int, float]]:
    """About the best; fewer than `limit` where the filter leaves too few of those it named."""
    tail = numpy.arange(graph.rows, block.rows, dtype=numpy.int64)
    at = numpy.concatenate((graph.near(query, _OVERSAMPLE * limit), tail))
    at = at[block.mask(wanted, at)]
    return top(block.ids[at], block.vectors[at] @ query, limit)


def top(ids: Integers, scores: Floats, limit: int) -> list[tuple[int, float]]:
    """The best `limit`; equal scores: the smaller id first."""
    if len(ids) > 4 * limit:
        chosen = numpy.argpartition(-scores, limit)[:limit]
        ids, scores = ids[chosen], scores[chosen]
    order = numpy.lexsort((ids, -scores))[:limit]
    return list(zip(ids[order].tolist(), scores[order].tolist(), strict=True))


def loaded(
    connection: sqlite3.Connection,
    tenant: TenantId,
    namespace: str,
    model: str,
    past: bool,
    dimensions: int,
) -> Block:
    """All of it, from disk."""
    seen = applied(connection)
    rows = _select(connection, tenant, namespace, model, past, "1").fetchall()
    block = _block(seen, rows, dimensions)
    block.born = born(connection)
    return block


def refreshed(
    connection: sqlite3.Connection,
    tenant: TenantId,
    namespace: str,
    model: str,
    past: bool,
    block: Block,
) -> Block | None:
    """With all that was folded since; None where it has to be read anew."""
    if born(connection) != block.born:
        return None
    now = applied(connection)
    if now == block.seen:
        return block
    seen = int(block.seen)
    if (
        now < block.seen
        or connection.execute(
            "SELECT 1 FROM upheaval WHERE seq > ? AND tenant = ? LIMIT 1", (seen, tenant)
        ).fetchone()
    ):
        return None
    since = f"v.known_to > {seen}" if past else f"v.known_from > {seen}"
    rows = _select(connection, tenant, namespace, model, past, since).fetchall()
    if not past:
        _close(connection, tenant, namespace, block, seen)
        if block.dead * _DEAD_SHARE > block.rows:
            return None
    elif rows:  # They come in the order of their end, not of their ids.
        return None
    if rows:
        block.extend(_block(now, rows, block.dimensions))
    block.seen = now
    return block


def count(connection: sqlite3.Connection, tenant: TenantId, namespace: str, past: bool) -> int:
    which = "known_to IS NOT NULL" if past else "known_to IS NULL"
    (rows,) = connection.execute(
        f"SELECT count(*) FROM version WHERE tenant = ? AND namespace = ? AND {which}",
        (tenant, namespace),
    ).fetchone()
    return int(rows)


def _close(
    connection: sqlite3.Connection, tenant: TenantId, namespace: str, block: Block, seen: int
) -> None:
    """Mark the rows that were closed since."""
    closed = connection.execute(
        "SELECT id, known_to FROM version WHERE tenant = ? AND namespace = ? AND known_to > ?"
        " AND known_to IS NOT NULL",
        (tenant, namespace, seen),
    ).fetchall()
    for id, known_to in closed:
        block.close(id, known_to)


def _select(
    connection: sqlite3.Connection,
    tenant: TenantId,
    namespace: str,
    model: str,
    past: bool,
    since: str,
) -> sqlite3.Cursor:
    which = "v.known_to IS NOT NULL" if past else "v.known_to IS NULL"
    statement = _ROWS.format(open=_OPEN, index="", which=f"{which} AND {since}")
    return connection.execute(statement, (model, tenant, namespace))


def _block(seen: Seq, rows: Sequence[tuple[int, ...]], dimensions: int) -> Block:
    """Vectors of another length than `dimensions` are of another version of the model: left out."""
    fitting = [row for row in rows if len(_data(row)) == 2 * dimensions]
    times = numpy.array([row[:6] for row in fitting], numpy.int64).reshape(-1, 6).T.copy()
    confidence = numpy.array([row[6] for row in fitting], numpy.float32)
    joined = b"".join([_data(row) for row in fitting])
    vectors = numpy.frombuffer(joined, numpy.float16).astype(numpy.float32)
    return Block(seen, times, confidence, vectors.reshape(-1, dimensions))


def _roomy(column: numpy.typing.NDArray[N], shape: tuple[int, ...]) -> numpy.typing.NDArray[N]:
    """A larger one that begins like `column`."""
    made = numpy.empty(shape, column.dtype)
    made[tuple(slice(0, length) for length in column.shape)] = column
    return made


def _data(row: Sequence[object]) -> bytes:
    data = row[7]
    return data if isinstance(data, bytes) else b""
