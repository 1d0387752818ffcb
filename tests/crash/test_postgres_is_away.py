"""A kernel as users have it, with its journal on PostgreSQL, while kernel and server are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
