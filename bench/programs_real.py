"""What does the kernel do for agents on a real model, against the same engine without it?

Agents of three recorded kinds, with their prompts and heavy-tailed lengths, arrive at and beyond
what the engine can do (bench/real_load.py).  Each round runs every arm on the same programs, one
after another (ABAB), each with a host of its own that idles meanwhile.  "Shipped" is llama.cpp's
server with its host prompt cache, "bare" is the same without it; both are asked directly, without
any kernel.  The kernel has seen 24 other programs before it is measured.
"""

import argparse
import asyncio
import dataclasses
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from bench.real_arms import SLOTS, Through, straight, through
from bench.real_forecast import Pace
from bench.real_load import Arm, Session, call_of, programs, recorded, run
from bench.real_mix import MIXES, SEED, Bench, Mix, WorkS, percentile
from bench.report import Report, begin, finish
from orlop.abi.ids import EngineName
from orlop.abi.messages import Message
from orlop.devices.llamacpp import LlamaCpp
from orlop.devices.llamacpp_host import PIECE_TOKENS

EXPECTED = (
    "mean job time 1.4 times better than shipped at twice the knee, where who knows all lengths "
    "gets 1.6, 1.2 at the knee, and the same below it and with eight agents; 2.5 times better than "
    "bare; a switch in tens of milliseconds against seconds to compute again"
)
DATA = Path("../shared/data")


async def interactive(
    report: Report,
    arms: Mapping[str, Arm],
    sessions: Sequence[Session],
    *,
    calls: int,
    piece_s: float,
) -> None:
    """Short questions while long prompts are read and answered in the background."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for name, arm in arms.items():
        idle = [await _question(arm, name, at) for at in range(calls)]
        background = [
            asyncio.create_task(_grind(arm, f"{name}-grind-{at}", sessions[at].says))
            for at in range(6)
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
    report: Report, ours: Through, sessions: Sequence[Session], work_s: WorkS, count: int
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


PARTS = ("switch", "interactive", *MIXES, "aios", "cold")


async def measure(
    report: Report, data: Path, parts: Sequence[str], mixes: Sequence[Mix], rounds: int, quick: bool
) -> None:
    """Load is scaled to what the engine does alone, so it is measured first, on this machine."""
    sessions = recorded(data)
    async with AsyncExitStack() as stack:
        shipped = await stack.enter_async_context(straight(cache=True))
        bare = await stack.enter_async_context(straight(cache=False))
        kernel = await stack.enter_async_context(through())
        arms: dict[str, Arm] = {"shipped": shipped, "bare": bare, "kernel": kernel}
        pace = Pace(shipped)
        await pace.measure()
        speed = (await pace.measure()).speed
        read_s, write_s = speed.prefill_b_s, speed.decode_s(1, 0)
        report.add("reading a token, alone", read_s * 1e3, "ms")
        report.add("writing a token, alone", write_s * 1e3, "ms")
        report.add("writing a token each, four calls", speed.decode_s(SLOTS, 0) * 1e3, "ms")

        def work_s(read: int, write: int) -> float:
            # Four slots write at once in little more than one step's time.
            return read * read_s + write * write_s / 2

        if "switch" in parts:
            said = " ".join(sessions[0].says)
            await switches(report, kernel, said, 3 if quick else 9)
        if "interactive" in parts:
            fast: dict[str, Arm] = {"shipped": shipped, "kernel": kernel}
            calls, piece_s = 4 if quick else 20, PIECE_TOKENS * read_s
            await interactive(report, fast, sessions, calls=calls, piece_s=piece_s)
        bench = Bench(report, arms, sessions, pace, work_s, rounds)
        for mix in mixes:
            await bench.mix(mix)
        if "aios" in parts:
            await aios(report, kernel, sessions, work_s, 6 if quick else 16)
    if "cold" in parts:
        await cold_starts(report, 2 if quick else 7)


def main() -> None:
    assert __doc__
    question = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="one round of few, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with `lmcache_agent/`")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="of each mix, a seed each")
    parser.add_argument("--agents", type=int, default=0, help="of each mix, instead of its own")
    parser.add_argument("--load", type=float, default=0.0, help="likewise")
    given = parser.parse_args()
    report = begin(question, EXPECTED)
    parts = given.part or PARTS
    mixes = [
        dataclasses.replace(mix, agents=given.agents or mix.agents, load=given.load or mix.load)
        for name, mix in MIXES.items()
        if name in parts
    ]
    rounds = given.rounds
    if given.quick:
        mixes, rounds = [Mix(agents=10, load=2.0, arms=("shipped", "bare", "kernel"))], 1
    uvloop.run(measure(report, given.data, parts, mixes, rounds, given.quick))
    finish(report, given.json)


if __name__ == "__main__":
    main()
