"""Agents for a real model: prompts of recorded agents, heavy-tailed lengths, open-loop arrivals.

A program is of the kind of agent that was recorded, says what that one said, call by call, as far
as it fits the model's window, and makes at least as many calls as any of them did.
"""

import asyncio
import gzip
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from orlop.abi.calls import Infer, Sampling
from orlop.abi.hints import LatencyClass
from orlop.abi.messages import Message

FIRST_CHARS = 1_600
"""Of an agent's first prompt: about 400 tokens."""

STEP_CHARS = 960
"""Of what each later call adds, at most: about 240 tokens."""

SAID_CHARS = 9_000
"""Of all that an agent says: a slot has 4,096 tokens."""

OUTPUT_TOKENS = 8
"""A tool's name and a word or two."""

CALLS_MIN = 4
"""The fewest that a recorded agent made."""

CALLS_MAX = 24
TAIL = 1.5
"""Pareto's index of the number of calls."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call came to."""

    text: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    first_s: float
    total_s: float


class Arm(Protocol):
    """A way to the model."""

    async def ask(
        self, program: str, call: Infer, latency_class: LatencyClass = "standard"
    ) -> Answer: ...

    async def end(self, program: str) -> None:
        """Nothing more will come of it."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """One recorded agent: of which kind it was, and what its prompts added call by call."""

    kind: str
    says: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """One agent's task: what it says call by call, and how long its tools take between."""

    arrives_s: float
    says: tuple[str, ...]
    gaps_s: tuple[float, ...]
    kind: str = "agent"


@dataclass(slots=True)
class Outcome:
    """How a run went."""

    took_s: list[float] = field(default_factory=list)
    """From each program's arrival to its end, in the programs' order."""
    texts: list[str] = field(default_factory=list)
    calls: list[list[tuple[int, int]]] = field(default_factory=list)
    """Tokens read and written, call by call, of each program."""
    input_tokens: int = 0
    cached_tokens: int = 0
    span_s: float = 0.0


def recorded(data: Path) -> list[Session]:
    path = data / "lmcache_agent" / "agent_text.jsonl.gz"
    sessions: dict[tuple[str, str], list[tuple[int, str]]] = {}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            key = row["family"], row["session"]
            sessions.setdefault(key, []).append((row["i"], row["append"]))
    return [
        Session(kind, tuple(said for _, said in sorted(rows)))
        for (kind, _), rows in sessions.items()
    ]


def programs(
    sessions: Sequence[Session],
    count: int,
    seed: int,
    work_s: Callable[[int, int], float],
    load: float,
) -> list[Program]:
    """work_s: what a program takes alone, given its tokens to read and to write.

    load: work that arrives in a second, in seconds: 1 is what the engine can just do; 0: all come
    at once.  Of the calls few programs have most.
    """
    chance = random.Random(seed)
    made, arrives_s = [], 0.0
    for number in range(count):
        session = chance.choice(sessions)
        wanted = min(CALLS_MAX, int(CALLS_MIN * chance.paretovariate(TAIL)))
        # A header of its own, so that no run finds what another has computed.
        says = _said(f"[run {seed}, agent {number}] ", session.says[:wanted])
        gaps = (0.0, *(min(20.0, chance.paretovariate(1.5) * 0.5) for _ in says[1:]))
        made.append(Program(arrives_s, says, gaps, session.kind))
        if load:
            read = sum(len(said) for said in says) // 4
            written = len(says) * OUTPUT_TOKENS
            arrives_s += chance.expovariate(1.0) * work_s(read, written) / load
    return made


def _said(header: str, recorded: Sequence[str]) -> tuple[str, ...]:
    """As much of it as fits the window."""
    says, chars = [(header + recorded[0])[:FIRST_CHARS]], FIRST_CHARS
    for said in recorded[1:]:
        says.append(said[:STEP_CHARS] or "Go on.")
        chars += len(says[-1])
        if chars > SAID_CHARS:
            break
    return tuple(says)


async def run(given: Sequence[Program], arm: Arm, tag: str) -> Outcome:
    """All programs against one arm; `tag` makes their names its own: KIND/TAG-NUMBER."""
    outcome = Outcome([0.0] * len(given), [""] * len(given), [[] for _ in given])
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number, program in enumerate(given):
            name = f"{program.kind}/{tag}-{number}"
            tasks.create_task(_agent(number, program, arm, name, outcome, began_s))
    outcome.span_s = time.perf_counter() - began_s
    return outcome


async def _agent(
    number: int, program: Program, arm: Arm, name: str, outcome: Outcome, began_s: float
) -> None:
    await asyncio.sleep(max(0.0, program.arrives_s - (time.perf_counter() - began_s)))
    arrived_s = time.perf_counter()
    messages: list[Message] = []
    for said, gap_s in zip(program.says, program.gaps_s, strict=True):
        if gap_s:
            await asyncio.sleep(gap_s)
        messages.append(Message("user", said))
        answer = await arm.ask(name, call_of(messages))
        messages.append(Message("assistant", answer.text))
        outcome.texts[number] += answer.text
        outcome.calls[number].append((answer.input_tokens, answer.output_tokens))
        outcome.input_tokens += answer.input_tokens
        outcome.cached_tokens += answer.cached_tokens
    await arm.end(name)
    outcome.took_s[number] = time.perf_counter() - arrived_s


def call_of(messages: Sequence[Message], tokens: int = OUTPUT_TOKENS) -> Infer:
    """Greedy, so that arms can be compared word for word."""
    call = Infer(model="smollm2", messages=tuple(messages), dialect="openai")
    return replace(call, output_tokens_max=tokens, sampling=Sampling(temperature=0.0))
