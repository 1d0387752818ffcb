"""Two thousand agents at once in one kernel: do all finish, and what does a waiting one weigh?

Each agent is a process of its own (named by its `Orlop-Process` header) that makes several calls
over its own HTTP connection to a fake engine which takes seconds; RAM is the kernel's RSS with all
of them waiting, less before, by agent.  Before means: after some thousand calls of few agents, so
that the kernel's own caches (the journal's pages, the names of messages) are filled and count as
nobody's.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from bench.http import cpu_s
from bench.report import Report, begin, finish, flags

CALLS = 5


@dataclass(frozen=True, slots=True)
class Place:
    url: str
    key: str
    kernel: psutil.Process


@contextmanager
def kernel(agents: int, seconds: float) -> Iterator[Place]:
    """A kernel whose engine takes `seconds` a call and serves all agents at once."""
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as home:
        fake = f"{{ slots = {agents}, tokens = 1, decode_s = {seconds} }}"
        (Path(home) / "orlop.toml").write_text(
            f'[models]\ndir = "{home}/models"\n[engines.fake]\ndriver = "fake"\nfake = {fake}\n'
            '[engines.quick]\ndriver = "fake"\nfake = { tokens = 12, models = ["quick"] }\n'
        )
        orlop = [sys.executable, "-m", "orlop.shell.main"]
        where = ["--home", home]
        subprocess.run([*orlop, "up", "-d", "--port", "0", *where], check=True, capture_output=True)
        try:
            info = json.loads(subprocess.check_output([*orlop, "info", "--json", *where]))
            made = json.loads(subprocess.check_output([*orlop, "key", "create", "--json", *where]))
            yield Place(info["url"], made["secret"], psutil.Process(info["os_pid"]))
        finally:
            subprocess.run([*orlop, "down", *where], check=True, capture_output=True)


async def agent(
    session: aiohttp.ClientSession, place: Place, number: int, calls: int, model: str
) -> int:
    """Calls that were answered."""
    headers = {"authorization": f"Bearer {place.key}", "orlop-process": f"agent-{number}"}
    answered = 0
    for call in range(calls):
        text = f"agent {number}, call {call}"
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        url = f"{place.url}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as response:
            await response.read()
            answered += response.status == 200
    return answered


async def crowd(
    place: Place, agents: int, calls: int, model: str = "fake"
) -> tuple[int, float, float]:
    """Calls answered; the kernel's greatest RSS, MB; its CPU milliseconds a call."""
    peak = 0.0
    before_s = cpu_s(place.kernel)
    timeout = aiohttp.ClientTimeout(total=600)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        running = [
            asyncio.ensure_future(agent(session, place, number, calls, model))
            for number in range(agents)
        ]
        while not all(task.done() for task in running):
            peak = max(peak, place.kernel.memory_info().rss / 1e6)
            await asyncio.sleep(0.2)
        answered = sum(task.result() for task in running)
    return answered, peak, (cpu_s(place.kernel) - before_s) * 1e3 / (agents * calls)


def measure(report: Report, agents: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * agents)), hard))
    seconds = max(2.0, agents / 250)
    with kernel(agents, seconds) as place:
        asyncio.run(crowd(place, 200, 20, "quick"))
        empty_mb = place.kernel.memory_info().rss / 1e6
        parked, parked_mb, _ = asyncio.run(crowd(place, agents, 1))
        began_s = time.perf_counter()
        answered, _, cpu_ms = asyncio.run(crowd(place, agents, CALLS))
        took_s = time.perf_counter() - began_s
        again, end_mb, cpu_again_ms = asyncio.run(crowd(place, agents, CALLS))
    total = agents * (2 * CALLS + 1)
    report.add("agents at once", agents, "agents")
    report.add("calls answered", parked + answered + again, "calls", f"{total}")
    report.add("time for all, first crowd", took_s, "s", f"bound by the engine: {seconds * CALLS}")
    report.add("RAM a waiting agent", (parked_mb - empty_mb) * 1e3 / agents, "kB", "≤ 30")
    report.add("RAM an agent after eleven calls each", (end_mb - empty_mb) * 1e3 / agents, "kB")
    report.add("CPU a call, first crowd", cpu_ms, "ms")
    report.add(
        "CPU a call, second crowd against the first", cpu_again_ms / cpu_ms, "ratio", "≤ 1.1"
    )


def main() -> None:
    assert __doc__
    given: argparse.Namespace = flags(__doc__)
    report = begin(__doc__.splitlines()[0], "all finish; 20-30 kB each: a connection and a task")
    measure(report, 400 if given.quick else 2_000)
    finish(report, given.json)


if __name__ == "__main__":
    main()
