"""Kernels on one PostgreSQL, each a machine of its own as far as one machine allows."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from live_kernel import ORLOP

CONFIG = """
[journal]
url = "{url}"
schema = "{name}"
key_file = "{key}"
lease_s = {lease_s}
[models]
dir = "{folder}/no-models"
[engines.fake]
driver = "fake"
"""
TOOL = """
[tools.write]
command = {command}
effect = "idempotent"
"""


@dataclass
class Machine:
    """One home with its supervisor and kernel."""

    home: Path
    up: subprocess.Popen[bytes] | None = None
    family: list[psutil.Process] = field(default_factory=list)

    def start(self) -> None:
        with (self.home / "up.out").open("ab") as output:
            self.up = subprocess.Popen(
                [*ORLOP, "up", "--home", str(self.home), "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        give_up_s = time.monotonic() + 40
        while time.monotonic() < give_up_s:
            assert self.up.poll() is None, self.log()
            if self.orlop("ps", "--json", check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(self.log())

    def orlop(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*ORLOP, *words],
            env={**os.environ, "ORLOP_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}{self.log()}"
        return done

    def processes(self, *options: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.orlop("ps", "--json", *options).stdout)
        return found

    def kernel_pid(self) -> int:
        return int(json.loads(self.orlop("info", "--json").stdout)["os_pid"])

    def lose(self, *, programs_too: bool = True) -> None:
        """Pull the plug: the supervisor, its kernel, and (or not) what runs under them."""
        assert self.up is not None
        leader = psutil.Process(self.up.pid)
        # Its one child is the kernel; what runs under that is programs and hosts.
        family = [leader, *leader.children(recursive=programs_too)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.up.wait(10)

    def pause(self) -> list[psutil.Process]:
        """SIGSTOP for the supervisor and its kernel, but not for the programs."""
        assert self.up is not None
        leader = psutil.Process(self.up.pid)
        family = [leader, *leader.children()]
        for process in family:
            process.suspend()
        return family

    def stop(self) -> None:
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.up.wait(20)
        if self.up is not None and self.up.poll() is None:
            self.lose()

    def log(self) -> str:
        files = (self.home / "up.out", self.home / "log" / "kernel.log")
        return "\n".join(file.read_text()[-6_000:] for file in files if file.exists())


@contextmanager
def machines(
    folder: Path,
    url: str,
    names: Sequence[str],
    lease_s: float,
    tool: Sequence[str] = (),
    more: str = "",
) -> Iterator[dict[str, Machine]]:
    """Started one after another; ended with the test.  more: lines for each orlop.toml."""
    key = folder / "cluster.key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    made: dict[str, Machine] = {}
    try:
        for name in names:
            home = folder / name
            home.mkdir()
            (home / "orlop.toml").write_text(
                CONFIG.format(url=url, name=name, key=key, folder=folder, lease_s=lease_s)
                + (TOOL.format(command=json.dumps(tool)) if tool else "")
                + more
            )
            made[name] = Machine(home)
            made[name].start()
        yield made
    finally:
        for machine in made.values():
            machine.stop()


def python(script: Path) -> tuple[str, str]:
    return sys.executable, str(script)
