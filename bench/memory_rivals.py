"""Other places for the same vectors, each as its own documentation says, in the same run."""

import importlib
import importlib.util
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import numpy.typing

from bench.report import Report

Floats = numpy.typing.NDArray[numpy.float32]
TOP = 10
QDRANT_ROWS = 5_000
"""Its local mode is meant for 20,000 at most, and slow with those."""


def measure(report: Report, data: Floats, queries: Floats, tenants: int, quick: bool) -> None:
    rounds = 20 if quick else 60
    numpy_exact(report, data, queries, rounds)
    sqlite_vec(report, data, queries, tenants, rounds)
    lancedb(report, data, queries, tenants, rounds)
    qdrant(report, data, queries, tenants, rounds)


def p50(rounds: int, work: Callable[[int], object]) -> float:
    times = []
    for number in range(rounds):
        began_s = time.perf_counter()
        work(number)
        times.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(times)


def numpy_exact(report: Report, data: Floats, queries: Floats, rounds: int) -> None:
    def one(number: int) -> object:
        return numpy.argpartition(-(data @ queries[number % 64]), TOP)[:TOP]

    report.add("numpy, exact, unfiltered, p50 (nothing durable)", p50(rounds, one), "ms")


def sqlite_vec(report: Report, data: Floats, queries: Floats, tenants: int, rounds: int) -> None:
    if importlib.util.find_spec("sqlite_vec") is None:
        print("  left out: sqlite-vec is not installed")
        return
    extension = importlib.import_module("sqlite_vec")
    with tempfile.TemporaryDirectory() as scratch:
        connection = sqlite3.connect(Path(scratch) / "vec.db", isolation_level=None)
        if not hasattr(connection, "enable_load_extension"):
            print("  left out: sqlite-vec; this Python can't load extensions of SQLite")
            return
        connection.enable_load_extension(True)
        extension.load(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            f"CREATE VIRTUAL TABLE v USING vec0(tenant INTEGER, e float[{data.shape[1]}]"
            " distance_metric=cosine)"
        )
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO v(rowid, tenant, e) VALUES (?, ?, ?)",
            ((number, number % tenants, row.tobytes()) for number, row in enumerate(data)),
        )
        connection.execute("COMMIT")

        def write(number: int) -> object:
            place = len(data) + number
            return connection.execute(
                "INSERT INTO v(rowid, tenant, e) VALUES (?, 0, ?)",
                (place, queries[number % 64].tobytes()),
            )

        def whole(number: int) -> object:
            return connection.execute(
                "SELECT rowid FROM v WHERE e MATCH ? AND k = ?",
                (queries[number % 64].tobytes(), TOP),
            ).fetchall()

        def filtered(number: int) -> object:
            return connection.execute(
                "SELECT rowid FROM v WHERE e MATCH ? AND k = ? AND tenant = ?",
                (queries[number % 64].tobytes(), TOP, number % tenants),
            ).fetchall()

        report.add("sqlite-vec, durable write, no versions, p50", p50(rounds, write), "ms")
        report.add("sqlite-vec, filtered, p50", p50(rounds, filtered), "ms")
        report.add("sqlite-vec, unfiltered, p50", p50(rounds, whole), "ms")
        connection.close()


def lancedb(report: Report, data: Floats, queries: Floats, tenants: int, rounds: int) -> None:
    if importlib.util.find_spec("lancedb") is None:
        print("  left out: lancedb is not installed")
        return
    lance = importlib.import_module("lancedb")
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            {"vector": row, "tenant": number % tenants, "id": number}
            for number, row in enumerate(data)
        ]
        table = lance.connect(scratch).create_table("v", rows)

        def write(number: int) -> object:
            return table.add([{"vector": queries[number % 64], "tenant": 0, "id": -number}])

        def whole(number: int) -> object:
            return table.search(queries[number % 64]).metric("cosine").limit(TOP).to_list()

        def filtered(number: int) -> object:
            asked = table.search(queries[number % 64]).metric("cosine").limit(TOP)
            return asked.where(f"tenant = {number % tenants}", prefilter=True).to_list()

        report.add("LanceDB, filtered, p50", p50(rounds, filtered), "ms")
        report.add("LanceDB, unfiltered, flat, p50", p50(rounds, whole), "ms")
        report.add("LanceDB, a write (not flushed to the disk), p50", p50(rounds, write), "ms")


def qdrant(report: Report, data: Floats, queries: Floats, tenants: int, rounds: int) -> None:
    if importlib.util.find_spec("qdrant_client") is None:
        print("  left out: qdrant-client is not installed")
        return
    from qdrant_client import QdrantClient, models

    rows = min(QDRANT_ROWS, len(data))
    with tempfile.TemporaryDirectory() as scratch:
        client = QdrantClient(path=scratch)
        size = data.shape[1]
        client.create_collection(
            "v", vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE)
        )
        for start in range(0, rows, 2_000):
            part = range(start, min(start + 2_000, rows))
            client.upsert(
                "v",
                models.Batch(
                    ids=list(part),
                    vectors=data[part.start : part.stop].tolist(),
                    payloads=[{"tenant": number % tenants} for number in part],
                ),
            )

        def write(number: int) -> object:
            point = models.PointStruct(id=rows + number, vector=queries[number % 64].tolist())
            return client.upsert("v", [point])

        def whole(number: int) -> object:
            return client.query_points("v", query=queries[number % 64].tolist(), limit=TOP)

        def filtered(number: int) -> object:
            match = models.MatchValue(value=number % tenants)
            only = models.Filter(must=[models.FieldCondition(key="tenant", match=match)])
            query = queries[number % 64].tolist()
            return client.query_points("v", query=query, limit=TOP, query_filter=only)

        report.add(f"Qdrant local ({rows} rows), filtered, p50", p50(rounds, filtered), "ms")
        report.add(f"Qdrant local ({rows} rows), unfiltered, p50", p50(rounds, whole), "ms")
        report.add(f"Qdrant local ({rows} rows), a write, p50", p50(rounds, write), "ms")
        client.close()
