"""Backups, restores, drills and moves of a kernel as users have it, while it is used."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from live_kernel import ORLOP
from postgres_server import Server, postgres

import orlop

PROGRAM = """
import sys, time, orlop
with orlop.connect_sync() as kernel:
    for number in range(int(sys.argv[1])):
        print(kernel.infer(f"hello {number}", model="fake").facts.call, flush=True)
        time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as made:
        yield made


@dataclass
class Home:
    path: Path
    program: Path

    def orlop(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        around = {**os.environ, "ORLOP_HOME": str(self.path)}
        done = subprocess.run(
            [*ORLOP, *words], env=around, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def json(self, *words: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.orlop(*words, "--json").stdout)
        return found

    def run(self, name: str, steps: int = 3, pause_s: float = 0.0) -> None:
        command = [sys.executable, str(self.program), str(steps), str(pause_s)]
        self.orlop("run", "--name", name, "--restart", "on-failure", "--", *command)

    def stain(self) -> None:
        """Keep what came from elsewhere."""
        with orlop.connect_sync(home=self.path, process="keeper") as kernel:
            kernel.files.write("/shared/page", "told by strangers", labels=("mail",))
            kernel.remember("told by strangers", key="page", labels=("mail",), embed=False)

    def labels(self) -> list[tuple[str, ...]]:
        with orlop.connect_sync(home=self.path, process="keeper") as kernel:
            kept = [row.labels for row in kernel.files.versions("/shared/page")]
            return kept + [one.labels for one in kernel.recall(key="page").memories]

    def calls(self, name: str) -> set[str]:
        trace = self.json("trace", name)
        calls = trace["calls"]
        assert isinstance(calls, list)
        return {str(call["call"]) for call in calls}


@contextmanager
def kernel(path: Path) -> Iterator[Home]:
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "orlop.toml").exists():
        (path / "orlop.toml").write_text(
            f'# by hand\n[models]\ndir = "{path}/models"\n[engines.fake]\ndriver = "fake"\n'
        )
    program = path / "agent.py"
    program.write_text(PROGRAM)
    made = Home(path, program)
    made.orlop("up", "-d", "--port", "0")
    try:
        yield made
    finally:
        made.orlop("down")


def test_a_backup_of_a_running_kernel_is_whole_and_comes_back_with_all_it_had(
    tmp_path: Path,
) -> None:
    saved, keys = tmp_path / "saved", tmp_path / "elsewhere"
    with kernel(tmp_path / "home") as home:
        home.run("first")
        home.stain()
        made = home.json("backup", str(saved))
        before = home.calls("first")
        home.run("second")
        again = home.json("backup", str(saved))
        assert int(str(again["seq"])) > int(str(made["seq"]))
        assert 0 < int(str(again["events_new"])) < int(str(again["seq"])), "only what is new"
        home.run("third")
    shutil.move(saved / "keys", keys)
    there = tmp_path / "restored"
    anchor = tmp_path / "home" / "journal.anchor"
    lost = Home(there, home.program)
    refused = lost.orlop("restore", str(saved), check=False)
    assert refused.returncode and "keyring" in refused.stderr
    told = lost.json("restore", str(saved), "--keys", str(keys), "--against", str(anchor))
    assert int(str(told["lost"])) > 0, "the third run came after the backup"
    again_refused = lost.orlop("restore", str(saved), "--keys", str(keys), check=False)
    assert again_refused.returncode and "empty home" in again_refused.stderr
    with kernel(there) as restored:
        assert restored.calls("first") == before
        assert restored.labels() == [("mail",), ("mail",)]
        assert restored.calls("second")
        assert restored.orlop("trace", "third", check=False).returncode
        restored.run("fourth")
        head = restored.orlop("journal", "export").stdout.splitlines()
        epochs = [json.loads(line)["header"]["epoch"] for line in head]
        assert max(epochs) > 1_000 > min(epochs)
    assert lost.orlop("journal", "verify").returncode == 0


def test_a_backup_overwrites_nobody_s_keys(tmp_path: Path) -> None:
    with kernel(tmp_path / "home") as home, kernel(tmp_path / "other") as other:
        for place in (home.path, other.path):
            keys = {path: path.read_bytes() for path in (place / "keys").iterdir()}
            refused = home.orlop("backup", str(place), check=False)
            assert refused.returncode == 6 and "is a kernel's home" in refused.stderr
            assert {path: path.read_bytes() for path in (place / "keys").iterdir()} == keys
            assert not (place / "data").exists()


def test_a_backup_that_was_tampered_with_is_not_restored(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    with kernel(tmp_path / "home") as home:
        home.run("first")
        home.orlop("backup", str(saved))
    database = saved / "data" / "journal.db"
    data = bytearray(database.read_bytes())
    place = data.index(b'"kind":"call.returned"') + 8
    data[place : place + 4] = b"CALL"
    database.write_bytes(bytes(data))
    refused = Home(tmp_path / "there", home.program).orlop("restore", str(saved), check=False)
    assert refused.returncode == 8, refused.stderr
    assert not (tmp_path / "there" / "journal.db").exists()


def test_a_drill_says_what_a_disaster_would_cost_and_leaves_the_kernel_alone(
    tmp_path: Path,
) -> None:
    with kernel(tmp_path / "home") as home:
        home.run("first")
        found = home.json("drill")
        assert int(str(found["events"])) > 5
        assert float(str(found["rto_s"])) > 0
        assert int(str(found["processes"])) == 1
        home.run("second")
    assert home.orlop("journal", "verify").returncode == 0


def test_a_live_kernel_is_carried_to_postgresql_and_back_and_its_program_goes_on(
    tmp_path: Path, server: Server
) -> None:
    with kernel(tmp_path / "home") as home:
        home.run("before")
        home.stain()
        before = home.calls("before")
        command = [sys.executable, str(home.program), "12", "0.5"]
        home.orlop("run", "-d", "--name", "long", "--restart", "on-failure", "--", *command)
        url = json.loads(home.orlop("info", "--json").stdout)["url"]
        moved = home.json("move", "--to", server.url, "--schema", "moved_here")
        assert int(str(moved["events"])) > 5
        assert json.loads(home.orlop("info", "--json").stdout)["url"] == url, "as clients know it"
        assert not (home.path / "journal.db").exists()
        assert "# by hand" in (home.path / "orlop.toml").read_text()
        assert home.calls("before") == before
        assert home.labels() == [("mail",), ("mail",)]
        until_ended(home, "long")
        calls = home.calls("long")
        assert len(calls) == 12, "none was made twice"
        assert home.orlop("upgrade", "--plan").stdout.startswith("nothing to do")
        home.orlop("move", "--to", "sqlite")
        assert home.calls("before") == before and home.calls("long") == calls
        home.run("after")
        assert home.orlop("move", "--to", "sqlite", check=False).returncode
    assert home.orlop("journal", "verify").returncode == 0


def until_ended(home: Home, name: str) -> None:
    give_up_s = time.monotonic() + 90
    while json.loads(home.orlop("show", name, "--json").stdout)["state"] != "exited":
        assert time.monotonic() < give_up_s, home.orlop("show", name).stdout
        time.sleep(0.3)


def test_a_move_that_is_killed_in_the_middle_leaves_one_whole_place(
    tmp_path: Path, server: Server
) -> None:
    with kernel(tmp_path / "home") as home:
        home.run("before", steps=40)
        before = home.calls("before")
        command = [*ORLOP, "move", "--to", server.url, "--schema", "halfway"]
        around = {**os.environ, "ORLOP_HOME": str(home.path)}
        for delay_s in (0.3, 0.6, 0.9):
            moving = subprocess.Popen(
                command, env=around, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(delay_s)
            moving.send_signal(signal.SIGKILL)
            moving.wait()
            home.orlop("up", "-d", "--port", "0", check=False)
            assert home.calls("before") == before
            assert home.orlop("journal", "verify").returncode == 0


def test_a_place_that_holds_nothing_or_can_not_be_written_is_named(tmp_path: Path) -> None:
    nowhere = Home(tmp_path / "nowhere", tmp_path)
    for words in (("backup", str(tmp_path / "saved")), ("drill",)):
        refused = nowhere.orlop(*words, check=False)
        assert refused.returncode == 4 and "no journal yet" in refused.stderr
    refused = nowhere.orlop("restore", str(tmp_path), check=False)
    assert refused.returncode == 4 and "--keys" in refused.stderr
    refused = nowhere.orlop("move", "--to", "ftp://x", check=False)
    assert refused.returncode and "postgresql://" in refused.stderr
    with kernel(tmp_path / "home") as home:
        refused = home.orlop("backup", "/proc/nowhere", check=False)
        assert refused.returncode == 8 and "/proc/nowhere" in refused.stderr
        home.run("goes on")
