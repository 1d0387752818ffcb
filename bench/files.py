"""What do files cost, through the door, with the journal durable?

Expected: a small write or read costs what any durable call does, some 0.7 ms; 1,000 files are
listed in some milliseconds, most of it JSON.  A megabyte is packed beside the loop, so nobody waits
10 ms for it.
LangGraph's checkpoints are files: 1,600 steps of 500 bytes of one conversation, each a call.
"""

import asyncio
import importlib
import importlib.util
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from operator import add
from pathlib import Path
from typing import Annotated, TypedDict

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from live_kernel import LiveKernel, live_kernel, orlop

import orlop as sdk
from bench.report import Report, begin, finish, flags, kernel
from orlop.abi.calls import Call, Spawn
from orlop.abi.files import (
    FileRead,
    FileWrite,
    Found,
    ListFiles,
    ReadFiles,
    SearchFiles,
    WriteFiles,
)
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.replies import Delta, Done
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import file_index, lifecycle

QUESTION = "What do files cost, through the door, with the journal durable?"
EXPECTED = (
    "a small write or read some 0.7 ms; 1,000 files listed in some ms; nobody waits 10 ms for a "
    "megabyte; 1.8 kB a step of LangGraph"
)
WORDS = (__doc__ or "").split()
FOLDER_FILES = 1_000
LARGE_BYTES = 1 << 20
WRITERS = 64

Work = Callable[[int], Awaitable[object]]


async def result(built: Kernel, process: Process, call: Call) -> Done:
    async for reply in syscall.enter(built, process, call).replies:
        if not isinstance(reply, Delta):
            return reply
    raise AssertionError("no end")


async def timed(rounds: int, work: Work) -> list[float]:
    """Milliseconds of each round."""
    times: list[float] = []
    for number in range(rounds):
        began_s = time.perf_counter()
        await work(number)
        times.append((time.perf_counter() - began_s) * 1e3)
    return times


def text(chance: random.Random, size: int) -> str:
    said: list[str] = []
    chars = 0
    while chars < size:
        said.append(chance.choice(WORDS))
        chars += len(said[-1]) + 1
    return " ".join(said)[:size].ljust(size, ".")


