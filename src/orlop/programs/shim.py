"""The parent of every command: starts it, keeps its output, writes down how it ended.

Standard library only, and nothing of ours: it is started by path, often, and must be quick.  On its
standard input it gets one line of JSON (what to run), then `go`.  If the kernel dies before `go`,
nothing was started.  When the lifeline closes, the system is gone for good and so is the command.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

GRACE_S: Final = 5.0
"""From SIGTERM to SIGKILL when the lifeline closes; as `abi.limits.KILL_GRACE_S`."""

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """If this shim is killed, so is its command (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def in_sandbox() -> None:
    """What holds a sandbox up ends with the program in it, not by the signals meant for that."""
    die_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def start(order: dict[str, object], folder: Path) -> "subprocess.Popen[bytes]":
    """The command, in a process group of its own, its output in files."""
    command, env = order["command"], order["env"]
    assert isinstance(command, list) and isinstance(env, dict)
    told: tuple[int, ...] = ()
    if order.get("sealed"):
        tally = os.open(folder / "tally.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        env, told = {**env, "ORLOP_TALLY": str(tally)}, (tally,)
    with (folder / "out").open("ab") as out, (folder / "err").open("ab") as err:
        return subprocess.Popen(
            command,
            cwd=str(order["cwd"]) or None,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            pass_fds=told,
            preexec_fn=in_sandbox if told else die_with_parent,
        )


def write(path: Path, value: dict[str, object]) -> None:
    """A small file, whole or not at all, also after a power cut."""
    draft = path.with_suffix(".new")
    with draft.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    parent = os.open(path.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)


def group(pid: int, number: int) -> None:
    """A signal to all that the command has started; if all have ended, to nobody."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def why_not(command: object, error: OSError) -> str:
    """Why nothing was started, as its owner can mend it."""
    program = command[0] if isinstance(command, list) else command
    if error.filename is not None and error.filename != program:
        return f"no folder {error.filename} to start it in"
    if isinstance(error, FileNotFoundError):
        return f"no program {program!r}: it is neither a path nor in PATH"
    return f"{program!r} can't be started: {error.strerror}"


def wait(command: "subprocess.Popen[bytes]", lifeline: int) -> int | None:
    """The command's status, or None where the lifeline closed first and the command was ended."""
    wakeup, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: group(command.pid, got))
    watched = [wakeup, lifeline]
    while command.poll() is None:
        ready, _, _ = select.select(watched, [], [])
        if wakeup in ready:
            os.read(wakeup, 512)
        if lifeline in ready:
            group(command.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(GRACE_S)
            group(command.pid, signal.SIGKILL)
            return None
    # What the command has left behind in its group ends with it.
    group(command.pid, signal.SIGKILL)
    return command.returncode


def main() -> int:
    folder, lifeline = Path(sys.argv[1]), int(sys.argv[2])
    order = json.loads(sys.stdin.readline() or "null")
    if order is None or sys.stdin.readline() != "go\n":
        return 0
    try:
        command = start(order, folder)
    except OSError as error:
        status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        write(
            folder / "status.json", {"status": status, "reason": why_not(order["command"], error)}
        )
        return 0
    write(folder / "command.json", {"pid": command.pid})
    ended = wait(command, lifeline)
    if ended is not None:
        reason = f"ended by signal {-ended}" if ended < 0 else ""
        write(folder / "status.json", {"status": ended, "reason": reason})
    return 0


if __name__ == "__main__":
    sys.exit(main())
