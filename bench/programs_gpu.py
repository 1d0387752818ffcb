"""What does the kernel do for agents on an engine on a GPU, and what does it cost the engine?  (C)

`--engine URL` names a server of one's own (vLLM, SGLang, llama.cpp's); without one there is nothing
to measure, and that is said.  The same programs run straight against the server and through a
kernel before it, in turn (ABAB), open loop at shares of what the server itself can do.  Then calls
with nothing in common, many at once: what of its throughput a kernel before it costs.
"""

import argparse
import asyncio
import dataclasses
import math
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from msgspec.structs import replace

from bench.real_arms import Straight, Through
from bench.real_load import Answer, Arm, Outcome, Program, Session, call_of, recorded, run
from bench.report import Report, begin, finish, powered
from orlop.abi.calls import Infer
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.devices.openai import OpenAI
from orlop.drivers.engines import EngineConfig
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock
from orlop.settings import ModelsConfig, Settings
from orlop.state.core import KernelConfig

EXPECTED = (
    "the ratios of bench A within 15 %: 1.3 times better mean job time at the knee, twice at twice "
    "the knee, nothing lost at half load; less than 1 % of the engine's throughput"
)
QUESTION = "What does the kernel do for agents on an engine on a GPU, and what does it cost it?"
SEED = 20_261_121
DATA = Path("../shared/data")
CHARS_PER_TOKEN = 4
LOADS = (0.5, 1.0, 1.3, 2.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of the server."""

    engine: EngineConfig
    model: str
    key: str
    agents: int
    rounds: int
    context: int
    """Tokens of an agent's first prompt, about; each later call adds a sixteenth."""
    output: int
    seats: int


@dataclass(slots=True)
class Named:
    """An arm whose calls are of the server's model, and as long as the plan has them."""

    arm: Arm
    plan: Plan

    async def ask(
        self, program: str, call: Infer, latency_class: LatencyClass = "standard"
    ) -> Answer:
        wanted = replace(call, model=self.plan.model, output_tokens_max=self.plan.output)
        return await self.arm.ask(program, wanted, latency_class)

    async def end(self, program: str) -> None:
        await self.arm.end(program)


@asynccontextmanager
async def straight(plan: Plan) -> AsyncIterator[Named]:
    server = OpenAI(
        EngineName("server"),
        plan.engine.url,
        clock=SystemClock(),
        chance=SystemChance(),
        key=plan.key,
        slots=4_096,
    )
    await server.start()
    try:
        yield Named(Straight(server, ModelName(plan.model)), plan)
    finally:
        await server.close()


@asynccontextmanager
async def through(plan: Plan) -> AsyncIterator[Named]:
    """A whole kernel before the server: journal on SQLite, scheduler, driver; no HTTP before it."""

    def settings(scratch: str) -> Settings:
        return Settings(
            kernel=KernelConfig(),
            models=ModelsConfig(dir=scratch),
            engines={"far": plan.engine},
        )

    async with powered(settings) as kernel:
        yield Named(Through(kernel), plan)


def tasks(
    sessions: Sequence[Session], plan: Plan, seed: int, jobs_s: float, tag: str
) -> list[Program]:
    """Agents whose first prompt is as long as the plan says, with few that make most of the calls.

    jobs_s: how many arrive in a second; 0: all at once.  tag: of one run, so that none finds in the
    server's cache what another has computed.
    """
    chance, made, arrives_s = random.Random(seed), list[Program](), 0.0
    size, step = plan.context * CHARS_PER_TOKEN, plan.context * CHARS_PER_TOKEN // 16
    for number in range(plan.agents):
        calls = min(40, int(2 * chance.paretovariate(1.2)))
        text = "\n".join("\n".join(chance.choice(sessions).says) for _ in range(4))
        text = text * (1 + (size + step * calls) // max(1, len(text)))
        head = f"[{tag}, agent {number}] {text[:size]}"
        rest = (text[size + at * step :][:step] or "Go on." for at in range(calls - 1))
        gaps = (0.0, *(min(60.0, chance.paretovariate(1.5)) for _ in range(calls - 1)))
        made.append(Program(arrives_s, (head, *rest), tuple(gaps)))
        arrives_s += chance.expovariate(jobs_s) if jobs_s else 0.0
    return made


def p95(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


async def loads(
    report: Report, arms: dict[str, Named], sessions: list[Session], plan: Plan
) -> None:
    """Open loop, at shares of what the server does by itself when it is never idle."""
    closed = await run(tasks(sessions, plan, SEED - 1, 0.0, "all"), arms["straight"], "warm")
    able = plan.agents / closed.span_s
    report.add("jobs that the server itself does, all at once", able * 3_600, "an hour")
    for load in LOADS if plan.rounds > 1 else LOADS[::2]:
        found: dict[str, list[Outcome]] = {name: [] for name in arms}
        for number in range(plan.rounds):
            for name in arms if number % 2 == 0 else reversed(arms):
                tag = f"{name}-{load}-{number}"
                given = tasks(sessions, plan, SEED + number, load * able, tag)
                found[name].append(await run(given, arms[name], tag))
        pairs = list(zip(found["straight"], found["kernel"], strict=True))
        means = [statistics.fmean(a.took_s) / statistics.fmean(b.took_s) for a, b in pairs]
        tails = [p95(a.took_s) / p95(b.took_s) for a, b in pairs]
        goal = "≥ 0.98" if load < 1 else ""
        title = f"{load:g} times that"
        report.add(
            f"{title}: mean job time, straight ÷ kernel",
            statistics.geometric_mean(means),
            "ratio",
            goal,
        )
        report.add(f"{title}: least of {plan.rounds} rounds", min(means), "ratio")
        report.add(f"{title}: p95, straight ÷ kernel", statistics.geometric_mean(tails), "ratio")
        for name, outcomes in found.items():
            cached = sum(one.cached_tokens for one in outcomes)
            read = sum(one.input_tokens for one in outcomes)
            report.add(f"{title}: tokens found computed, {name}", cached / max(1, read), "share")


async def overhead(report: Report, arms: dict[str, Named], plan: Plan) -> None:
    """Calls with nothing in common, `seats` at once for as long as four rounds of them take."""
    speeds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(2 * plan.rounds):
        for name in arms if number % 2 == 0 else reversed(arms):
            speeds[name].append(await _tokens_s(arms[name], plan, f"{name}-{number}"))
    for name, found in speeds.items():
        report.median(f"{plan.seats} calls at once: tokens, {name}", found, "a second")
    lost = [1 - on / off for off, on in zip(speeds["straight"], speeds["kernel"], strict=True)]
    report.median("of the engine's throughput, what a kernel costs", lost, "share", "≤ 0.01")


async def _tokens_s(arm: Named, plan: Plan, tag: str) -> float:
    words = "one two three four five six seven eight nine ten " * 20
    done = list[Answer]()

    async def client(number: int) -> None:
        for turn in range(4):
            message = Message("user", f"[{tag}, {number}, {turn}] {words}")
            done.append(await arm.ask(f"{tag}-{number}", call_of([message])))
        await arm.end(f"{tag}-{number}")

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as clients:
        for number in range(plan.seats):
            clients.create_task(client(number))
    tokens = sum(answer.input_tokens + answer.output_tokens for answer in done)
    return tokens / (time.perf_counter() - began_s)


async def measure(report: Report, plan: Plan, data: Path) -> None:
    sessions = recorded(data)
    async with straight(plan) as server, through(plan) as ours:
        arms = {"straight": server, "kernel": ours}
        for arm in arms.values():
            await arm.ask("warm", call_of([Message("user", "warm")]))
        await overhead(report, arms, plan)
        await loads(report, arms, sessions, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--engine", default="", help="the server's address, as http://HOST:8000")
    parser.add_argument("--model", default="", help="as the server calls it; empty: its first")
    parser.add_argument("--driver", default="vllm", help="what speaks to it, as in orlop.toml")
    parser.add_argument("--key-env", default="", help="the variable that holds the server's key")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with `lmcache_agent/`")
    parser.add_argument("--agents", type=int, default=64, help="of each run")
    parser.add_argument("--context", type=int, default=8_000, help="tokens of a first prompt")
    parser.add_argument("--output", type=int, default=128, help="tokens of an answer, at most")
    parser.add_argument("--seats", type=int, default=64, help="calls at once for the overhead")
    found = parser.parse_args()
    if not found.engine:
        print(
            "no engine: this bench asks a server on a GPU machine, and none was named.\n"
            "Start one (vllm serve MODEL --enable-prompt-tokens-details "
            "--scheduling-policy priority)\nand name it: python -m bench.programs_gpu --engine http://HOST:8000"
        )
        return
    engine = EngineConfig(driver=found.driver, url=found.engine, key_env=found.key_env, paid=False)
    plan = Plan(
        engine=engine,
        model=found.model,
        key=os.environ.get(found.key_env, "") if found.key_env else "",
        agents=min(found.agents, 8) if found.quick else found.agents,
        rounds=1 if found.quick else 5,
        context=found.context,
        output=found.output,
        seats=found.seats,
    )
    report = begin(QUESTION, EXPECTED)
    uvloop.run(begun(report, plan, found.data))
    finish(report, found.json)


async def begun(report: Report, plan: Plan, data: Path) -> None:
    if not plan.model:
        async with straight(plan) as arm:
            assert isinstance(arm.arm, Straight)
            (card, *_) = await arm.arm.server.models()
        plan = dataclasses.replace(plan, model=card.name)
    await measure(report, plan, data)


if __name__ == "__main__":
    main()
