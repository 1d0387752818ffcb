"""What does a kernel in front of a provider's limits save: time, refusals, tokens computed again?

Agents with heavy-tailed numbers of calls, whose prompts grow as they work, share one key of a mock
provider (`bench.mock_provider`) that enforces requests and tokens a minute and has a prompt cache.
Without the kernel each calls the provider itself, and waits and asks again as the official client
does (`retry-after`, else doubling pauses), but for ever, with marks for the cache and without.
With it, the same agents make the same calls to a kernel whose `cloud` engine leads to a provider of
the same kind.  A job's time is from its arrival to its last answer.

Both sides of a round run at the same time, so that whatever else the machine does meets both; how
late a short sleep ends tells how busy it was.
"""

import argparse
import asyncio
import contextlib
import gzip
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
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.mock_provider import DECODE_S, FIRST_TOKEN_S, PREFILL_S
from bench.report import Report, begin, finish

SPREAD_S, AT_ONCE_S = 5.0, 1.0
"""Over how long the jobs of a round arrive."""
LASTS_S = 20.0
"""With nothing computed twice, the limit alone takes so long."""
JOBS = 80
TRACES = "claude_code_traces/claude_code_calls.jsonl.gz"
CALLS_MAX = 24
SHRINK = 60
"""Recorded tokens to ours: the provider's tokens are made of real text on a real socket."""
GAP_SHRINK = 30
GAP_S_MAX = 2.0
TOKENS_A_REQUEST = 500 / SHRINK
"""As documented for Anthropic's highest tier: 2,000,000 tokens and 4,000 requests a minute."""
TRIES_MAX = 200
PATIENCE = 2
"""Times that the official client asks again, unless told otherwise: then the job has failed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call: `new` tokens more than the last prompt and answer, after a gap."""

    gap_s: float
    new: int
    output: int


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    arrives_s: float
    steps: tuple[Step, ...]

    @property
    def fresh(self) -> int:
        """Tokens to compute where the cache misses nothing."""
        return sum(step.new for step in self.steps)

    @property
    def alone_s(self) -> float:
        """How long it takes where no limit holds it up."""
        calls = sum(
            FIRST_TOKEN_S + step.new * PREFILL_S + step.output * DECODE_S for step in self.steps
        )
        return calls + sum(step.gap_s for step in self.steps[1:])


@dataclass(slots=True)
class Arm:
    """What came out of one run of all jobs."""

    times_s: list[float]
    alone_s: float
    """The mean time of its jobs, each alone."""
    refused: int
    input_tokens: int
    cached_tokens: int
    calls: int
    lost: int
    """Jobs with a call that was refused more than PATIENCE times."""

    @property
    def mean_s(self) -> float:
        return statistics.fmean(self.times_s)

    @property
    def waited_s(self) -> float:
        """What a job waited for the limits, on average."""
        return self.mean_s - self.alone_s

    @property
    def cached_share(self) -> float:
        return self.cached_tokens / max(1, self.input_tokens)


def traces(data: Path) -> list[list[Step]]:
    """The main agents' calls of recorded coding sessions, shrunk; made up where there are none."""
    path = data / TRACES
    if not path.is_file():
        print(f"no {path}: jobs are made up, with lengths and sizes as recorded ones have them")
        chance = random.Random(1)
        return [[_made_up(chance) for _ in range(_length(chance))] for _ in range(400)]
    calls: dict[str, list[dict[str, float]]] = {}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            call = json.loads(line)
            if call["agent"] == "0":
                calls.setdefault(call["trace"], []).append(call)
    return [_shrunk(found) for found in calls.values()]


def _made_up(chance: random.Random) -> Step:
    gap_s = min(GAP_S_MAX, chance.lognormvariate(2.2, 1.2) / GAP_SHRINK)
    new = max(8, int(chance.lognormvariate(6.6, 1.3) / SHRINK * 4))
    return Step(gap_s, new, max(2, int(chance.lognormvariate(5.4, 1.2) / SHRINK * 4)))


def _length(chance: random.Random) -> int:
    return min(CALLS_MAX, max(1, int(chance.lognormvariate(1.6, 1.1))))


def _shrunk(calls: Sequence[dict[str, float]]) -> list[Step]:
    steps, before = [], 0.0
    for call in calls[:CALLS_MAX]:
        new = max(8, int((call["in"] - before) / SHRINK))
        steps.append(
            Step(
                gap_s=min(GAP_S_MAX, max(0.0, call.get("think") or 0.0) / GAP_SHRINK),
                new=new,
                output=max(2, int(call["out"] / SHRINK)),
            )
        )
        before = max(before, call["in"])
    return steps


