"""What does the kernel do for agents on a real model, against the same engine without it?

Agents with recorded prompts and heavy-tailed lengths arrive at and beyond what the engine can do.
Each round runs every arm on the same programs, one after another (ABAB), each with a host of its
own that idles meanwhile.  "Shipped" is llama.cpp's server with its host prompt cache, "bare" is
the same without it; both are asked directly, without any kernel.
"""

import argparse
import asyncio
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import real_forecast
from bench.real_arms import SLOTS, Straight, Through, straight, through
from bench.real_load import (
    Arm,
    Outcome,
    Program,
    call_of,
    programs,
    recorded,
    run,
)
from bench.report import Report, begin, finish
from orlop.abi.ids import EngineName
from orlop.abi.messages import Message
from orlop.devices.llamacpp import LlamaCpp

EXPECTED = (
    "mean job time 1.4 times better than shipped and 2.5 than bare beyond the knee, about the same "
    "below it; a switch in tens of milliseconds against seconds to compute again"
)
SEED = 20_261_121
PIECE_TOKENS = 128
DATA = Path("../shared/data")

WorkS = Callable[[int, int], float]


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


async def pace(arm: Straight) -> tuple[float, float]:
    """Seconds to read a token and to write one, alone: what the load is scaled to."""
    prompt = [Message("user", "one two three four five six seven eight nine ten " * 60)]
    await arm.ask("pace", call_of([Message("user", "warm")], 2))
    read = await arm.ask("pace", call_of(prompt, 1))
    write = await arm.ask("pace", call_of(prompt, 33))
    return read.total_s / read.input_tokens, (write.total_s - write.first_s) / 32


async def mix(
    report: Report,
    arms: Mapping[str, Arm],
    sessions: Sequence[Sequence[str]],
    work_s: WorkS,
    *,
    count: int,
    load: float,
    rounds: int,
) -> None:
    """The same programs on each arm, arm after arm, round after round."""
    found: dict[str, list[Outcome]] = {name: [] for name in arms}
    rounds_given = [programs(sessions, count, SEED + n, work_s, load) for n in range(rounds)]
    for number, given in enumerate(rounds_given):
        names = list(arms)
        # Each arm is first as often as last.
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(await run(given, arms[name], f"{name}-{load}-{number}"))
    title = f"{count} agents, {load:g} of capacity" if load else f"{count} agents, all at once"
    for name, outcomes in found.items():
        report.add(f"{title}: mean job time, {name}", mean_s(outcomes), "s")
    ours = found["kernel"]
    goals = {"shipped": "≥ 1.4", "bare": "≥ 2.5"} if load >= 1 or not load else {}
    for name, outcomes in found.items():
        if name == "kernel":
            continue
        ratios = [
            statistics.fmean(off.took_s) / statistics.fmean(on.took_s)
            for off, on in zip(outcomes, ours, strict=True)
        ]
        tails = [
            percentile(off.took_s, 0.95) / percentile(on.took_s, 0.95)
            for off, on in zip(outcomes, ours, strict=True)
        ]
        report.add(
            f"{title}: mean, {name} ÷ kernel", geometric(ratios), "ratio", goals.get(name, "")
        )
        report.add(f"{title}: least of {rounds} rounds, {name}", min(ratios), "ratio")
        report.add(f"{title}: p95, {name} ÷ kernel", geometric(tails), "ratio", "≥ 1")
    for name, outcomes in found.items():
        read = sum(outcome.input_tokens for outcome in outcomes)
        cached = sum(outcome.cached_tokens for outcome in outcomes)
        report.add(f"{title}: tokens found computed, {name}", cached / read, "share")
    forecasts(report, title, rounds_given, found, arms)
    same = (
        [
            one == other
            for off, on in zip(found["shipped"], ours, strict=True)
            for one, other in zip(off.texts, on.texts, strict=True)
        ]
        if "shipped" in found
        else []
    )
    if same:
        report.add(
            f"{title}: programs with word-for-word equal answers", sum(same) / len(same), "share"
        )


