"""Runs and what is read from them."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.simulated import baselines
from bench.simulated.bounds import FleetBounds
from bench.simulated.thunder import ThunderAgent
from bench.simulated.workloads import arriving
from orlop.operate.plan.replay import Dispatcher, Fleet, Host, Program, Replay
from orlop.operate.plan.tasks import Arrival, Task

KNEE_SLOWDOWN: Final = 3.0
STATIC: Final = (6, 12, 24, 48)
FACTORS: Final = (0.9, 1.5, 3.0, 100.0)

Make = Callable[[Fleet, "Work"], Dispatcher]


class Work:
    """What tasks take at least, for the oracle and for attained service."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.bounds = FleetBounds(hosts)
        self._sums: dict[str, list[float]] = {}

    def work_s(self, program: Program, first: int, last: int) -> float:
        task = program.task
        sums = self._sums.get(task.name)
        if sums is None:
            able = self.bounds.able(task)
            sums = [0.0]
            for number in range(len(task.steps)):
                sums.append(sums[-1] + min(one.step_s(task, number) for one in able))
            self._sums[task.name] = sums
        return sums[last] - sums[first]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run."""

    mean_s: float
    p95_s: float
    slowdown: float
    slowdown_p95: float
    slowdown_max: float
    waste: float
    hit_rate: float
    busy: float
    steps_min: float
    events: int
    cpu_s: float


BASELINES: Final[Mapping[str, Make]] = {
    "FCFS passthrough": lambda fleet, work: baselines.Passthrough(fleet),
    "AIOS FIFO": lambda fleet, work: baselines.AiosFifo(fleet),
    "AIOS RR": lambda fleet, work: baselines.AiosRoundRobin(fleet),
    "affinity + least queue": lambda fleet, work: baselines.Affinity(fleet),
    "llm-d": lambda fleet, work: baselines.LlmD(fleet),
    "ThunderAgent": lambda fleet, work: ThunderAgent(fleet),
    "LAS alone": baselines.LeastAttained,
}

FCFS: Final = "FCFS passthrough"


def static_calls(limit: int) -> Make:
    return lambda fleet, work: baselines.StaticCalls(fleet, limit)


def static_programs(limit: int) -> Make:
    return lambda fleet, work: baselines.StaticPrograms(fleet, limit)


def oracle(factor: float) -> Make:
    return lambda fleet, work: baselines.ShortestRemaining(fleet, work, factor)


TUNED: Final[Mapping[str, Sequence[Make]]] = {
    "best static N": [static_calls(n) for n in STATIC] + [static_programs(n) for n in STATIC],
    "SRPT oracle": [oracle(factor) for factor in FACTORS],
}
"""Of these the best is taken, at each load."""


def run(hosts: Sequence[Host], make: Make, work: Work, arrivals: Sequence[Arrival]) -> Sample:
    """Open loop, to the end of the last task."""
    return _sample(hosts, make, work, arrivals, 0, math.inf)


def closed(
    hosts: Sequence[Host],
    make: Make,
    work: Work,
    arrivals: Sequence[Arrival],
    parallel: int,
    until_s: float,
) -> Sample:
    """So many programs at once, the next as one ends."""
    return _sample(hosts, make, work, arrivals, parallel, until_s)


def _sample(
    hosts: Sequence[Host],
    make: Make,
    work: Work,
    arrivals: Sequence[Arrival],
    parallel: int,
    until_s: float,
) -> Sample:
    fleet = Fleet.of(hosts)
    began_s = time.process_time()
    outcome = Replay(fleet, make(fleet, work), arrivals, parallel=parallel, until_s=until_s).run()
    cpu_s = time.process_time() - began_s
    for engine in fleet.engines:
        engine.memory.check()
    jobs_s = outcome.jobs_s or [math.inf]
    slow = [
        (program.ended_s - program.arrived_s) / work.bounds.alone_s(program.task)
        for program in outcome.ended
    ] or [math.inf]
    return Sample(
        mean_s=statistics.fmean(jobs_s),
        p95_s=quantile(jobs_s, 0.95),
        slowdown=statistics.fmean(slow),
        slowdown_p95=quantile(slow, 0.95),
        slowdown_max=max(slow),
        waste=outcome.waste,
        hit_rate=outcome.hit_rate,
        busy=outcome.busy,
        steps_min=outcome.calls / (outcome.now_s / 60),
        events=outcome.events,
        cpu_s=cpu_s,
    )


def knee(
    hosts: Sequence[Host], work: Work, tasks: Sequence[Task], count: int, seeds: Sequence[int]
) -> float:
    """The arrival rate (tasks a second) at which FCFS's mean slowdown is 3, the mean over seeds."""

    def slowdown(rate: float) -> float:
        return statistics.fmean(
            run(hosts, BASELINES[FCFS], work, arriving(tasks, count, rate, seed)).slowdown
            for seed in seeds
        )

    low = high = 1.0 / statistics.fmean(work.bounds.alone_s(task) for task in tasks)
    while slowdown(high) < KNEE_SLOWDOWN:
        low, high = high, high * 2
    while slowdown(low) > KNEE_SLOWDOWN:
        low /= 2
    for _ in range(8):
        middle = math.sqrt(low * high)
        if slowdown(middle) < KNEE_SLOWDOWN:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def best(
    hosts: Sequence[Host], makes: Sequence[Make], work: Work, draws: Sequence[Sequence[Arrival]]
) -> list[Sample]:
    """Samples of the contender that has the least mean for the first draw."""
    if len(makes) > 1:
        makes = sorted(makes, key=lambda make: run(hosts, make, work, draws[0]).mean_s)
    return [run(hosts, makes[0], work, draw) for draw in draws]


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean, least and greatest of the paired ratios."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return statistics.geometric_mean(ratios), min(ratios), max(ratios)
