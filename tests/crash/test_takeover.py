"""Two real kernels on one real PostgreSQL; one of them is lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from crash.two_kernels import Machine, machines, python
from postgres_server import Server, postgres

from orlop.store.tapes import JournalConfig
from orlop.store.verify import verify

LEASE_S = 2.0
STEPS = 12
PROGRAM = """
import os, sys, time, orlop
told = open(sys.argv[1], "a", buffering=1)
with orlop.connect_sync() as kernel:
    for number in range({steps}):
        answer = kernel.infer(f"step {{number}}", model="fake")
        told.write(f"{{number}} {{answer.facts.call}} {{os.environ['OPENAI_BASE_URL']}}\\n")
        time.sleep(0.25)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as made:
        yield made


def agent(folder: Path) -> Path:
    script = folder / "agent.py"
    script.write_text(PROGRAM.format(steps=STEPS))
    return script


def until(holds: Callable[[], bool], patience_s: float, machine: Machine) -> float:
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < patience_s, machine.log()
        time.sleep(0.05)
    return time.monotonic() - began_s


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_a_lost_kernels_process_goes_on_under_another_one_and_pays_for_nothing_twice(
    tmp_path: Path, server: Server
) -> None:
    told = tmp_path / "told"
    with machines(tmp_path, server.url, ("east", "west"), LEASE_S) as house:
        east, west = house["east"], house["west"]
        east.orlop(
            "run",
            "-d",
            "--restart",
            "on-failure",
            "--name",
            "agent",
            "--",
            *python(agent(tmp_path)),
            str(told),
        )
        until(lambda: len(lines(told)) >= 4, 30, east)
        before = lines(told)
        east.lose()
        until(lambda: len(west.processes()) == 1, LEASE_S + 10, west)
        until(lambda: lines(told)[-1][0] == str(STEPS - 1), 40, west)
        # The first copy's calls were answered from the record: by the same ids.
        calls: dict[str, set[str]] = {}
        for number, call, _ in lines(told):
            calls.setdefault(number, set()).add(call)
        assert all(len(ids) == 1 for number, ids in calls.items() if int(number) < len(before))
        assert len(calls) == STEPS
        assert "infer fake" in west.orlop("trace", "agent").stdout
        assert west.orlop("trace", "agent").stdout.count("infer fake") == STEPS
        # The lost one comes back to an empty house.
        east.start()
        assert east.processes() == []
        gone = east.processes("--all")
        assert [one["state"] for one in gone] == ["elsewhere"]
    for name in ("east", "west"):
        config = JournalConfig(url=server.url, schema=name)
        verdict = verify(tmp_path / name, config=config)
        assert verdict.is_whole, verdict.damage
    with psycopg.connect(server.url) as reader:
        numbers = [
            row[0]
            for name in ("east", "west")
            for row in reader.execute(
                f"SELECT process_seq FROM {name}.event WHERE process IN (SELECT process FROM"
                " west.event WHERE kind = 'process.arrived') ORDER BY seq"
            )
        ]
    moved = [number for number in numbers if number]
    assert sorted(set(moved)) == list(range(1, max(moved) + 1)), "its own sequence has no gap"
