"""Engine hosts as the kernel sees them: processes of their own that outlive it, found by a file.

Invariants: 1. a state file names one process by number and start time, before that process loads
anything; 2. a host that loads or answers with the wanted settings is used, never doubled; 3. who
waits for a host is told when it ends.
"""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec
import psutil
from msgspec import Struct

from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import EngineName
from orlop.abi.limits import KILL_GRACE_S
from orlop.devices.artefact import write_atomic
from orlop.machine.clock import Clock

MEMORY: Final = Path("/dev/shm")
"""A file system in RAM, where there is one."""

_GLANCE_S: Final = 0.02
_WORDS_CHARS: Final = 300
_FOREIGN: Final = re.compile(r"\d+\.\d+\.\d+\.\d+ [A-Z] ")
"""How a line of llama.cpp's log begins: time and level."""

_START_TOLERANCE_S: Final = 1.0
"""Start times are counted from the boot's, which moves when the clock is corrected."""


class HostSettings(Struct, frozen=True, kw_only=True):
    """What makes one host another: with other settings it is ended and started anew."""

    name: str
    """What it calls its model."""
    model: str
    """The weights' path."""
    slots: int
    context_tokens: int
    """Of each slot."""
    embedding: bool = False
    slot_folder: str = ""
    """Where it saves slots; beside its state if empty."""
    cache: bool = True
    """Prompts that left their slot stay in its RAM."""
    sha256: str = ""
    """That the weights must have; empty: as when they were last read."""


class HostState(Struct, frozen=True, kw_only=True):
    """The state file: one host, while it loads (no `url` yet) and while it answers."""

    pid: int
    started_s: float
    settings: HostSettings
    url: str = ""
    key: str = ""
    sha256: str = ""
    """Of the weights."""


def read(path: Path) -> HostState | None:
    """None where there is no file, or one that an older Orlop wrote."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=HostState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write(path: Path, state: HostState) -> None:
    """Only the owner may read it: it holds the host's key."""
    write_atomic(path, msgspec.json.encode(state), mode=0o600)


def started_s(pid: int) -> float:
    """When a process began; with its number, its name for ever."""
    return float(psutil.Process(pid).create_time())


def is_alive(state: HostState) -> bool:
    """Whether that very process still runs: numbers are used again."""
    try:
        process = psutil.Process(state.pid)
        age_s = abs(float(process.create_time()) - state.started_s)
        is_zombie = bool(process.status() == psutil.STATUS_ZOMBIE)
        return age_s < _START_TOLERANCE_S and not is_zombie
    except psutil.Error:
        return False


class HostKeeper:
    """Finds the host of the engine `name`, or starts it; one caller at a time.

    folder: where its state and its log go.  lifeline: the read end of a pipe whose other end the
    supervisor holds; None where nobody does.
    """

    def __init__(
        self,
        name: EngineName,
        settings: HostSettings,
        folder: Path,
        lifeline: int | None,
        clock: Clock,
    ) -> None:
        self._name = name
        self._settings = settings
        self._state = folder / f"{name}.json"
        self._log = folder / f"{name}.log"
        self._lifeline = lifeline
        self._clock = clock

    async def ready(self) -> HostState:
        """A host that answers.  Raises `DeviceFailed`; the caller sets the deadline."""
        state = read(self._state)
        if state is None or not is_alive(state):
            await self._launch()
        elif state.settings != self._settings:
            await self.end()
            await self._launch()
        while True:
            state = read(self._state)
            if state is None or not is_alive(state):
                raise DeviceFailed(f"the host of {self._name} ended: {self._last_words()}")
            if state.url:
                return state
            await self._clock.sleep(_GLANCE_S)

    def seen(self) -> HostState | None:
        """The host that answers now, if there is one with the wanted settings; starts nothing."""
        state = read(self._state)
        if state is None or not state.url or state.settings != self._settings:
            return None
        return state if is_alive(state) else None

    async def end(self) -> None:
        """End the host, if there is one, and wait until it has."""
        state = read(self._state)
        if state is None:
            return
        grace = int(KILL_GRACE_S / _GLANCE_S)
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if is_alive(state):
                os.kill(state.pid, sign)
            for _ in range(grace):
                if not is_alive(state):
                    self._state.unlink(missing_ok=True)
                    return
                await self._clock.sleep(_GLANCE_S)
        raise DeviceFailed(f"process {state.pid}, the host of {self._name}, does not end")

    async def _launch(self) -> None:
        """Returns when the state file names the new host, which loads on."""
        self._state.parent.mkdir(parents=True, exist_ok=True)
        kept = () if self._lifeline is None else (self._lifeline,)
        with self._log.open("wb") as log:
            starter = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=kept,
            )
            status = await starter.wait()
        if status:
            raise DeviceFailed(f"no host for {self._name}: {self._last_words()}")

    def _command(self) -> list[str]:
        settings = self._settings
        command = [sys.executable, "-m", "orlop.devices.llamacpp_host", "--detach"]
        command += ["--model", settings.model, "--name", settings.name]
        command += ["--slots", str(settings.slots), "--context", str(settings.context_tokens)]
        command += ["--state", str(self._state)]
        if settings.embedding:
            command.append("--embedding")
        if settings.slot_folder:
            command += ["--slot-folder", settings.slot_folder]
        if not settings.cache:
            command.append("--no-cache")
        if settings.sha256:
            command += ["--sha256", settings.sha256]
        if self._lifeline is not None:
            command += ["--lifeline", str(self._lifeline)]
        return command

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        # llama.cpp's own lines may follow ours: it writes them from a thread of its own.
        ours = [line for line in lines if not _FOREIGN.match(line)] or lines
        last = ours[-1][-_WORDS_CHARS:] if ours else "it left no word"
        return f"{last} (more in {self._log})"