async def door(report: Report, quick: bool) -> None:
    rounds, chance = 200 if quick else 1_000, random.Random(1)
    async with kernel(FakeConfig()) as built:
        for projection in built.projections:
            built.tasks.start(projection.run(), "projection")
        assert built.files is not None
        built.tasks.start(file_index.run(built, built.files), "index of files")
        process = await lifecycle.create(built, Spawn(command=(), name="clerk"), DEFAULT_TENANT)
        await lifecycle.start(built, process, "first")

        async def write(number: int) -> None:
            data = text(chance, 1_000).encode()
            file = FileWrite(path=f"notes/{number % FOLDER_FILES}.md", data=data)
            await result(built, process, WriteFiles(files=(file,)))

        times = await timed(max(rounds, FOLDER_FILES), write)
        report.median("write 1 kB, durable, versioned, p50", times, "ms", "< 1 ms")

        async def append(number: int) -> None:
            file = FileWrite(path="log.txt", data=text(chance, 100).encode(), append=True)
            await result(built, process, WriteFiles(files=(file,)))

        report.median("append 100 bytes, durable, p50", await timed(rounds, append), "ms", "< 1 ms")

        async def read(number: int) -> None:
            file = FileRead(path=f"notes/{number % FOLDER_FILES}.md")
            await result(built, process, ReadFiles(files=(file,)))

        report.median("read 1 kB, recorded, p50", await timed(rounds, read), "ms", "< 1 ms")

        async def listed(number: int) -> None:
            await result(built, process, ListFiles(path="notes", limit=FOLDER_FILES))

        report.median("list 1,000 files, p50", await timed(max(20, rounds // 10), listed), "ms")

        async def search(number: int) -> int:
            found = SearchFiles(text=text(chance, 20), path="notes")
            done = await result(built, process, found)
            assert isinstance(done, Found)
            return done.unread

        for _ in range(1_000):  # The index follows.
            if not await search(0):
                break
            await asyncio.sleep(0.05)
        report.median("search by words, p50", await timed(max(20, rounds // 10), search), "ms")
        await together(report, built, process, rounds)
        await large(report, built, process, quick)


async def together(report: Report, built: Kernel, process: Process, rounds: int) -> None:
    """Many at once share commits."""
    gate = asyncio.Semaphore(WRITERS // 4)
    each = max(4, rounds // WRITERS)
    times: list[float] = []

    async def writer(number: int) -> None:
        for turn in range(each):
            async with gate:
                file = FileWrite(path=f"many/{number}.md", data=f"turn {turn}".encode() * 20)
                began_s = time.perf_counter()
                await result(built, process, WriteFiles(files=(file,)))
                times.append((time.perf_counter() - began_s) * 1e3)

    began_s = time.perf_counter()
    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    report.add("16 writers at once", len(times) / (time.perf_counter() - began_s), "writes/s")


async def large(report: Report, built: Kernel, process: Process, quick: bool) -> None:
    """A megabyte of text, and how long the loop stands still meanwhile at most."""
    chance, stalls, is_over = random.Random(2), list[float](), asyncio.Event()
    base = text(chance, LARGE_BYTES).encode()

    async def watch() -> None:
        while not is_over.is_set():
            began_s = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append((time.perf_counter() - began_s) * 1e3 - 1)

    async def write(number: int) -> None:
        data = f"{number} ".encode() + base
        file = FileWrite(path="large.txt", data=data[:LARGE_BYTES])
        await result(built, process, WriteFiles(files=(file,)))

    watching = asyncio.ensure_future(watch())
    times = await timed(5 if quick else 20, write)
    is_over.set()
    await watching
    report.median("write 1 MiB of text, durable, p50", times, "ms")
    stalls.sort()
    report.add("the loop stood still meanwhile, p99", stalls[int(len(stalls) * 0.99)], "ms", "< 10")


# Through a kernel of its own process.


def synced(report: Report, live: LiveKernel, quick: bool) -> None:
    """`orlop files sync --once`, start of the command included."""
    count, chance = 100 if quick else 500, random.Random(3)
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as folder:
        for number in range(count):
            (Path(folder) / f"{number}.md").write_text(text(chance, 1_000))
        for name in ("brought in", "looked at again"):
            began_s = time.perf_counter()
            orlop(live.home, ("files", "sync", folder, "/synced", "--once"))
            took_s = time.perf_counter() - began_s
            report.add(f"sync: {count} files of 1 kB {name}", took_s, "s")


class Talk(TypedDict):
    said: Annotated[list[str], add]


def conversation(saver: object, steps: int) -> float:
    """Steps a second of a graph whose every step adds 500 bytes."""
    graph_module, chance = importlib.import_module("langgraph.graph"), random.Random(1)
    graph = graph_module.StateGraph(Talk)
    graph.add_node("talk", lambda state: {"said": [text(chance, 500)]})
    graph.add_edge(graph_module.START, "talk")
    graph.add_conditional_edges(
        "talk", lambda state: "talk" if len(state["said"]) < steps else graph_module.END
    )
    config = {"configurable": {"thread_id": "one"}, "recursion_limit": steps + 10}
    began_s = time.perf_counter()
    graph.compile(checkpointer=saver).invoke({"said": []}, config, durability="sync")
    return steps / (time.perf_counter() - began_s)


def langgraph(report: Report, live: LiveKernel, quick: bool) -> None:
    if importlib.util.find_spec("langgraph") is None:
        print("  left out: langgraph is not installed")
        return
    steps = 200 if quick else 1_600
    saver = importlib.import_module("orlop.sdk.langgraph").OrlopSaver
    before = table_bytes(live.home / "journal.db"), table_bytes(live.home / "index" / "files.db")
    rate = conversation(saver(sdk.connect_sync(home=live.home)), steps)
    time.sleep(1)  # The index follows.
    journal = table_bytes(live.home / "journal.db") - before[0]
    index = table_bytes(live.home / "index" / "files.db") - before[1]
    report.add("LangGraph: steps of 500 bytes", steps, "")
    report.add("LangGraph on our journal", rate, "steps/s")
    report.add("LangGraph on our journal, a step", journal / steps, "bytes")
    report.add("LangGraph, 1,600 steps, the journal", journal / steps * 1.6e-3, "MB", "< 3")
    report.add("LangGraph, 1,600 steps, its index beside", index / steps * 1.6e-3, "MB")
    if importlib.util.find_spec("langgraph.checkpoint.sqlite") is None:
        print("  left out: LangGraph's SqliteSaver is not installed")
        return
    theirs = importlib.import_module("langgraph.checkpoint.sqlite").SqliteSaver
    few = min(steps, 400)
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as folder:
        database = Path(folder) / "theirs.db"
        connection = sqlite3.connect(database, check_same_thread=False)
        rate = conversation(theirs(connection), few)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        report.add(f"LangGraph's SqliteSaver, {few} steps", rate, "steps/s")
        report.add(f"LangGraph's SqliteSaver, {few} steps", database.stat().st_size / 1e6, "MB")
        shutil.rmtree(folder, ignore_errors=True)


def table_bytes(path: Path) -> int:
    """Of all pages in use, whether they are in the file or in its log yet."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        return int(pages) * int(size)
    finally:
        connection.close()


def main() -> None:
    given = flags(QUESTION)
    report = begin(QUESTION, EXPECTED)
    print("\nthrough the door")
    uvloop.run(door(report, given.quick))
    print("\nthrough a kernel of its own")
    with live_kernel() as live:
        synced(report, live, given.quick)
        langgraph(report, live, given.quick)
    finish(report, given.json)


if __name__ == "__main__":
    main()