def jobs(recorded: Sequence[list[Step]], seed: int, count: int, over_s: float) -> list[Job]:
    """Cut at a random length each: short tasks and long ones, as people give them."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        steps = chance.choice(recorded)
        cut = max(1, min(len(steps), _length(chance)))
        arrives_s = chance.uniform(0, over_s)
        made.append(Job(f"job-{seed}-{number}", arrives_s, tuple(steps[:cut])))
    return made


def words(name: str, tokens: int) -> str:
    """So many tokens of text that no other job has."""
    unit = f"{name} "
    return (unit * (tokens * 4 // len(unit) + 1))[: tokens * 4]


@dataclass(slots=True)
class Client:
    """How agents call: `url` is the provider's or the kernel's."""

    session: aiohttp.ClientSession
    url: str
    headers: dict[str, str]
    marks: bool
    chance: random.Random
    began_s: float
    lost: set[str] = field(default_factory=set)

    async def run(self, job: Job) -> float:
        """Seconds from its arrival to its last answer."""
        await asyncio.sleep(max(0.0, self.began_s + job.arrives_s - time.monotonic()))
        arrived_s = time.monotonic()
        messages: list[dict[str, object]] = []
        for number, step in enumerate(job.steps):
            if number:
                await asyncio.sleep(step.gap_s)
            text = f"step {number}: {words(job.name, step.new)}"
            messages.append({"role": "user", "content": text})
            said = await self.call(job, messages, step.output)
            messages.append({"role": "assistant", "content": said})
        return time.monotonic() - arrived_s

    async def call(self, job: Job, messages: list[dict[str, object]], output: int) -> str:
        body: dict[str, object] = {"model": "mock", "max_tokens": output, "messages": messages}
        if self.marks:
            body["cache_control"] = {"type": "ephemeral"}
        headers = {**self.headers, "orlop-process": job.name, "anthropic-version": "2023-06-01"}
        for attempt in range(TRIES_MAX):
            async with self.session.post(
                f"{self.url}/v1/messages", json=body, headers=headers
            ) as response:
                if response.status == 200:
                    answer = await response.json()
                    return str(answer["content"][0]["text"])
                told = await response.text()
                if response.status not in (408, 409, 429, 500, 502, 503, 504, 529):
                    raise RuntimeError(f"{response.status}: {told[:300]}")
                wait_s = float(response.headers.get("retry-after", 0) or 0)
            # As Anthropic's own client, which a caller lets try more often than twice.
            if attempt == PATIENCE:
                self.lost.add(job.name)
            pause_s = min(0.5 * 2 ** min(attempt, 10), 8.0) * (1 - 0.25 * self.chance.random())
            await asyncio.sleep(wait_s or pause_s)
        raise RuntimeError(f"{job.name}: refused {TRIES_MAX} times")


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
        headers = {"authorization": f"Bearer {key}"} if key else {}
        client = Client(session, url, headers, marks, random.Random(seed), time.monotonic())
        times_s = await asyncio.gather(*(client.run(job) for job in todo))
        async with session.get(f"{at_provider}/stats") as response:
            stats = await response.json()
    return Arm(
        times_s=list(times_s),
        alone_s=statistics.fmean(job.alone_s for job in todo),
        refused=stats["refused"],
        input_tokens=stats["input_tokens"],
        cached_tokens=stats["cached_tokens"],
        calls=stats["served"],
        lost=len(client.lost),
    )


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


def one_round(recorded: Sequence[list[Step]], seed: int, over_s: float, *, bare: bool) -> Round:
    """Providers and a kernel of its own: nothing that was learned helps the next one."""
    todo = jobs(recorded, seed, JOBS, over_s)
    tokens = math.ceil(sum(job.fresh for job in todo) / LASTS_S * 60)
    with contextlib.ExitStack() as held:
        urls = [held.enter_context(provider(tokens)) for _ in range(3 if bare else 2)]
        kernel_url, key = held.enter_context(kernel(urls[1]))
        return asyncio.run(side_by_side(todo, urls, kernel_url, key, seed=seed))


def measure(report: Report, data: Path, *, quick: bool) -> None:
    recorded = traces(data)
    counts = {SPREAD_S: 1} if quick else {SPREAD_S: 5, AT_ONCE_S: 3}
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


def tell(report: Report, name: str, rounds: Sequence[Round]) -> None:
    bare = [each.bare for each in rounds if each.bare is not None]
    arms = {"off": [each.off for each in rounds], "on": [each.on for each in rounds]}
    for arm, runs in ({**arms, "off, unmarked": bare} if bare else arms).items():
        tell_arm(report, f"{name}, {arm}", runs)
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
