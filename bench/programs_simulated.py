"""How much more work do the same accelerators do under the kernel's scheduler, in virtual time?

The kernel's own scheduler code drives calibrated engine models through recorded coding agents'
tasks, against what others do (bench/simulated/baselines.py).  Ratios are FCFS passthrough's mean
job time over theirs, with the same arrivals: geometric means over paired seeds, least and greatest.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.report import Report, begin, commit, finish
from bench.simulated import fleets, workloads
from bench.simulated.decisions import decision_us
from bench.simulated.measure import (
    BASELINES,
    FCFS,
    TUNED,
    Make,
    Sample,
    Work,
    best,
    closed,
    knee,
    ratio,
)
from orlop.operate.plan.kernel import KernelDispatcher
from orlop.operate.plan.replay import Host
from orlop.operate.plan.tasks import Arrival, Task
from orlop.sched.config import SchedulerConfig

EXPECTED: Final = (
    "about 3 x FCFS without a host tier and 5 x with one where FCFS is 6 x above the bound; where"
    " its mean slowdown is 3 it is only 1.7 x above the bound, so no policy can be better than that"
)
NOTES: Final = """\
The knee is the arrival rate at which FCFS's mean slowdown (job time over the time with the fleet to
itself) is 3.  The lower bound is what no scheduler can pass (bench/simulated/bounds.py), as a ratio
to FCFS: a goal above it can't be met by anyone.  Waste is prompt tokens computed over those that
had to be.  All ratios are to FCFS *without* a host tier; FCFS *with* one is a row of its own.  The
SRPT oracle knows every task's remaining work.  The engine model follows vLLM's rules and NVIDIA's
measured kernels; whether a real engine agrees is bench C's question."""
LOADS: Final = (0.5, 0.8, 1.0, 1.3, 2.0)
PARALLEL: Final = (8, 16, 32, 64, 96)
BEYOND: Final = 1.3
CLOSED_S: Final = 3 * 3600.0
OURS: Final = "Orlop"


def ours(fleet_config: SchedulerConfig) -> Make:
    return lambda fleet, work: KernelDispatcher(fleet, fleet_config)


CONTENDERS: Final[dict[str, Sequence[Make]]] = {
    **{name: [make] for name, make in BASELINES.items()},
    **TUNED,
    OURS: [ours(SchedulerConfig())],
    "Orlop, policy las": [ours(SchedulerConfig(policy="las"))],
    "Orlop, policy fifo": [ours(SchedulerConfig(policy="fifo"))],
}
BRIEF: Final = (FCFS, "affinity + least queue", "llm-d", "ThunderAgent", "LAS alone", OURS)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is run."""

    tasks: int
    seeds: tuple[int, ...]
    loads: tuple[float, ...]
    parallel: tuple[int, ...]
    closed_s: float
    mixed: tuple[float, ...]


FULL: Final = Size(500, (1, 2, 3, 4, 5), LOADS, PARALLEL, CLOSED_S, (0.5, 1.0, 2.0))
QUICK: Final = Size(150, (1, 2), (0.5, 1.0, 2.0), (16, 96), 3600.0, (1.0,))


class Book:
    """The report, and the same as a page of tables."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.lines: list[str] = []

    def section(self, title: str, columns: Sequence[str]) -> None:
        print(f"\n{title}")
        self.lines += ["", f"## {title}", "", "| " + " | ".join(columns) + " |"]
        self.lines.append("|" + "---|" * len(columns))

    def row(self, cells: Sequence[str]) -> None:
        self.lines.append("| " + " | ".join(cells) + " |")


@dataclass(frozen=True, slots=True)
class Load:
    """One workload at one load: its draws, what FCFS needs for each, and the bound of each."""

    draws: list[list[Arrival]]
    fcfs: list[Sample]
    bounds: list[float]


def prepare(
    hosts: Sequence[Host], work: Work, tasks: Sequence[Task], rate: float, size: Size
) -> Load:
    draws = [workloads.arriving(tasks, size.tasks, rate, seed) for seed in size.seeds]
    fcfs = best(hosts, CONTENDERS[FCFS], work, draws)
    return Load(draws, fcfs, [work.bounds.least_mean_s(draw) for draw in draws])


