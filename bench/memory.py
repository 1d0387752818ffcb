"""How fast and how right is memory, beside what else one could take?

100,000 memories with vectors of 384 numbers (clustered, from a fixed seed), once in the 100
tenants, once in one namespace.  A quick run has a fifth of that.  Everything is in one run on one
machine; rivals that are not installed are left out and named.
"""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import numpy
import numpy.typing
import uvloop

from bench import memory_many, memory_quality, memory_rivals
from bench.memory_rows import (
    BATCH,
    DIMENSIONS,
    TOP,
    Floats,
    append,
    asked,
    filled,
    p99,
    shelf,
    timed,
    vectors,
    written,
)
from bench.report import Report, begin, finish, flags, kernel
from orlop.abi.calls import Call, Spawn
from orlop.abi.ids import DEFAULT_TENANT, Seq, TenantId
from orlop.abi.memory import (
    Item,
    MemoryRecalled,
    Recall,
    Remember,
)
from orlop.abi.replies import Delta, Done
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.memory.blocks import Blocks
from orlop.memory.memories import Memories, MemoryConfig
from orlop.memory.search import Asked
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle

TENANTS = 100
MANY = 1_000_000
WHOLE = TenantId("whole")
EXPECTED = (
    "a durable write well under a millisecond; a filtered search some tenths of one at recall 1; "
    "an unfiltered one 10 ms exact, 1 ms by the graph; as of any event as fast as now"
)


def overlap(found: list[list[str]], data: Floats, texts: list[str], queries: Floats) -> float:
    """The share of the true nearest that were found (vectors as they are stored: 16 bits)."""
    stored = data.astype(numpy.float16).astype(numpy.float32)
    total = 0.0
    asked_for = queries.astype(numpy.float16).astype(numpy.float32)
    for query, got in zip(asked_for, found, strict=True):
        best = numpy.argpartition(-(stored @ query), TOP)[:TOP]
        total += len({texts[int(at)] for at in best} & set(got)) / TOP
    return total / len(queries)


