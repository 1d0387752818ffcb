"""A kernel as users have it, with its journal on PostgreSQL, while kernel and server are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from live_kernel import ORLOP
from postgres_server import postgres

PROGRAM = """
import orlop
with orlop.connect_sync() as kernel:
    for number in range(3):
        print(kernel.infer(f"hello {number}", model="fake").text())
"""
PATIENCE_S = 60.0


class Home:
    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        (path / "agent.py").write_text(PROGRAM)
        (path / "orlop.toml").write_text(
            f'[journal]\nurl = "{url}"\nschema = "here"\n[models]\ndir = "{path}/models"\n'
            '[engines.fake]\ndriver = "fake"\n'
        )

    def orlop(self, *words: str) -> subprocess.CompletedProcess[str]:
        around = {**os.environ, "ORLOP_HOME": str(self.path)}
        return subprocess.run([*ORLOP, *words], env=around, capture_output=True, text=True)

    def run(self, name: str = "agent") -> subprocess.CompletedProcess[str]:
        return self.orlop("run", "--name", name, "--", sys.executable, str(self.path / "agent.py"))

    def pid(self) -> int:
        return int(json.loads(self.orlop("info", "--json").stdout)["os_pid"])


def test_nothing_is_lost_and_nobody_starts_anything_again_by_hand(tmp_path: Path) -> None:
    with postgres() as server:
        here = Home(tmp_path, server.url)
        up = here.orlop("up", "-d", "--port", "0")
        assert up.returncode == 0, up.stderr
        try:
            assert here.run().returncode == 0
            os.kill(here.pid(), signal.SIGKILL)
            assert "infer fake" in here.orlop("trace", "agent").stdout
            server.kill()
            refused = here.run("unlucky")
            assert refused.returncode == 8
            assert "PostgreSQL" in refused.stderr
            server.start()
            ends_s = time.monotonic() + PATIENCE_S
            while here.run("patient").returncode and time.monotonic() < ends_s:
                time.sleep(0.5)
            assert "infer fake" in here.orlop("trace", "patient").stdout
            assert "infer fake" in here.orlop("trace", "agent").stdout
        finally:
            here.orlop("down")
        verdict = here.orlop("journal", "verify")
        assert verdict.returncode == 0, verdict.stdout
        server.kill()
        gone = here.orlop("journal", "verify")
        assert gone.returncode != 0
        assert "PostgreSQL" in gone.stderr


SLOW = """
import orlop, time
with orlop.connect_sync() as kernel:
    for number in range(12):
        print(number, kernel.infer(f"[[say {number}]]", model="fake").text(), flush=True)
        time.sleep(0.25)
"""


def ready(home: Path) -> tuple[int, str]:
    """What `/ready` says, and how."""
    url = json.loads((home / "info.json").read_text())["url"]
    try:
        with urlopen(f"{url}/ready", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def test_a_start_without_the_database_says_so_and_goes_on_once_it_is_there(tmp_path: Path) -> None:
    with postgres() as server:
        here = Home(tmp_path, server.url)
        server.stop()
        try:
            up = here.orlop("up", "-d", "--port", "0", "--timeout", "1")
            assert up.returncode == 8
            assert " is starting " in up.stdout and " is up " not in up.stdout
            assert "token   orlo_" in up.stdout  # It is shown once, so also now.
            assert "waits   at most 1 s for the journal: PostgreSQL" in up.stdout
            assert "E3103" in up.stderr and "had no journal for 1 s" in up.stderr
            for words in (["info"], ["info", "--json"], ["ps"]):
                told = here.orlop(*words)
                assert told.returncode == 8 and "E3103" in told.stderr
            assert json.loads(here.orlop("info", "--json").stdout)["ready"] is False
            doctor = here.orlop("doctor")
            assert doctor.returncode == 1 and "fix: Start the database" in doctor.stdout
            status, said = ready(tmp_path)
            assert status == 503 and "PostgreSQL" in said
            server.start()
            ends_s = time.monotonic() + PATIENCE_S
            while ready(tmp_path)[0] != 200 and time.monotonic() < ends_s:
                time.sleep(0.2)
            assert here.run().returncode == 0
            shown = json.loads(here.orlop("info", "--json").stdout)
            assert shown["ready"] and shown["journal"].endswith(", schema here")
        finally:
            here.orlop("down")


def test_programs_live_through_the_time_in_which_the_database_is_away(tmp_path: Path) -> None:
    with postgres() as server:
        here = Home(tmp_path, server.url)
        (tmp_path / "agent.py").write_text(SLOW)
        up = here.orlop("up", "-d", "--port", "0")
        assert up.returncode == 0, up.stderr
        try:
            running = subprocess.Popen(
                [*ORLOP, "run", "--name", "patient", "--", sys.executable, tmp_path / "agent.py"],
                env={**os.environ, "ORLOP_HOME": str(tmp_path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            while here.orlop("trace", "patient").returncode:
                time.sleep(0.1)
            server.kill()
            while here.orlop("ps").returncode != 8:
                time.sleep(0.1)
            server.start()
            said, complaint = running.communicate(timeout=PATIENCE_S)
            assert (running.returncode, said.splitlines()) == (0, [f"{n} {n}" for n in range(12)])
            assert "no journal for now" in complaint
            row = json.loads(here.orlop("show", "patient", "--json").stdout)
            assert row["incarnation"] == 1
        finally:
            here.orlop("down")
