"""Programs as operating-system processes, each under a shim of its own.

A shim is named for ever by its process id and start time.  It outlives the kernel that started it;
what it leaves behind in its folder (`RUN/PROCESS/INCARNATION`) tells any later kernel how it ended.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import psutil

from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import ProcessId
from orlop.abi.sandbox import Sandbox
from orlop.machine.clock import Clock

WATCH_S: Final = 0.2
"""Between two looks at a shim where there is no pidfd: not on Linux, or too many open files."""

START_SLACK_S: Final = 0.05
"""Start times are read from the clock ticks of the system; two readings may differ by one."""

SIGNALS: Final[Mapping[str, int]] = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "int": signal.SIGINT,
    "stop": signal.SIGSTOP,
    "cont": signal.SIGCONT,
}


class Program(Protocol):
    """What a shim needs to know of a process; the kernel's rows have it."""

    @property
    def id(self) -> ProcessId: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def cwd(self) -> str: ...
    @property
    def env(self) -> dict[str, str]: ...
    @property
    def sandbox(self) -> Sandbox | None: ...
    @property
    def os_pid(self) -> int | None: ...
    @property
    def os_started(self) -> float | None: ...


Seal: TypeAlias = Callable[
    [Program, Sequence[str], Mapping[str, str]], tuple[Sequence[str], Mapping[str, str]]
]
"""Program, command and environment to what is started in their place, for one with a sandbox."""


class Shims:
    """The launcher of production.

    environment: what a program finds in its environment variables, the kernel's own included.
    lifeline: the read end of a pipe that closes when the system is gone for good.
    """

    def __init__(
        self,
        run: Path,
        script: Path,
        lifeline: int,
        clock: Clock,
        environment: Callable[[Program], Mapping[str, str]],
        seal: Seal | None = None,
    ) -> None:
        self._run = run
        self._script = script
        self._lifeline = lifeline
        self._clock = clock
        self._environment = environment
        self._seal = seal
        self._waiting: dict[ProcessId, subprocess.Popen[bytes]] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        """By process id; those of an earlier kernel are not among them."""

    def folder(self, program: Program) -> Path:
        return self._run / program.id / str(program.incarnation)

    async def launch(self, program: Program) -> tuple[int, float]:
        """Start the shim; the command waits for `go`.  Raises `DeviceFailed`."""
        folder = self.folder(program)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("out", "err"):
                (folder / name).touch(mode=0o600)
            with (folder / "err").open("ab") as said:
                shim = subprocess.Popen(  # noqa: ASYNC220 (a fork and exec; the shim waits for us)
                    [
                        sys.executable,
                        "-I",
                        "-S",
                        str(self._script),
                        str(folder),
                        str(self._lifeline),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    pass_fds=(self._lifeline,),
                    start_new_session=True,
                )
            started = psutil.Process(shim.pid).create_time()
        except (OSError, psutil.Error) as error:
            raise DeviceFailed(f"a shim could not be started: {error}") from error
        self._waiting[program.id] = self._children[shim.pid] = shim
        return shim.pid, started

    def go(self, program: Program) -> None:
        """Let the command run."""
        shim = self._waiting.pop(program.id, None)
        if shim is None or shim.stdin is None:
            return
        env = self._environment(program)
        command: Sequence[str] = list(program.command)
        # As a shell would: the name is looked up on the program's own PATH, not on ours.
        found = shutil.which(command[0], path=env.get("PATH")) or command[0]
        command = [found, *command[1:]]
        sealed = program.sandbox is not None
        if sealed:
            assert self._seal is not None
            command, env = self._seal(program, command, env)
        order = {
            "command": list(command),
            "cwd": "/" if sealed else program.cwd,
            "env": dict(env),
            "sealed": sealed,
        }
        try:
            with shim.stdin as gate:
                gate.write(json.dumps(order).encode() + b"\ngo\n")
        except BrokenPipeError:
            pass  # The shim was killed meanwhile; whoever watches it will see that.

    def alive(self, program: Program) -> bool:
        return program.os_pid is not None and is_alive(program.os_pid, program.os_started)

    def ended(self, program: Program) -> tuple[int, str] | None:
        """The command's status and why, or None where the shim could not write it down."""
        try:
            said = json.loads((self.folder(program) / "status.json").read_text())
            return int(said["status"]), str(said["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def tally(self, program: Program) -> Mapping[str, int]:
        """What sandboxes of its incarnations have counted: files, programs, connections."""
        counted: Counter[str] = Counter()
        for path in self.folder(program).parent.glob("*/tally.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                counted.update(json.loads(path.read_text() or "{}"))
        return counted

    def signal(self, program: Program, name: str) -> None:
        """To the command's whole group; to the shim where no command runs yet."""
        if program.os_pid is None:
            return
        if not self.alive(program):
            if name == "kill" and self.ended(program) is None:
                self._end_orphans(program)
            return
        waiting = self._waiting.pop(program.id, None)
        try:
            if waiting is not None:
                waiting.kill()
                return
            said = json.loads((self.folder(program) / "command.json").read_text())
            os.killpg(int(said["pid"]), SIGNALS[name])
        except (FileNotFoundError, ProcessLookupError):
            if name in ("kill", "term", "int"):
                _kill(program.os_pid)

    def _end_orphans(self, program: Program) -> None:
        """A shim that was killed takes its command with it, but not what the command had started.

        By now its process group may be a stranger's: only what has our name in its environment
        variables is ours.
        """
        wanted = {"ORLOP_PROCESS": program.id, "ORLOP_INCARNATION": str(program.incarnation)}
        try:
            group = int(json.loads((self.folder(program) / "command.json").read_text())["pid"])
            os.killpg(group, 0)
        except (OSError, ValueError, KeyError, TypeError):
            return
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getpgid(process.pid) == group and wanted.items() <= process.environ().items():
                    process.kill()

    async def watch(self, program: Program) -> None:
        """Return when the shim has ended, however it ended."""
        if program.os_pid is None:
            return
        if self.alive(program) and not await pid_ended(program.os_pid):
            while self.alive(program):
                await self._clock.sleep(WATCH_S)
        if (child := self._children.pop(program.os_pid, None)) is not None:
            child.poll()  # Until somebody asks how it ended, it stays a zombie.


def is_alive(pid: int, started: float | None) -> bool:
    """Whether the process of that id *and start time* runs (a zombie does not)."""
    try:
        process = psutil.Process(pid)
        if started is not None and abs(process.create_time() - started) > START_SLACK_S:
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


async def pid_ended(pid: int) -> bool:
    """Return when it has ended: True.  False, at once, where there is no (more) pidfd for it."""
    loop = asyncio.get_running_loop()
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    gone: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not gone.done():
            gone.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return True


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
