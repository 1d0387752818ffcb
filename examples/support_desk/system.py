"""The demo's kernel, driven as a user drives it: by `orlop` commands, in a throw-away home."""

import os
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import psutil
from msgspec import Struct

import desk
import shop
from orlop.abi.admin import HomeInfo, Info, NewKey, ProcessView
from orlop.sdk.operator import operator

COMMAND_S: Final = 60.0
"""How long one `orlop` command may take; only `up` loads anything."""

GONE_S: Final = 10.0
"""After `orlop down`, how long the last of its processes may take to end."""

FAKE: Final = """
[models]
dir = "$nowhere"

[engines.arithmetic]
driver = "fake"
fake = { models = ["smollm2"], embed_models = ["minilm"], slots = 2, tokens = 40, decode_s = 0.03 }
"""


class DemoFailed(Exception):
    """What went wrong, and where to look."""


class Verified(Struct, frozen=True):
    """As much as the report needs of `orlop journal verify --json`."""

    events: int


class _Address(Struct, frozen=True):
    url: str
    key: str


@dataclass(frozen=True, slots=True)
class System:
    """A kernel's home and, beside it, the shop."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def shop(self) -> Path:
        return self.folder / "shop.db"

    @property
    def vectors(self) -> Path:
        return self.folder / "vectors.json"

    def prepare(self, *, fake: bool) -> None:
        """An empty folder, a fresh shop, and the settings."""
        if (self.home / "info.json").exists():
            self.down()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.home.mkdir(parents=True, mode=0o700)
        shop.make(self.shop)
        settings = (desk.HERE / "orlop.toml").read_text() + (FAKE if fake else "")
        places = {
            "python": sys.executable,
            "here": str(desk.HERE),
            "shop": str(self.shop),
            "nowhere": str(self.folder / "nowhere"),
        }
        (self.home / "orlop.toml").write_text(string.Template(settings).substitute(places))

    def orlop(self, *arguments: str) -> str:
        """What an `orlop` command prints.  Raises `DemoFailed` with what it complains of."""
        command = [sys.executable, "-m", "orlop.shell.main", *arguments]
        try:
            done = subprocess.run(
                command, env=self._env(), capture_output=True, text=True, timeout=COMMAND_S
            )
        except subprocess.TimeoutExpired as error:
            shown = " ".join(arguments)
            raise DemoFailed(f"`orlop {shown}` took more than {COMMAND_S:g} s") from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise DemoFailed(f"`orlop {' '.join(arguments)}` failed: {said}")
        return done.stdout

    def up(self, engines: Sequence[str]) -> None:
        """Returns when the models are loaded."""
        self.orlop("up", "--detach", "--port=0", *(f"--engine={engine}" for engine in engines))

    def down(self) -> None:
        self.orlop("down")

    def info(self) -> Info:
        return msgspec.json.decode(self.orlop("info", "--json"), type=Info)

    def run(self, name: str, env: Mapping[str, str], command: Sequence[str]) -> ProcessView:
        """Start an agent that is started again when it fails."""
        named = [f"--env={key}={value}" for key, value in env.items()]
        options = ["--detach", "--json", f"--name={name}", "--restart=on-failure", *named]
        said = self.orlop("run", *options, "--", *command)
        return msgspec.json.decode(said, type=ProcessView)

    def processes(self) -> list[ProcessView]:
        """All that ever ran; waits while the kernel is away."""
        return operator(home=self.home).processes(ended=True)

    def address(self) -> tuple[str, str]:
        """Where OpenAI's clients find the kernel, and a key of their own."""
        url = msgspec.json.decode((self.home / "info.json").read_bytes(), type=HomeInfo).url
        made = self.orlop("key", "create", "demo", "--json")
        return f"{url}/v1", msgspec.json.decode(made, type=NewKey).secret

    def engine_address(self) -> tuple[str, str]:
        """Where the embedded model's own server listens, behind the kernel's back."""
        state = (self.home / "engines" / f"{desk.CHAT_MODEL}.json").read_bytes()
        host = msgspec.json.decode(state, type=_Address)
        return f"{host.url.rstrip('/')}/v1", host.key

    def verify(self) -> Verified:
        """The journal, on its files alone.  Raises `DemoFailed` where it is damaged."""
        return msgspec.json.decode(self.orlop("journal", "verify", "--json"), type=Verified)

    def left_running(self) -> list[psutil.Process]:
        """What still runs of this home; [] as soon as nothing does."""
        give_up_s = time.monotonic() + GONE_S
        while (found := self._running()) and time.monotonic() < give_up_s:
            time.sleep(0.1)
        return found

    def _running(self) -> list[psutil.Process]:
        """All that were started with this home on their command line: kernel, hosts, shims."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return any(str(self.home) in word for word in process.cmdline())
        except psutil.Error:
            return False

    def _env(self) -> dict[str, str]:
        """Ours, without what another kernel may have told us."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("ORLOP_")}
        return {**env, "ORLOP_HOME": str(self.home)}