COLUMNS: Final = (
    "load",
    "policy",
    "mean job time, FCFS over it (least-greatest)",
    "p95, likewise",
    "over the bound",
    "slowdown mean / p95 / max",
    "waste",
    "hit rate",
)


def tell(book: Book, load: str, name: str, at: Load, found: Sequence[Sample], goal: str) -> float:
    middle, least, most = ratio([s.mean_s for s in at.fcfs], [s.mean_s for s in found])
    tail = ratio([s.p95_s for s in at.fcfs], [s.p95_s for s in found])[0]
    over = ratio([s.mean_s for s in found], at.bounds)[0]
    book.report.add(f"{load}: {name}", middle, "x FCFS", goal)
    mean = statistics.fmean
    book.row(
        (
            load,
            name,
            f"{middle:.2f} ({least:.2f}-{most:.2f})",
            f"{tail:.2f}",
            f"{over:.2f}",
            f"{mean(s.slowdown for s in found):.2f} / {mean(s.slowdown_p95 for s in found):.1f}"
            f" / {max(s.slowdown_max for s in found):.0f}",
            f"{mean(s.waste for s in found):.2f}",
            f"{mean(s.hit_rate for s in found):.3f}",
        )
    )
    return over


GOALS: Final = {
    (0.5, False): "≥ 0.98",
    (0.5, True): "≥ 0.98",
    (1.0, False): "≥ 3",
    (1.0, True): "≥ 4.5",
    (2.0, True): "≥ 7",
}


def one_h200(book: Book, data: Path, size: Size) -> None:
    tasks = workloads.coding_agents(data)
    bare = fleets.one_h200(data, False)
    work = Work(bare)
    rate = knee(bare, work, tasks, size.tasks, size.seeds)
    book.report.add("one H200: the knee, where FCFS's mean slowdown is 3", rate * 3600, "tasks/h")
    for with_host in (False, True):
        hosts = fleets.one_h200(data, with_host)
        tier = "with a host tier" if with_host else "without a host tier"
        book.section(f"One H200, coding agents, open loop, {tier}", COLUMNS)
        for factor in size.loads:
            at = prepare(bare, work, tasks, rate * factor, size)
            possible = ratio([s.mean_s for s in at.fcfs], at.bounds)[0]
            load = f"{factor:g} x knee{', host' if with_host else ''}"
            book.report.add(f"{load}: no policy can pass", possible, "x FCFS")
            book.row((load, "*lower bound*", f"{possible:.2f}", "", "1.00", "", "", ""))
            for name, makes in CONTENDERS.items():
                goal = GOALS.get((factor, with_host), "") if name == OURS else ""
                over = tell(book, load, name, at, best(hosts, makes, work, at.draws), goal)
                if factor == 1.0 and name == OURS:
                    book.report.add(f"{load}: {name} over the bound", over, "x", "≤ 1.25")


def in_closed_loop(book: Book, data: Path, size: Size) -> None:
    """The next task begins as one ends; what counts is calls a minute."""
    tasks = workloads.coding_agents(data)
    bare = fleets.one_h200(data, False)
    work = Work(bare)
    columns = ("programs", "policy", "calls a minute", "over FCFS (least-greatest)", "waste")
    book.section("One H200, coding agents, closed loop", columns)
    for parallel in size.parallel:
        draws = [workloads.arriving(tasks, 4_000, 1.0, seed) for seed in size.seeds]
        fcfs = [
            closed(bare, BASELINES[FCFS], work, draw, parallel, size.closed_s) for draw in draws
        ]
        for with_host, name in itertools.product((False, True), BRIEF):
            hosts = fleets.one_h200(data, with_host)
            found = [
                closed(hosts, CONTENDERS[name][0], work, draw, parallel, size.closed_s)
                for draw in draws
            ]
            pace = [sample.steps_min for sample in found]
            middle, least, most = ratio(pace, [sample.steps_min for sample in fcfs])
            label = f"{name}, host" if with_host else name
            goal = "≥ 2.4" if (parallel, label) == (96, f"{OURS}, host") else ""
            book.report.add(f"{parallel} in parallel: {label}", middle, "x FCFS", goal)
            waste = statistics.fmean(sample.waste for sample in found)
            book.row(
                (
                    str(parallel),
                    label,
                    f"{statistics.fmean(pace):.1f}",
                    f"{middle:.2f} ({least:.2f}-{most:.2f})",
                    f"{waste:.2f}",
                )
            )


