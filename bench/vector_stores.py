"""What does an external vector store cost to be fed and to be asked, and what does it overlook?

Expected: feeding is bound by the store's own graph (Redis, pgvector: hundreds to thousands a
second) or by its Python (Qdrant's and Milvus's local modes); an answer takes from one to some tens
of milliseconds, all of it slower than the embedded search, which stays in the process.  Asked for
40, a store should name the ten nearest nearly always.  Vectors of 384 numbers, clustered, in ten
places of one collection.  Those that can't be run here are left out, and `--store` adds others.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from vector_servers import LIVE, live

from bench.memory_rows import Floats, vectors
from bench.report import Report, begin, finish
from orlop.abi.ids import TenantId
from orlop.memory.stores.opening import open_store
from orlop.memory.stores.store import Place, Point, VectorStore, batches
from orlop.memory.vectors import packed

TOP, ASKED, PLACES = 10, 40, 10
QUESTION = "what does an external vector store cost, and what does it overlook?"


def measure(report: Report, name: str, store: VectorStore, data: Floats, queries: Floats) -> None:
    places = [Place(TenantId("bench"), f"n{number}", "model") for number in range(PLACES)]
    store.clear()
    began_s = time.perf_counter()
    for number, place in enumerate(places):
        ids = range(number, len(data), PLACES)
        for points in batches([Point(id, packed(data[id].tolist())) for id in ids]):
            store.put(place, points)
    report.add(f"{name}: vectors fed", len(data) / (time.perf_counter() - began_s), "/s")
    for asked, what in ((places[:1], "one place of ten"), (places, "all ten")):
        times, hits = [], 0
        mine = numpy.arange(len(data)) if len(asked) > 1 else numpy.arange(0, len(data), PLACES)
        for query in queries:
            began_s = time.perf_counter()
            found = store.near(asked, query.tolist(), ASKED)
            times.append((time.perf_counter() - began_s) * 1e3)
            nearest = mine[numpy.argsort(-(data[mine] @ query))[:TOP]]
            hits += len(set(nearest.tolist()) & set(found))
        report.median(f"{name}: asked about {what}, p50", times, "ms")
        report.add(f"{name}: of the ten nearest, named", hits / (TOP * len(queries)), "share")
    store.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--store", action="append", default=[], help="as in orlop.toml")
    given = parser.parse_args()
    report = begin(QUESTION, "1-30 ms an answer; of the ten nearest, 0.95 and more named")
    pool = vectors(2_050 if given.quick else 10_050)
    data, queries = pool[:-50], pool[-50:]
    for address in given.store:
        measure(report, address, open_store(address, "", "bench"), data, queries)
    for kind in LIVE if not given.store else ():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            try:
                opener = stack.enter_context(live(kind, Path(folder)))
            except pytest.skip.Exception as reason:
                print(f"  left out: {kind}: {reason}")
                continue
            measure(report, kind, opener("bench"), data, queries)
    finish(report, given.json)


if __name__ == "__main__":
    main()
