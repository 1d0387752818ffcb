"""How long is a process away when its kernel's machine is lost?

Expected: the lease, and within a second more its processes have arrived at the survivor and their
programs run again; nothing is paid for twice.  Two kernels on one PostgreSQL of the bench's own;
supervisor, kernel and programs of one are killed with SIGKILL in the middle of their calls.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from crash.two_kernels import Machine, machines, python
from postgres_server import postgres

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


def measure(report: Report, is_quick: bool) -> None:
    rounds, agents = (2, 2) if is_quick else (5, 4)
    with postgres() as server:
        runs = [lose_one(server.url, agents, number) for number in range(rounds)]
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
