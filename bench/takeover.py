"""How long is a process away when its kernel's machine is lost?

Expected: the lease, and within a second more its processes have arrived at the survivor and their
programs run again; nothing is paid for twice.  Two kernels on one PostgreSQL of the bench's own;
supervisor, kernel and programs of one are killed with SIGKILL in the middle of their calls.

Clients that write and read one memory through both kernels meanwhile are recorded: nobody may read
less than anybody was told, and nothing may be there twice.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from crash.histories import History, MemoryShelf
from crash.two_kernels import Machine, machines, python
from postgres_server import postgres

import orlop
from bench.report import Report, begin, finish
from orlop.store.tapes import JournalConfig
from orlop.store.verify import verify

LEASE_S = 2.0
STEPS = 16
PATIENCE_S = 60.0
PROGRAM = """
import os, sys, time, orlop
told = open(sys.argv[1], "a", buffering=1)
with orlop.connect_sync() as kernel:
    for number in range({steps}):
        answer = kernel.infer(f"step {{number}} of {{sys.argv[2]}}", model="fake")
        where = os.environ["OPENAI_BASE_URL"]
        told.write(f"{{sys.argv[2]}} {{number}} {{answer.facts.call}} {{where}} {{time.time()}}\\n")
        time.sleep(0.2)
"""


class Run:
    """One loss.  Seconds from the kill; calls that were told before it and made again after."""

    def __init__(self) -> None:
        self.arrived_s = self.again_s = self.done_s = 0.0
        self.paid_twice = self.missing = 0


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait(holds: object, machine: Machine) -> None:
    assert callable(holds)
    give_up_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > give_up_s:
            raise RuntimeError(machine.log())
        time.sleep(0.02)


def lose_one(url: str, agents: int, number: int) -> Run:
    found = Run()
    names = (f"east{number}", f"west{number}")
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as place:
        folder = Path(place)
        told, script = folder / "told", folder / "agent.py"
        script.write_text(PROGRAM.format(steps=STEPS))
        with machines(folder, url, names, LEASE_S) as house:
            east, west = (house[name] for name in names)
            for agent in range(agents):
                east.orlop(
                    "run",
                    "-d",
                    "--restart",
                    "on-failure",
                    "--name",
                    f"agent{agent}",
                    "--",
                    *python(script),
                    str(told),
                    f"agent{agent}",
                )
            wait(lambda: len(lines(told)) >= 3 * agents, east)
            east.lose()
            lost_s = time.time()
            before = {(agent, step): call for agent, step, call, _, _ in lines(told)}
            with psycopg.connect(url, autocommit=True) as reader:
                asked = f"SELECT count(*) FROM {names[1]}.event WHERE kind = 'process.arrived'"
                wait(lambda: reader.execute(asked.encode()).fetchone() == (agents,), west)
            found.arrived_s = time.time() - lost_s
            wait(lambda: len({line[0] for line in since(told, lost_s)}) == agents, west)
            found.again_s = time.time() - lost_s
            wait(lambda: len({tuple(line[:2]) for line in lines(told)}) == agents * STEPS, west)
            found.done_s = time.time() - lost_s
        after = {(agent, step): call for agent, step, call, _, _ in since(told, lost_s)}
        found.paid_twice = sum(after.get(step, call) != call for step, call in before.items())
        for name in names:
            verdict = verify(folder / name, config=JournalConfig(url=url, schema=name))
            found.missing += len(verdict.damage)
    return found


def since(told: Path, moment_s: float) -> list[list[str]]:
    return [line for line in lines(told) if float(line[4]) > moment_s]


def share(report: Report, url: str, clients: int) -> None:
    """One memory under both kernels, while each is lost once."""
    names = ("north", "south")
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as place:
        folder = Path(place)
        homes = [folder / name for name in names]
        with machines(folder, url, names, LEASE_S) as house:
            history = History(1, homes, MemoryShelf())
            history.begin(clients)
            for lost, other in (names, names[::-1]):
                time.sleep(2.0)
                house[lost].lose()
                wait(lambda: is_taken(house[other], lost), house[other])  # noqa: B023
                house[lost].start()
            time.sleep(2.0)
            history.end()
            faults = [
                *history.faults(),
                *(fault for at in homes for fault in history.faults_of_past(at)),
            ]
            alone, turns = writes(homes[0]), writes(*homes)
    steps = len(history.steps)
    report.add("shared memory: answered reads and writes", steps, "", "")
    report.add("that went back, were lost or doubled", len(faults), "", "0")
    report.add("a write of one kernel alone, median", 1e3 * statistics.median(alone), "ms", "")
    report.add("two that write by turns, median", 1e3 * statistics.median(turns), "ms", "")


def is_taken(machine: Machine, schema: str) -> bool:
    kernels = json.loads(machine.orlop("kernels", "--json").stdout)
    return any(one["schema"] == schema and one["state"] == "taken over" for one in kernels)


def writes(*homes: Path) -> list[float]:
    """Seconds of each write, by one client after another."""
    took: list[float] = []
    kernels = [orlop.connect_sync(home=home, process="writer", patience_s=20) for home in homes]
    for number in range(100):
        began_s = time.perf_counter()
        MemoryShelf().write(kernels[number % len(kernels)], "turns", f"{number}", None)
        took.append(time.perf_counter() - began_s)
    return took


def measure(report: Report, is_quick: bool) -> None:
    rounds, agents = (2, 2) if is_quick else (5, 4)
    with postgres() as server:
        runs = [lose_one(server.url, agents, number) for number in range(rounds)]
        share(report, server.url, clients=2 if is_quick else 6)
    arrived = [run.arrived_s for run in runs]
    report.add("lease", LEASE_S, "s", "")
    report.add(
        "processes have arrived, worst", max(arrived), "s after the kill", f"<= {LEASE_S + 1:g}"
    )
    report.add("processes have arrived, median", statistics.median(arrived), "s", "")
    again = [run.again_s for run in runs]
    report.add("every program calls again, worst", max(again), "s", "")
    report.add("answered calls that were made again", sum(r.paid_twice for r in runs), "", "0")
    report.add("damaged journals", sum(run.missing for run in runs), "", "0")


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    given = parser.parse_args()
    report = begin(__doc__.splitlines()[0], "the lease and under a second")
    measure(report, given.quick)
    finish(report, given.json)


if __name__ == "__main__":
    main()