def mixed_fleet(book: Book, data: Path, size: Size) -> None:
    tasks = workloads.coding_agents(data) + workloads.function_calls(data)
    bare = fleets.mixed(data, False)
    work = Work(bare)
    rate = knee(bare, work, tasks, size.tasks, size.seeds[:2])
    book.report.add("mixed fleet: the knee", rate * 3600, "tasks/h")
    book.section("2 H200, 2 L40S, a CPU: coding agents and function calls, open loop", COLUMNS)
    for with_host, factor in itertools.product((False, True), size.mixed):
        hosts = fleets.mixed(data, with_host)
        at = prepare(bare, work, tasks, rate * factor, size)
        load = f"mixed fleet, {factor:g} x knee{', host' if with_host else ''}"
        for name in BRIEF:
            tell(book, load, name, at, best(hosts, CONTENDERS[name], work, at.draws), "")


def other_shapes(book: Book, data: Path, size: Size) -> None:
    """Where the kernel may not help: each at its own knee, on one H200 without a host tier."""
    shapes = {
        "equal tasks": workloads.homogeneous(),
        "two sizes of equals": workloads.adversarial(),
        "Mooncake's conversations": workloads.conversations(data),
        "Azure's single calls": workloads.single_calls(data),
        "agents with longer contexts (half scale)": workloads.coding_agents(data, 0.5),
    }
    book.section("Other workloads on one H200, at 1.3 times the knee of each", COLUMNS)
    hosts = fleets.one_h200(data, False)
    for shape, tasks in shapes.items():
        work = Work(hosts)
        rate = knee(hosts, work, tasks, size.tasks, size.seeds[:2])
        at = prepare(hosts, work, tasks, rate * BEYOND, size)
        for name in (FCFS, "ThunderAgent", "LAS alone", OURS, "SRPT oracle"):
            load = f"{shape}, {BEYOND:g} x knee"
            tell(book, load, name, at, best(hosts, CONTENDERS[name], work, at.draws), "")


def decisions(book: Book, quick: bool) -> None:
    programs = 2_000 if quick else 10_000
    found = decision_us(programs, 5_000 if quick else 30_000)
    book.report.add(f"a decision with {programs:,} live programs", found, "µs of CPU", "< 100")


def parse() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="the folder with the traces"
    )
    return parser.parse_args()


def main() -> None:
    assert __doc__
    given = parse()
    began_s = time.process_time()
    size = QUICK if given.quick else FULL
    workloads.need(fleets.calibration(given.data))
    question = __doc__.splitlines()[0]
    book = Book(begin(question, EXPECTED))
    sections = [one_h200, in_closed_loop, mixed_fleet]
    for section in sections if given.quick else [*sections, other_shapes]:
        section(book, given.data, size)
        # What is there already is kept where somebody stops a long run.
        write(book, given, question)
    decisions(book, given.quick)
    book.report.add("this bench itself", time.process_time() - began_s, "s of CPU")
    write(book, given, question)


def write(book: Book, given: argparse.Namespace, question: str) -> None:
    assert __doc__
    finish(book.report, given.json)
    if given.markdown is not None:
        command = "python -m bench.programs_simulated" + (" --quick" if given.quick else "")
        about = __doc__.split("\n\n")[1].strip()
        head = [f"# {question}", "", f"`{command}`, commit {commit()}.", "", about, "", NOTES]
        given.markdown.write_text("\n".join([*head, *book.lines, ""]))


if __name__ == "__main__":
    main()
