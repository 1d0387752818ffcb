"""What does a kernel in front of a provider's limits save: time, refusals, tokens computed again?

Agents with heavy-tailed numbers of calls, whose prompts grow as they work, share one key of a mock
provider (`bench.mock_provider`) that enforces requests and tokens a minute and has a prompt cache.
Without the kernel each calls the provider itself, and waits and asks again as the official client
does (`retry-after`, else doubling pauses), but for ever, with marks for the cache and without.
With it, the same agents make the same calls to a kernel whose `cloud` engine leads to a provider of
the same kind.  A job's time is from its arrival to its last answer.

Both sides of a round run at the same time, so that whatever else the machine does meets both; how
late a short sleep ends tells how busy it was, and a round without limits what the kernel adds then.
All times are a thirtieth of what agents really take, so what it adds counts thirty times as much.
In virtual time (`bench.cloud_virtual`) there is nothing but the limits.
"""

import argparse
import asyncio
import contextlib
import json
import math
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import cloud_virtual
from bench.cloud_jobs import (
    LASTS_S,
    TOKENS_A_REQUEST,
    Arm,
    Client,
    Job,
    Step,
    all_of,
    arm,
    jobs,
    traces,
)
from bench.mock_provider import Reply
from bench.report import Report, begin, finish

SPREAD_S, AT_ONCE_S = 5.0, 1.0
"""Over how long the jobs of a round arrive."""
JOBS = 80
PLENTY = 40.0
"""Times the limits that would be reached: then nobody waits for them."""
VIRTUAL = {
    "virtual time, tokens are short": (SPREAD_S, 1.0),
    "virtual time, all within a second": (AT_ONCE_S, 1.0),
    "virtual time, requests are short": (SPREAD_S, 0.01),
}
"""Over how long jobs arrive, and of the documented requests to so many tokens, which share."""


@contextmanager
def provider(tokens: int) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bench.mock_provider"]
    requests = math.ceil(tokens / TOKENS_A_REQUEST)
    process = subprocess.Popen([*command, str(port), str(requests), str(tokens)])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def kernel(url: str) -> Iterator[tuple[str, str]]:
    """A kernel with the provider as its one engine: its URL and a key."""
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as home:
        (Path(home) / "orlop.toml").write_text(
            f'[models]\ndir = "{home}/models"\n'
            f'[engines.far]\ndriver = "cloud"\nurl = "{url}"\n'
            '[engines.far.cloud]\ndialect = "anthropic"\n'
        )
        orlop = [sys.executable, "-m", "orlop.shell.main"]
        where = ["--home", home]
        subprocess.run([*orlop, "up", "-d", "--port", "0", *where], check=True, capture_output=True)
        try:
            info = json.loads(subprocess.check_output([*orlop, "info", "--json", *where]))
            made = json.loads(subprocess.check_output([*orlop, "key", "create", "--json", *where]))
            yield info["url"], made["secret"]
        finally:
            subprocess.run([*orlop, "down", *where], check=True, capture_output=True)


async def run(
    todo: Sequence[Job], url: str, at_provider: str, *, key: str = "", marks: bool, seed: int
) -> Arm:
    """All jobs once."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=1800)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        own = {"anthropic-version": "2023-06-01", "content-type": "application/json"}
        own |= {"authorization": f"Bearer {key}"} if key else {}

        async def post(name: str, body: bytes) -> Reply:
            headers = {**own, "orlop-process": name}
            async with session.post(f"{url}/v1/messages", data=body, headers=headers) as response:
                told = {held.lower(): value for held, value in response.headers.items()}
                return Reply(response.status, told, await response.read())

        client = Client(post, marks, random.Random(seed))
        times_s = await all_of(todo, client)
        async with session.get(f"{at_provider}/stats") as response:
            return arm(todo, times_s, client, await response.json())


@dataclass(slots=True)
class Round:
    off: Arm
    on: Arm
    bare: Arm | None
    """Without marks: agents that know of no cache."""
    late_ms: float
    """How much later than asked a sleep of 20 ms ended, on average."""


async def lateness() -> float:
    """Until cancelled; milliseconds."""
    late_s = []
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0.02)
            late_s.append(time.monotonic() - began_s - 0.02)
    return 1e3 * statistics.fmean(late_s)


async def side_by_side(
    todo: Sequence[Job], urls: Sequence[str], kernel_url: str, key: str, *, seed: int
) -> Round:
    """urls: of a provider each, for those without the kernel, with it, and without marks."""
    watch = asyncio.create_task(lateness())
    runs = [
        run(todo, urls[0], urls[0], marks=True, seed=seed),
        run(todo, kernel_url, urls[1], key=key, marks=False, seed=seed),
        *(run(todo, url, url, marks=False, seed=seed) for url in urls[2:]),
    ]
    off, on, *bare = await asyncio.gather(*runs)
    watch.cancel()
    return Round(off, on, bare[0] if bare else None, await watch)


def one_round(
    recorded: Sequence[list[Step]],
    seed: int,
    over_s: float,
    *,
    bare: bool = False,
    plenty: float = 1.0,
) -> Round:
    """Providers and a kernel of its own: nothing that was learned helps the next one.

    plenty: times that the limits are larger.
    """
    todo = jobs(recorded, seed, JOBS, over_s)
    tokens = math.ceil(plenty * sum(job.fresh for job in todo) / LASTS_S * 60)
    with contextlib.ExitStack() as held:
        urls = [held.enter_context(provider(tokens)) for _ in range(3 if bare else 2)]
        kernel_url, key = held.enter_context(kernel(urls[1]))
        return asyncio.run(side_by_side(todo, urls, kernel_url, key, seed=seed))


def measure(report: Report, data: Path, *, quick: bool) -> None:
    recorded = traces(data)
    simulate(report, recorded, 2 if quick else 8)
    counts = {SPREAD_S: 1} if quick else {SPREAD_S: 3, AT_ONCE_S: 2}
    for over_s, count in counts.items():
        name = f"{JOBS} jobs within {over_s:.0f} s"
        rounds = []
        for seed in range(1, count + 1):
            is_first = seed == 1 and over_s == SPREAD_S and not quick
            rounds.append(one_round(recorded, seed, over_s, bare=is_first))
            last = rounds[-1]
            print(
                f"  {name}, round {seed} of {count}: {last.off.mean_s:.2f} s without, "
                f"{last.on.mean_s:.2f} with, {last.on.alone_s:.2f} with no limits; "
                f"sleeps end {last.late_ms:.1f} ms late",
                flush=True,
            )
        tell(report, name, rounds)
    if not quick:
        unlimited(report, one_round(recorded, 1, SPREAD_S, plenty=PLENTY))


def simulate(report: Report, recorded: Sequence[list[Step]], seeds: int) -> None:
    """The driver's line alone, in virtual time: the same wherever and whenever it runs."""
    for name, (over_s, share) in VIRTUAL.items():
        pairs = [
            cloud_virtual.pair(jobs(recorded, seed, JOBS, over_s), seed, share=share)
            for seed in range(1, seeds + 1)
        ]
        ratios = [one.off.mean_s / one.on.mean_s for one in pairs]
        report.median(f"{name}: mean job time, off / on", ratios, "ratio", ">= 1")
        report.add(f"{name}: the same, worst and", min(ratios), "ratio")
        report.add(f"{name}: best seed", max(ratios), "ratio")
        waits = [one.off.waited_s / one.on.waited_s for one in pairs]
        report.median(f"{name}: waited for the limits, off / on", waits, "ratio")
        for side, arms in (("off", [one.off for one in pairs]), ("on", [one.on for one in pairs])):
            refused = [100 * each.refused / each.calls for each in arms]
            report.median(f"{name}, {side}: 429s a hundred calls", refused, "")
            lost = [100 * each.lost / JOBS for each in arms]
            report.median(f"{name}, {side}: jobs lost with two retries", lost, "%")


