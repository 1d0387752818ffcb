"""A kernel as users have it, on a home of its own: `orlop up` in a process, ended with the test."""

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import msgspec

from orlop.abi.admin import Inventory, NewKey
from orlop.machine.settings import default_models_dir

ORLOP = (sys.executable, "-m", "orlop.shell.main")
READY_S = 30.0
ANYBODY = ssl.create_default_context()
ANYBODY.check_hostname, ANYBODY.verify_mode = False, ssl.CERT_NONE
CONFIG = """
[models]
dir = "{models}"

[models.ladders.either]
rungs = ["best", "fake"]  # nobody has the first

[engines.fake]
driver = "fake"

[engines.breaking]
driver = "fake"
fake = {{ models = ["breaking"], embed_models = [], tokens = 5000, fail = 1.0 }}

[engines.slow]
driver = "fake"
fake = {{ models = ["slow"], embed_models = [], tokens = 200, decode_s = 0.02 }}
"""


@dataclass(frozen=True, slots=True)
class LiveKernel:
    """`key` is a client's; `environment` is all that a client needs to be told."""

    home: Path
    url: str
    key: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "ORLOP_HOME": str(self.home),
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": self.key,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": self.key,
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
        }

    def ask(self, path: str) -> bytes:
        """What the kernel tells its operator at a path below `/orlop/v1`; cheap enough to poll."""
        return told(self.home, f"{self.url}/orlop/v1/{path}")

    def orlop(self, *arguments: str) -> str:
        """What an `orlop` command prints."""
        return orlop(self.home, arguments)


def orlop(home: Path, arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [*ORLOP, *arguments],
        env={**os.environ, "ORLOP_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"orlop {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def live_kernel(config: str = "", *, models: Path | None = None) -> Iterator[LiveKernel]:
    """models: where pulled models lie; by default nowhere, so that no real engine starts."""
    home = Path(tempfile.mkdtemp(prefix="orlop-"))
    settings = home / "orlop.toml"
    settings.write_text(CONFIG.format(models=models or home / "no-models") + config)
    with (home / "up.out").open("wb") as output:
        up = subprocess.Popen(
            [*ORLOP, "up", "--home", str(home), "--port", "0", "--config", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        url = _wait_ready(home, up)
        made = told(home, f"{url}/orlop/v1/keys", b'{"name":"tests"}')
        yield LiveKernel(home, url, msgspec.json.decode(made, type=NewKey).secret)
    finally:
        was_killed = up.poll() is not None
        up.send_signal(signal.SIGTERM)
        up.wait(30)
        left = [path for path in home.rglob("*") if path.is_socket()]
        shutil.rmtree(home, ignore_errors=True)
    assert was_killed or not left, "a kernel that has ended leaves no socket"


def real_models() -> Path | None:
    """Where `orlop pull` put SmolLM2, if it did."""
    shelf = default_models_dir()
    return shelf if (shelf / "smollm2").is_dir() else None


def _wait_ready(home: Path, up: subprocess.Popen[bytes]) -> str:
    """The kernel's URL, once it admits calls to all of its engines."""
    give_up_s = time.monotonic() + READY_S
    said: object = "it does not answer"
    while time.monotonic() < give_up_s:
        assert up.poll() is None, _logs(home)
        with contextlib.suppress(OSError, HTTPException, ValueError):  # Not yet.
            url = str(json.loads((home / "info.json").read_text())["url"])
            inventory = told(home, f"{url}/orlop/v1/inventory")
            said = msgspec.json.decode(inventory, type=Inventory).engines
            if all(engine.health == "ready" for engine in said):
                return url
        time.sleep(0.05)
    raise AssertionError(f"no kernel within {READY_S:g} s: {said}\n{_logs(home)}")


def told(home: Path, url: str, body: bytes | None = None) -> bytes:
    """What the kernel answers its operator: without a command, whose start takes longer."""
    token = (home / "keys" / "operator.token").read_text().strip()
    request = Request(url, body, headers={"authorization": f"Bearer {token}"})
    with urlopen(request, timeout=READY_S, context=ANYBODY) as answer:
        said: bytes = answer.read()
        return said


def _logs(home: Path) -> str:
    files = (home / "up.out", home / "log" / "kernel.log")
    return "\n".join(file.read_text() for file in files if file.exists())
