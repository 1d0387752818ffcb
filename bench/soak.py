"""Does the kernel's memory grow with the calls it has served, and what does a call weigh on disk?

One kernel in this process, a zero-time engine, 64 callers, a journal on SQLite: RSS after a
warm-up and at the end.
"""

import asyncio
import gc
import time
from pathlib import Path

import psutil
import uvloop

from bench.door import caller
from bench.report import Report, begin, finish, flags, kernel
from orlop.abi.calls import Spawn
from orlop.abi.ids import DEFAULT_TENANT
from orlop.devices.fake import FakeConfig
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle

CALLERS = 64
LEGS = 10


async def leg(kernel: Kernel, processes: list[Process], calls: int, offset: int) -> float:
    """Some calls of every process; calls a second."""
    each = calls // len(processes)
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number, process in enumerate(processes):
            tasks.create_task(caller(kernel, process, each, offset + number * each))
    return each * len(processes) / (time.perf_counter() - began_s)


def rss_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def measure(report: Report, total: int) -> None:
    async with kernel(FakeConfig(slots=CALLERS, tokens=4)) as built:
        processes = []
        for _ in range(CALLERS):
            process = await lifecycle.create(built, Spawn(command=(), name="agent"), DEFAULT_TENANT)
            await lifecycle.start(built, process, "first")
            processes.append(process)
        home = Path(built.launcher.folder(processes[0].row)).parents[2]  # type: ignore[attr-defined]
        rates, sizes = [], []
        for number in range(LEGS + 1):
            rates.append(await leg(built, processes, total // LEGS, number * total))
            sizes.append(rss_mb())
            print(f"    leg {number}: {sizes[-1]:.1f} MB, {rates[-1]:.0f} calls/s", flush=True)
        await built.journal.flush()
        bytes_each = size_of(home) / (total // LEGS * (LEGS + 1))
    report.add("calls after the warm-up", total, "calls")
    report.add("RSS after the warm-up", sizes[0], "MB")
    report.add("RSS at the end", sizes[-1], "MB")
    report.add("growth", (sizes[-1] / sizes[0] - 1) * 100, "%", "< 5")
    report.add("rate of the last leg against the second", rates[-1] / rates[1], "ratio", "about 1")
    report.add("journal, all files, a call", bytes_each, "bytes")


def main() -> None:
    assert __doc__
    given = flags(__doc__)
    report = begin(__doc__.splitlines()[0], "no growth beyond caches that are full after warm-up")
    uvloop.run(measure(report, 64_000 if given.quick else 1_000_000))
    finish(report, given.json)


if __name__ == "__main__":
    main()
