"""Vectors in files of FAISS.  Owns `faiss` (`pip install faiss-cpu`).

Such a file has vectors and numbers, no texts: number n is the n-th memory of the file beside it,
from 0.  An index that keeps its vectors shortened (PQ, scalar quantizers) gives them back so.
"""

from pathlib import Path

import faiss
import numpy

from orlop.abi.errors import BadCall

Vector = tuple[float, ...]


def read(path: Path) -> dict[int, Vector]:
    """All vectors by their numbers.  Raises `BadCall` where the file does not give them."""
    try:
        index = whole = faiss.read_index(str(path))
        numbers = range(index.ntotal)
        if isinstance(whole, faiss.IndexIDMap | faiss.IndexIDMap2):
            numbers = faiss.vector_to_array(whole.id_map).tolist()
            index = faiss.downcast_index(whole.index)  # `whole` owns it.
        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()
        vectors = index.reconstruct_n(0, index.ntotal)
    except (RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise BadCall(f"{path} is no FAISS index that gives its vectors: {reason}") from error
    return {
        int(number): tuple(vector) for number, vector in zip(numbers, vectors.tolist(), strict=True)
    }


def write(path: Path, vectors: list[Vector]) -> None:
    """A flat index of inner products, which are cosines here, numbered as they come."""
    rows = numpy.array(vectors, numpy.float32)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    faiss.write_index(index, str(path))