def forecasts(
    report: Report,
    title: str,
    given: Sequence[Sequence[Program]],
    found: Mapping[str, Sequence[Outcome]],
    arms: Mapping[str, Arm],
) -> None:
    """The engine model in virtual time, against what really ran."""
    ours = arms["kernel"]
    assert isinstance(ours, Through)
    capacity = ours.kernel.registry.engines[EngineName("local")].capacity()
    for name, make in (("kernel", real_forecast.kernel), ("shipped", real_forecast.straight)):
        ratios = [
            real_forecast.mean_s(programs, real, capacity, make) / statistics.fmean(real.took_s)
            for programs, real in zip(given, found[name], strict=True)
        ]
        report.add(f"{title}: simulated ÷ real, {name}", geometric(ratios), "ratio", "0.8 to 1.2")
    bounds = [
        real_forecast.mean_s(programs, real, capacity, real_forecast.straight)
        / real_forecast.mean_s(programs, real, capacity, real_forecast.clairvoyant)
        for programs, real in zip(given, found["shipped"], strict=True)
    ]
    report.add(f"{title}: mean, shipped ÷ clairvoyant, simulated", geometric(bounds), "ratio")


def mean_s(outcomes: Sequence[Outcome]) -> float:
    return statistics.fmean(took_s for outcome in outcomes for took_s in outcome.took_s)


async def interactive(
    report: Report,
    arms: Mapping[str, Arm],
    sessions: Sequence[Sequence[str]],
    *,
    calls: int,
    piece_s: float,
) -> None:
    """Short questions while long prompts are read and answered in the background."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for name, arm in arms.items():
        idle = [await _question(arm, name, at) for at in range(calls)]
        background = [
            asyncio.create_task(_grind(arm, f"{name}-grind-{at}", sessions[at])) for at in range(6)
        ]
        try:
            await asyncio.sleep(1.0)
            busy = []
            for at in range(calls):
                busy.append(await _question(arm, name, calls + at))
                await asyncio.sleep(1.0)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        found[name] = idle, busy
    for name, (idle, busy) in found.items():
        report.add(f"interactive call alone, p95, {name}", percentile(idle, 0.95), "s")
        report.add(f"interactive call under load, p95, {name}", percentile(busy, 0.95), "s")
    ours_idle, ours_busy = (percentile(values, 0.95) for values in found["kernel"])
    for name, (_, busy) in found.items():
        if name != "kernel":
            ratio = percentile(busy, 0.95) / ours_busy
            report.add(f"interactive p95 under load, {name} ÷ kernel", ratio, "ratio", "≥ 3")
    pieces = (ours_busy - ours_idle) / piece_s
    report.add("interactive p95, over its p95 alone", pieces, "pieces", "≤ 2")


async def _question(arm: Arm, name: str, number: int) -> float:
    call = call_of([Message("user", f"Say hello to guest {number}.")], 8)
    answer = await arm.ask(f"{name}-guest-{number}", call, "interactive")
    await arm.end(f"{name}-guest-{number}")
    return answer.total_s


async def _grind(arm: Arm, name: str, said: Sequence[str]) -> None:
    """One long prompt after another, for ever."""
    number = 0
    while True:
        text = f"[{name} {number}] " + " ".join(said)[:4_000]
        await arm.ask(name, call_of([Message("user", text)], 32), "batch")
        number += 1


async def switches(report: Report, arm: Through, text: str, rounds: int) -> None:
    """Taking a program's context off the device and bringing it back, against computing it."""
    engine = arm.kernel.registry.engines[EngineName("local")]
    assert isinstance(engine, LlamaCpp)
    contexts = engine.contexts
    assert contexts is not None
    switched, computed, tokens = [], [], 0
    for number in range(rounds):
        name = f"switch {number}"
        call = call_of([Message("user", f"[{name}] {text}"[:6_000])], 1)
        cold = await arm.ask(name, call)
        computed.append(cold.total_s)
        tokens = cold.input_tokens
        warm = await arm.ask(name, call)
        process = str(arm.processes[name].row.id)
        began_s = time.perf_counter()
        await contexts.save(process)
        saved_s = time.perf_counter() - began_s
        for other in range(SLOTS):
            await arm.ask(f"{name} {other}", call_of([Message("user", f"{number} {other}")], 1))
        back = await arm.ask(name, call)
        assert back.cached_tokens >= tokens - 1, "it was computed again"
        switched.append(saved_s + max(0.0, back.total_s - warm.total_s))
    report.add("context that is switched", tokens, "tokens", "≥ 1,000")
    report.add("context switch: save and bring back, median", statistics.median(switched), "s")
    report.add("the same computed again, median", statistics.median(computed), "s")
    ratio = statistics.median(computed) / statistics.median(switched)
    report.add("computed again ÷ switched", ratio, "ratio", "≥ 100")


