"""A million memories, of which the budget lets some thousands stay in RAM.

100 tenants with 10 namespaces each; a tenant's budget has room for about half of its vectors.  The
disk takes some 2.5 GB while this runs.
"""

import asyncio
import os
import shutil
import statistics
import time
from pathlib import Path

from bench.memory_rows import DIMENSIONS, Floats, asked, filled, p99, shelf, timed, vectors
from bench.report import Report
from orlop.abi.ids import TenantId
from orlop.memory.blocks import Blocks
from orlop.memory.memories import Memories, MemoryConfig

TENANTS = 100
PLACES = 10
AGENTS = 64
SEARCHES = 2_000
ROW_BYTES = DIMENSIONS * 4 + 52
"""Of a vector in RAM, with its times."""


async def measure(report: Report, root: Path, rows: int) -> None:
    each = rows // TENANTS // PLACES
    budget = each * PLACES * ROW_BYTES // 2
    queries = vectors(64, seed=2)
    async with shelf(root, MemoryConfig(ram_bytes=budget, graph_rows=0)) as (journal, memories):
        assert isinstance(memories.dense, Blocks)
        residency = memories.dense.residency
        began_s = time.perf_counter()
        for number in range(TENANTS):
            data = vectors(each * PLACES, seed=number + 10)
            for place in range(PLACES):
                part = data[place * each : (place + 1) * each]
                await filled(journal, memories, tenant(number), part, 0, f"p{place}")
        moment = journal.durable_seq
        await memories.projection.current()
        took_s = time.perf_counter() - began_s
        report.add(f"{rows} memories, written and folded", rows / took_s, "rows/s")
        report.add(f"{rows} memories on disk, journal and index", used_bytes(root) / 1e9, "GB")
        before = resident_bytes()

        async def anywhere(turn: int) -> None:
            at = turn * 7919 % (TENANTS * PLACES)
            where = asked(tenant(at % TENANTS), queries[turn % 64], None, f"p{at // TENANTS}")
            await memories.find(where)

        times = await timed(SEARCHES, anywhere)
        report.median(f"{rows} memories: a namespace at random, p50", times, "ms")
        held = sum(books.bytes for books in residency.books.values())
        most = max(books.bytes for books in residency.books.values())
        report.add("RAM of the largest tenant over its budget", most / budget, "x", "<= 1")
        grown = resident_bytes() - before
        report.add("vectors in RAM, all tenants", held / 1e6, "MB")
        report.add("vectors in RAM over all budgets", held / budget / TENANTS, "x", "<= 1")
        report.add("the process grew by, over all budgets", grown / budget / TENANTS, "x", "<= 1")
        residency.check()

        async def hot(turn: int) -> None:
            await memories.find(asked(tenant(turn % 8), queries[turn % 64], None, "p0"))

        await timed(64, hot)
        times = await timed(500, hot)
        report.median(f"{rows} memories: a namespace in RAM, p50", times, "ms", "< 1 ms")

        async def past(turn: int) -> None:
            await memories.find(asked(tenant(turn % 8), queries[turn % 64], moment, "p0"))

        await timed(64, past)
        times = await timed(200, past)
        report.median(f"{rows} memories: as of an event, p50", times, "ms", "< 10 ms")
        await _together(report, memories, queries, rows)
    shutil.rmtree(root)


async def _together(report: Report, memories: Memories, queries: Floats, rows: int) -> None:
    """Each agent in its own tenant, all at once."""
    times: list[float] = []

    async def agent(number: int) -> None:
        async def one(turn: int) -> None:
            await memories.find(asked(tenant(number), queries[turn % 64], None, "p0"))

        times.extend(await timed(20, one))

    for number in range(AGENTS):  # What they ask for comes into RAM.
        await memories.find(asked(tenant(number), queries[0], None, "p0"))
    await asyncio.gather(*(agent(number) for number in range(AGENTS)))
    name = f"{rows} memories, {AGENTS} agents at once"
    report.median(f"{name}: p50", times, "ms")
    report.add(f"{name}: p99", p99(times), "ms")
    report.add(f"{name}: p99 over p50", p99(times) / statistics.median(times), "x", "<= 3")


def tenant(number: int) -> TenantId:
    return TenantId(f"t{number}")


def used_bytes(root: Path) -> int:
    return sum(file.stat().st_size for file in root.rglob("*") if file.is_file())


def resident_bytes() -> int:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