async def search(  # noqa: PLR0915 (one figure after another, on the same rows)
    report: Report, root: Path, rows: int, quick: bool
) -> None:
    """The rows and the vectors by themselves: what a recall costs below the door."""
    rounds = 100 if quick else 300
    data, queries = vectors(rows), vectors(64, seed=2)
    each = rows // TENANTS
    graph_rows = max(1, rows // 2)
    async with shelf(root, MemoryConfig(ram_bytes=1 << 30, graph_rows=graph_rows)) as made:
        journal, memories = made
        assert isinstance(memories.dense, Blocks)
        began_s = time.perf_counter()
        for number in range(TENANTS):
            part = data[number * each : (number + 1) * each]
            await filled(journal, memories, TenantId(f"t{number}"), part, 0)
        names = await filled(journal, memories, WHOLE, data[: each * TENANTS], 0)
        await memories.projection.current()
        took_s = time.perf_counter() - began_s
        report.add("bulk writes, durable and folded", 2 * each * TENANTS / took_s, "rows/s")

        async def filtered(number: int) -> None:
            tenant = TenantId(f"t{number % TENANTS}")
            await memories.find(asked(tenant, queries[number % 64]))

        await timed(TENANTS, filtered)  # The blocks come into RAM.
        times = await timed(rounds, filtered)
        report.median(f"filtered to 1 of {TENANTS} tenants, p50", times, "ms", "< 1 ms")
        report.add(f"filtered to 1 of {TENANTS} tenants, p99", p99(times), "ms")
        part = data[:each]
        found = [
            [one.text for one in (await memories.find(asked(TenantId("t0"), query))).memories]
            for query in queries[:20]
        ]
        texts = [f"fact {number}" for number in range(each)]
        report.add("its recall@10", overlap(found, part, texts, queries[:20]), "", "1.0")
        await together(report, memories, queries, rounds)

        rows_min, memories.dense.graph_rows_min = memories.dense.graph_rows_min, 0

        async def unfiltered(number: int) -> None:
            await memories.find(asked(WHOLE, queries[number % 64]))

        await timed(2, unfiltered)
        exact = await timed(max(20, rounds // 4), unfiltered)
        report.median(f"unfiltered over {rows}, exact, p50", exact, "ms", "< 10 ms")
        truth = await answers(memories, queries[:20])
        whole = data[: each * TENANTS]
        texts = [f"fact {number}" for number in range(len(whole))]
        report.add("its recall@10", overlap(truth, whole, texts, queries[:20]), "", "1.0")
        memories.dense.graph_rows_min = rows_min
        await unfiltered(0)
        began_s = time.perf_counter()
        for make in memories.dense.take_wanted():
            await asyncio.to_thread(make)
        report.add("building the graph", time.perf_counter() - began_s, "s")
        await timed(5, unfiltered)
        times = await timed(rounds, unfiltered)
        report.median(f"unfiltered over {rows}, by the graph, p50", times, "ms", "< 1.5 ms")
        near = await answers(memories, queries[:20])
        hits = sum(len(set(one) & set(two)) for one, two in zip(truth, near, strict=True))
        report.add("its recall@10", hits / TOP / len(truth), "", ">= 0.99")

        moment = journal.durable_seq
        new = vectors(rows // 10, seed=3)
        for start in range(0, len(new), BATCH):
            part = new[start : start + BATCH]
            texts_new = [f"new {start + number}" for number in range(len(part))]
            event = written(names[start : start + len(part)], texts_new, part, 2)
            await journal.durable(append(journal, memories, WHOLE, event))
        await memories.projection.current()

        async def past(number: int) -> None:
            await memories.find(asked(WHOLE, queries[number % 64], moment))

        await timed(2, past)
        times = await timed(max(20, rounds // 4), past)
        report.median("as of an earlier event, 10 % changed since, p50", times, "ms", "< 10 ms")
        found = await answers(memories, queries[:20], moment)
        report.add("its recall@10", overlap(found, whole, texts, queries[:20]), "", "1.0")
        began_s = time.perf_counter()
        await memories.projection.rebuild()
        took_s = time.perf_counter() - began_s
        total = 2 * each * TENANTS + len(new)
        report.add("rows made again from the journal", total / took_s, "rows/s")
        (pages,) = (await memories.read(_pages))[:1]
        report.add("on disk, a memory with its vector and words", pages / total, "bytes")
    await bounded(report, root, rows, queries)


def _pages(connection: sqlite3.Connection) -> tuple[int]:
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return (int(count) * int(size),)


async def answers(memories: Memories, queries: Floats, as_of: Seq | None = None) -> list[list[str]]:
    return [
        [one.text for one in (await memories.find(asked(WHOLE, query, as_of))).memories]
        for query in queries
    ]


async def together(report: Report, memories: Memories, queries: Floats, rounds: int) -> None:
    """64 agents, each in its own tenant, all at once."""
    times: list[float] = []

    async def agent(number: int) -> None:
        async def one(turn: int) -> None:
            await memories.find(asked(TenantId(f"t{number}"), queries[turn % 64]))

        times.extend(await timed(max(10, rounds // 10), one))

    began_s = time.perf_counter()
    await asyncio.gather(*(agent(number) for number in range(64)))
    took_s = time.perf_counter() - began_s
    report.add("64 agents at once: searches", len(times) / took_s, "1/s")
    ratio = p99(times) / statistics.median(times)
    report.add("64 agents at once: p99 over p50", ratio, "x", "<= 3")


async def bounded(report: Report, root: Path, rows: int, queries: Floats) -> None:
    """With too little RAM for the large namespace: it is read from disk, and the budget holds."""
    budget = rows * DIMENSIONS * 4 // 10
    async with shelf(root, MemoryConfig(ram_bytes=budget, graph_rows=0)) as made:
        _, memories = made

        async def one(number: int) -> None:
            await memories.find(asked(WHOLE, queries[number]))

        times = await timed(4, one)
        for number in range(TENANTS):
            await memories.find(asked(TenantId(f"t{number}"), queries[0]))
        report.median("the large one with a tenth of its RAM, p50", times, "ms")
        assert memories.dense is not None
        most = max(shelf.bytes for shelf in memories.dense.shelves())
        report.add("RAM of the largest tenant over its budget", most / budget, "x", "<= 1")


async def result(kernel: Kernel, process: Process, call: Call) -> Done:
    async for reply in syscall.enter(kernel, process, call).replies:
        if not isinstance(reply, Delta):
            return reply
    raise AssertionError("no end")


async def door(report: Report, quick: bool) -> None:
    """System calls, journal durable: what an agent waits for."""
    rounds = 300 if quick else 2_000
    async with kernel(FakeConfig(dimensions=DIMENSIONS)) as built:
        for projection in built.projections:
            built.tasks.start(projection.run(), "projection")
        spawn = Spawn(command=(), name="agent")
        process = await lifecycle.create(built, spawn, DEFAULT_TENANT)
        await lifecycle.start(built, process, "first")
        data = vectors(rounds)
        lists = [tuple(map(float, row)) for row in data]

        async def alone(number: int) -> None:
            built.emit(process.id, DEFAULT_TENANT, MemoryRecalled(given=()))
            await built.journal.flush()

        times = await timed(rounds, alone)
        report.median("an event alone, durable, p50: no write can be faster", times, "ms")

        async def write(number: int) -> None:
            item = Item(
                text=f"fact {number}",
                key=f"key {number % 50}",
                vector=lists[number],
                vector_model="fake-embed",
            )
            await result(built, process, Remember(items=(item,)))

        times = await timed(rounds, write)
        report.median("remember: durable, versioned, with a vector, p50", times, "ms", "< 0.5 ms")
        report.add("remember: p99", p99(times), "ms")

        async def plain(number: int) -> None:
            item = Item(text=f"plain fact {number}")
            await result(built, process, Remember(items=(item,), embed=False))

        times = await timed(rounds, plain)
        report.median("remember: words only, p50", times, "ms", "< 0.5 ms")
        memories = built.memories
        assert memories is not None

        async def session(number: int) -> None:
            memories.with_key(DEFAULT_TENANT, "agents/agent", f"key {number % 50}")
            await memories.find(
                Asked(
                    call=Recall(key=f"key {number % 50}"),
                    tenant=DEFAULT_TENANT,
                    namespaces=("agents/agent",),
                    now_ns=time.time_ns(),
                )
            )

        times = await timed(rounds, session)
        report.median("a read by key, below the door, p50", times, "ms", "<= 0.2 ms")

        async def by_key(number: int) -> None:
            await result(built, process, Recall(key=f"key {number % 50}"))

        times = await timed(rounds, by_key)
        report.median("recall by key, its evidence durable, p50", times, "ms")

        async def fused(number: int) -> None:
            query = f"fact {number}"
            vector = lists[number]
            call = Recall(query=query, vector=vector, vector_model="fake-embed")
            await result(built, process, call)

        times = await timed(min(rounds, 500), fused)
        report.median("recall: words, meaning, age; evidence durable, p50", times, "ms")


async def measure(report: Report, quick: bool) -> None:
    rows = 20_000 if quick else 100_000
    print("\nthrough the door")
    await door(report, quick)
    print(f"\nsearch over {rows} rows")
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        await search(report, Path(scratch), rows, quick)
    print("\nrivals, the same rows")
    memory_rivals.measure(report, vectors(rows), vectors(64, seed=2), TENANTS, quick)
    print("\nmany rows")
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        await memory_many.measure(report, Path(scratch), MANY // 10 if quick else MANY)
    await memory_quality.measure(report, quick)


def main() -> None:
    given = flags("How fast and how right is memory?")
    report = begin("How fast and how right is memory?", EXPECTED)
    uvloop.run(measure(report, given.quick))
    finish(report, given.json)


if __name__ == "__main__":
    main()