async def cold_starts(report: Report, rounds: int) -> None:
    """From nothing to the first token."""
    disk, hot = [], []
    for _ in range(rounds):
        began_s = time.perf_counter()
        async with straight(cache=True) as arm:
            call = call_of([Message("user", "hi")], 1)
            await arm.ask("cold", call)
            disk.append(time.perf_counter() - began_s)
            hot.append((await arm.ask("hot", call)).total_s)
    for name, values in (("host memory (page cache)", disk), ("hot", hot)):
        report.add(f"cold start from {name}, p50", statistics.median(values), "s")
        report.add(f"cold start from {name}, p95", percentile(values, 0.95), "s")


async def aios(
    report: Report, ours: Through, sessions: Sequence[Sequence[str]], work_s: WorkS, count: int
) -> None:
    """The AIOS paper's setting: all at once, an engine that computes each prompt from its start."""
    given = programs(sessions, count, SEED + 99, work_s, 0.0)
    async with straight(cache=False, reuse=False) as arm:
        without = await run(given, arm, "aios")
    through_us = await run(given, ours, "aios-kernel")
    report.add(
        "all at once, no prefix reuse: time for all ÷ kernel",
        without.span_s / through_us.span_s,
        "ratio",
        "AIOS: 2.1",
    )
    ratio = statistics.fmean(without.took_s) / statistics.fmean(through_us.took_s)
    report.add("all at once, no prefix reuse: mean ÷ kernel", ratio, "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of the mixes."""

    rounds: int
    count: int
    loads: tuple[float, ...]


PARTS = ("switch", "interactive", "mix", "aios", "cold")


async def measure(
    report: Report, data: Path, parts: Sequence[str], size: Size, *, quick: bool
) -> None:
    """Load is scaled to what the engine does alone, so it is measured first, on this machine."""
    sessions = recorded(data)
    async with AsyncExitStack() as stack:
        shipped = await stack.enter_async_context(straight(cache=True))
        bare = await stack.enter_async_context(straight(cache=False))
        kernel = await stack.enter_async_context(through())
        read_s, write_s = await pace(shipped)
        report.add("reading a token, alone", read_s * 1e3, "ms")
        report.add("writing a token, alone", write_s * 1e3, "ms")

        def work_s(read: int, write: int) -> float:
            # Four slots write at once in little more than one step's time.
            return read * read_s + write * write_s / 2

        if "switch" in parts:
            await switches(report, kernel, " ".join(sessions[0]), 3 if quick else 9)
        if "interactive" in parts:
            fast: dict[str, Arm] = {"shipped": shipped, "kernel": kernel}
            calls, piece_s = 4 if quick else 20, PIECE_TOKENS * read_s
            await interactive(report, fast, sessions, calls=calls, piece_s=piece_s)
        arms: dict[str, Arm] = {"shipped": shipped, "bare": bare, "kernel": kernel}
        for load in size.loads if "mix" in parts else ():
            await mix(
                report, arms, sessions, work_s, count=size.count, load=load, rounds=size.rounds
            )
        if "mix" in parts and 0.0 not in size.loads and not quick:
            await mix(report, arms, sessions, work_s, count=32, load=0.0, rounds=2)
        if "aios" in parts:
            await aios(report, kernel, sessions, work_s, 6 if quick else 16)
    if "cold" in parts:
        await cold_starts(report, 2 if quick else 7)


def main() -> None:
    assert __doc__
    question = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with `lmcache_agent/`")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    parser.add_argument("--agents", type=int, default=24, help="of each mix")
    parser.add_argument("--load", type=float, action="append", help="only this; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="of each mix, a seed each")
    given = parser.parse_args()
    report = begin(question, EXPECTED)
    loads = tuple(given.load or (0.5, 1.0, 1.6))
    size = Size(rounds=given.rounds, count=given.agents, loads=loads)
    if given.quick:
        size = Size(rounds=1, count=10, loads=(1.6,))
    uvloop.run(measure(report, given.data, given.part or PARTS, size, quick=given.quick))
    finish(report, given.json)


if __name__ == "__main__":
    main()
