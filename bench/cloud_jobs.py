"""Recorded agents' jobs, shrunk, and the clients that make their calls: for bench D.

Everything is in the time of the event loop, so it runs over sockets and in virtual time alike.
"""

import asyncio
import gzip
import json
import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.mock_provider import DECODE_S, FIRST_TOKEN_S, PREFILL_S, Reply, now_s

LASTS_S = 20.0
"""With nothing computed twice, the limit alone takes so long."""
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


Post = Callable[[str, bytes], Awaitable[Reply]]
"""A job's name and a body for `/v1/messages`."""


@dataclass(slots=True)
class Client:
    """How agents call, whoever answers; its time is its event loop's."""

    post: Post
    marks: bool
    chance: random.Random
    lost: set[str] = field(default_factory=set)

    async def run(self, job: Job) -> float:
        """Seconds from its arrival to its last answer."""
        await asyncio.sleep(job.arrives_s)
        arrived_s = now_s()
        messages: list[dict[str, object]] = []
        for number, step in enumerate(job.steps):
            if number:
                await asyncio.sleep(step.gap_s)
            text = f"step {number}: {words(job.name, step.new)}"
            messages.append({"role": "user", "content": text})
            said = await self.call(job, messages, step.output)
            messages.append({"role": "assistant", "content": said})
        return now_s() - arrived_s

    async def call(self, job: Job, messages: list[dict[str, object]], output: int) -> str:
        body: dict[str, object] = {"model": "mock", "max_tokens": output, "messages": messages}
        if self.marks:
            body["cache_control"] = {"type": "ephemeral"}
        for attempt in range(TRIES_MAX):
            reply = await self.post(job.name, json.dumps(body).encode())
            if reply.status == 200:
                return str(json.loads(reply.body)["content"][0]["text"])
            if reply.status not in (408, 409, 429, 500, 502, 503, 504, 529):
                raise RuntimeError(f"{reply.status}: {reply.body[:300]!r}")
            # As Anthropic's own client, which a caller lets try more often than twice.
            if attempt == PATIENCE:
                self.lost.add(job.name)
            wait_s = float(reply.headers.get("retry-after", 0) or 0)
            pause_s = min(0.5 * 2 ** min(attempt, 10), 8.0) * (1 - 0.25 * self.chance.random())
            await asyncio.sleep(wait_s or pause_s)
        raise RuntimeError(f"{job.name}: refused {TRIES_MAX} times")


async def all_of(todo: Sequence[Job], client: Client) -> list[float]:
    return list(await asyncio.gather(*(client.run(job) for job in todo)))


def arm(todo: Sequence[Job], times_s: list[float], client: Client, stats: dict[str, int]) -> Arm:
    return Arm(
        times_s=times_s,
        alone_s=statistics.fmean(job.alone_s for job in todo),
        refused=stats["refused"],
        input_tokens=stats["input_tokens"],
        cached_tokens=stats["cached_tokens"],
        calls=stats["served"],
        lost=len(client.lost),
    )
