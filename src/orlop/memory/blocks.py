"""Vectors in RAM, for exact search: one block a part of a namespace, as matrices.

What a tenant may not hold in RAM is read from disk, piece by piece; large blocks get a graph beside
them.  Each of the ways gives the same, but that a graph may miss one now and then.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy

from orlop.abi.ids import TenantId
from orlop.abi.memory_orders import Shelf
from orlop.memory.block import Block, Floats, by_graph, exact
from orlop.memory.block_rows import Part, count, loaded, pieces, refreshed
from orlop.memory.meaning import Query, Ranking
from orlop.memory.residency import Residency

_ROW_BYTES: Final = 52
"""Of a row's times and confidence, beside its vector."""


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

    def search(self, connection: sqlite3.Connection, query: Query) -> tuple[Ranking, bool]:
        vector, wanted = _numbers(query.vector), query.wanted
        best: Ranking = []
        was_here = True
        for namespace in wanted.namespaces:
            for past in (False, True) if wanted.as_of is not None else (False,):
                part = Part(wanted.tenant, namespace, query.model, past)
                found, here = self._in_one(connection, part, query, vector)
                best += found
                was_here = was_here and here
        # A version that was closed lately may be in both blocks.
        return _best(dict(best), query.limit), was_here

    def cosines(
        self, connection: sqlite3.Connection, model: str, vector: bytes, ids: Sequence[int]
    ) -> Ranking:
        marks = ",".join("?" * len(ids))
        rows = connection.execute(
            f"SELECT id, data FROM vector WHERE model = ? AND id IN ({marks})", (model, *ids)
        ).fetchall()
        found = [(id, data) for id, data in rows if len(data) == len(vector)]
        if not found:
            return []
        joined = _numbers(b"".join(data for _, data in found))
        near = joined.reshape(len(found), -1) @ _numbers(vector)
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
        self, connection: sqlite3.Connection, part: Part, query: Query, vector: Floats
    ) -> tuple[Ranking, bool]:
        """Of one part, and whether it was in RAM."""
        held = self.residency.get(part.tenant, part.name)
        block = refreshed(connection, part, held) if held is not None else None
        if block is None:
            rows = count(connection, part)
            if not self.residency.fits(part.name, rows * (vector.nbytes + _ROW_BYTES)):
                found: Ranking = []
                for piece in pieces(connection, part, len(vector)):
                    found += exact(piece, query, vector)
                return _best(dict(found), query.limit), False
            block = loaded(connection, part, len(vector))
        self.residency.put(part.tenant, part.name, block, block.bytes)
        return self._nearest(part, block, query, vector), held is not None

    def _nearest(self, part: Part, block: Block, query: Query, vector: Floats) -> Ranking:
        if not block.rows or block.dimensions != len(vector):
            return []
        if query.is_of_all_now and 0 < self.graph_rows_min <= block.rows:
            if block.graph is None or block.rows > 2 * block.graph.rows:
                self.wanted_graphs[(part.tenant, part.name)] = block
            if block.graph is not None:
                found = by_graph(block, block.graph, query, vector)
                if len(found) == query.limit:
                    return found
        return exact(block, query, vector)


def _numbers(vector: bytes) -> Floats:
    return numpy.frombuffer(vector, numpy.float16).astype(numpy.float32)


def _best(found: Mapping[int, float], limit: int) -> Ranking:
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def _build_graph(block: Block) -> None:
    """In a thread of its own: rows that are there never change, and later ones are left out."""
    from orlop.memory.graph import Graph

    block.graph = Graph(block.vectors)
