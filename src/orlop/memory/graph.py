"""A graph over vectors (HNSW), for searches of all of a large namespace.  Owns `usearch`.

A projection of a projection: built from a block's rows, thrown away with it.  It names rows by
their place.  Rows that came later are compared exactly by its user, who also holds what it names
against the filter: so it may be old and is never wrong; only what it overlooks is lost.
"""

import contextlib

import numpy
import numpy.typing

from orlop.machine import telemetry

# The process dies when onnxruntime (1.31) is loaded after usearch (2.26); the other way round both
# work.  The kernel may load the embedded model at any time later, so that comes first.
with contextlib.suppress(ImportError):
    telemetry.silence()
    import onnxruntime  # noqa: F401

from usearch.compiled import MetricKind, ScalarKind
from usearch.index import Index

Floats = numpy.typing.NDArray[numpy.float32]
Integers = numpy.typing.NDArray[numpy.int64]

CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 512


class Graph:
    """Over the first `rows` of `vectors` ([rows, dimensions], each of length 1)."""

    def __init__(self, vectors: Floats, threads: int = 1) -> None:
        self.rows = len(vectors)
        self._index = Index(
            ndim=vectors.shape[1],
            metric=MetricKind.IP,
            dtype=ScalarKind.F16,
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )
        self._index.add(numpy.arange(self.rows, dtype=numpy.uint64), vectors, threads=threads)
        self.bytes = int(self._index.memory_usage)

    def near(self, query: Floats, limit: int) -> Integers:
        """Places of about the nearest rows, in no order."""
        found = self._index.search(query, limit)
        return numpy.asarray(found.keys, numpy.int64)
