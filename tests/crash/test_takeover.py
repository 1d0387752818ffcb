"""Two real kernels on one real PostgreSQL; one of them is lost."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
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
        kernels = json.loads(west.orlop("kernels", "--json").stdout)
        assert {one["schema"]: one["state"] for one in kernels} == {
            "east": "taken over",
            "west": "up",
        }
        assert "west on" in west.orlop("ps", "--all").stdout
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


EFFECTS = """
import os, sys, time, orlop
from orlop.abi.calls import CallTool
with orlop.connect_sync() as kernel:
    for number in range({steps}):
        kernel.call(CallTool(tool="write", arguments={{"order": f"order-{{number}}"}}))
        time.sleep(0.2)
"""
SHOP = """
import json, os, sys
order = json.loads(sys.stdin.read())["order"]
with open(sys.argv[1], "a") as shop:
    shop.write(f"{order} {os.environ['ORLOP_KEY']}\\n")
"""


def test_a_paused_owner_that_comes_back_writes_nothing_and_its_programs_are_ended(
    tmp_path: Path, server: Server
) -> None:
    shop, script, tool = tmp_path / "shop", tmp_path / "buyer.py", tmp_path / "tool.py"
    script.write_text(EFFECTS.format(steps=STEPS))
    tool.write_text(SHOP)
    names = ("north", "south")
    with machines(tmp_path, server.url, names, LEASE_S, tool=(*python(tool), str(shop))) as house:
        north, south = house["north"], house["south"]
        north.orlop(
            "run", "-d", "--restart", "on-failure", "--name", "buyer", "--", *python(script)
        )
        until(lambda: len(lines(shop)) >= 3, 30, north)
        program = int(str(north.processes()[0]["os_pid"]))
        paused = north.pause()
        until(lambda: len(south.processes()) == 1, LEASE_S + 10, south)
        until(lambda: has_ended(program), 10, south)
        with psycopg.connect(server.url) as reader:
            frozen = reader.execute("SELECT max(seq) FROM north.event").fetchone()
        for process in paused:
            process.resume()
        until(lambda: north_is_empty(north), 40, north)
        until(lambda: len({order for order, _ in lines(shop)}) == STEPS, 60, south)
        until(lambda: south.processes() == [], 20, south)
        with psycopg.connect(server.url) as reader:
            after = reader.execute(
                "SELECT DISTINCT kind FROM north.event WHERE seq > %s", frozen
            ).fetchall()
        kinds = {kind for (kind,) in after}
        assert "process.left" in kinds
        assert not {kind for kind in kinds if kind.startswith("call.")}, "no call went on there"
    # An effect that was cut off may have been tried twice, by the one key that it has for ever.
    keys: dict[str, set[str]] = {}
    for order, key in lines(shop):
        keys.setdefault(order, set()).add(key)
    assert len(keys) == STEPS
    assert all(len(found) == 1 for found in keys.values())


def has_ended(pid: int) -> bool:
    """A zombie has: its parent is paused, and can't ask how it ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def north_is_empty(machine: Machine) -> bool:
    done = machine.orlop("ps", "--json", "--all", check=False)
    if done.returncode:
        return False
    return [one["state"] for one in json.loads(done.stdout)] == ["elsewhere"]


def test_after_the_database_was_away_from_all_each_kernel_keeps_its_own_processes(
    tmp_path: Path,
) -> None:
    with postgres() as server:
        names = ("spring", "autumn")
        with machines(tmp_path, server.url, names, LEASE_S) as house:
            told = {name: tmp_path / f"told-{name}" for name in names}
            for name in names:
                house[name].orlop(
                    "run",
                    "-d",
                    "--restart",
                    "on-failure",
                    "--name",
                    name,
                    "--",
                    *python(agent(tmp_path)),
                    str(told[name]),
                )
            for name in names:
                until(partial(has_told, told[name], 2), 40, house[name])
            server.kill()
            time.sleep(2 * LEASE_S)
            server.start()
            for name in names:
                until(partial(has_told, told[name], STEPS - 1), 90, house[name])
                view = house[name].processes("--all")
                assert [one["name"] for one in view] == [name], "nobody has taken it over"
                calls: dict[str, set[str]] = {}
                for number, call, _ in lines(told[name]):
                    calls.setdefault(number, set()).add(call)
                assert all(len(ids) == 1 for ids in calls.values()), "none was made twice"


def has_told(told: Path, step: int) -> bool:
    return any(line[0] == str(step) for line in lines(told))


WAITING = """
import os, sys, time
with open(sys.argv[1], "w") as told:
    told.write(os.environ["ORLOP_TOKEN"])
time.sleep(600)
"""


def test_a_token_from_before_a_take_over_is_of_the_past_wherever_it_is_shown(
    tmp_path: Path, server: Server
) -> None:
    told, script = tmp_path / "token", tmp_path / "waiting.py"
    script.write_text(WAITING)
    names = ("first", "second")
    with machines(tmp_path, server.url, names, LEASE_S) as house:
        first, second = (house[name] for name in names)
        first.orlop(
            "run", "-d", "--restart", "on-failure", "--name", "w", "--", *python(script), str(told)
        )
        until(lambda: told.exists() and bool(told.read_text()), 20, first)
        token = told.read_text()
        assert status(first, token) == 200
        assert status(second, token) == 401, "its process does not live there"
        first.lose()
        until(lambda: len(second.processes()) == 1, LEASE_S + 10, second)
        assert status(second, token) == 409
        assert status(second, token[:-8] + "AAAAAAAA") == 401, "and nobody else's is taken for it"
        until(lambda: told.read_text() not in ("", token), 20, second)
        assert status(second, told.read_text()) == 200
        assert status(second, token) == 409


def status(machine: Machine, token: str) -> int:
    """Of a question that a process may ask."""
    url = json.loads((machine.home / "info.json").read_text())["url"]
    asked = Request(f"{url}/v1/models", headers={"authorization": f"Bearer {token}"})
    try:
        with urlopen(asked, timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