def unlimited(report: Report, last: Round) -> None:
    """What a kernel between takes of this machine's time as busy as it is, limits apart."""
    name = f"{JOBS} jobs within {SPREAD_S:.0f} s, limits {PLENTY:.0f} x as large"
    report.add(f"{name}: mean job time, off", last.off.mean_s, "s")
    report.add(f"{name}: mean job time, on", last.on.mean_s, "s")
    calls = last.on.calls / JOBS
    report.add(f"{name}: added a call", 1e3 * (last.on.mean_s - last.off.mean_s) / calls, "ms")


def tell(report: Report, name: str, rounds: Sequence[Round]) -> None:
    bare = [each.bare for each in rounds if each.bare is not None]
    arms = {"off": [each.off for each in rounds], "on": [each.on for each in rounds]}
    for side, runs in ({**arms, "off, unmarked": bare} if bare else arms).items():
        tell_arm(report, f"{name}, {side}", runs)
    ratios = [each.off.mean_s / each.on.mean_s for each in rounds]
    report.median(f"{name}: mean job time, off / on", ratios, "ratio", ">= 1")
    report.add(f"{name}: the same, worst round", min(ratios), "ratio")
    report.add(f"{name}: the same, best round", max(ratios), "ratio")
    waits = [each.off.waited_s / each.on.waited_s for each in rounds]
    report.median(f"{name}: waited for the limits, off / on", waits, "ratio")
    if bare:
        ratio = bare[0].mean_s / rounds[0].on.mean_s
        report.add(f"{name}: mean job time, off (unmarked) / on, one round", ratio, "ratio")
    late = [each.late_ms for each in rounds]
    report.median(f"{name}: sleeps of 20 ms end late by", late, "ms")


def tell_arm(report: Report, name: str, runs: Sequence[Arm]) -> None:
    report.median(f"{name}: mean job time", [arm.mean_s for arm in runs], "s")
    report.median(f"{name}: waited for the limits", [arm.waited_s for arm in runs], "s")
    p95s = [statistics.quantiles(arm.times_s, n=20)[-1] for arm in runs]
    report.median(f"{name}: p95 of job times", p95s, "s")
    report.median(f"{name}: last job ended after", [max(arm.times_s) for arm in runs], "s")
    report.median(f"{name}: 429s a hundred calls", [100 * a.refused / a.calls for a in runs], "")
    lost = [100 * arm.lost / len(arm.times_s) for arm in runs]
    report.median(f"{name}: jobs lost with the client's own two retries", lost, "%")
    shares = [100 * arm.cached_share for arm in runs]
    report.median(f"{name}: tokens read from the cache", shares, "%")


def parse() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="the folder with the traces"
    )
    return parser.parse_args()


def main() -> None:
    assert __doc__
    given = parse()
    report = begin(
        __doc__.splitlines()[0],
        "with the kernel nearly no 429s and no job lost, the cache as good as with the caller's "
        "own marks, and jobs as soon as those of clients that ask again for ever, or a few per "
        "cent sooner: such clients leave nothing of the limits unused",
    )
    measure(report, given.data, quick=given.quick)
    finish(report, given.json)


if __name__ == "__main__":
    main()
