"""The parent of every tool's command: no tool outlives the kernel that called it.

Standard library only, and nothing of ours: it is started by path, once a call, and must be quick.
`warden.py LIFELINE LOCK COMMAND…`: the lifeline is a pipe that closes when the kernel ends, however
it ends; then the command and all of its process group are killed.  The lock is a file that nobody
else can lock before this process is gone, and it goes last: when the next kernel gets the lock,
nothing of the group runs any more.  SIGTERM ends the command before its time.

Its exit status is the command's, or 128 and the number of the signal that ended it, as a shell's.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from typing import Final

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
BY_SIGNAL: Final = 128
PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere a warden that is killed leaves its command running."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def watch_signals() -> int:
    """A descriptor that becomes readable when a signal has come."""
    wakeup, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return wakeup


def start(command: list[str]) -> int:
    """The command in a process group of its own; its process id."""
    tool = os.fork()
    if tool:
        with contextlib.suppress(OSError):  # The child has set its group itself, and goes on.
            os.setpgid(tool, tool)
        return tool
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores them, and exec keeps that.
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"can't be started: {command[0]}: {error.strerror}\n".encode())
        os._exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)


def wait(tool: int, wakeup: int, lifeline: int) -> int:
    """The command's status.  It is killed when the lifeline closes or somebody wants it ended."""
    while True:
        ended, status = os.waitpid(tool, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        ready, _, _ = select.select([wakeup, lifeline], [], [])
        if lifeline in ready or any(number != signal.SIGCHLD for number in os.read(wakeup, 512)):
            kill_group(tool)
            _, status = os.waitpid(tool, 0)
            return os.waitstatus_to_exitcode(status)


def kill_group(tool: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(tool, signal.SIGKILL)


def bury_group(tool: int) -> None:
    """End what the command has left running in its group, and wait until all of it is gone.

    Orphans come to this process, since it is their subreaper: so it can wait for each.
    """
    kill_group(tool)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-tool, 0)


def main() -> int:
    lifeline, lock, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    for descriptor in (lifeline, lock):
        os.set_inheritable(descriptor, False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup = watch_signals()
    if select.select([lifeline], [], [], 0)[0]:
        return BY_SIGNAL + signal.SIGKILL
    tool = start(command)
    # Whoever reads its output must see its end, and whoever writes to it that nobody reads.
    for standard in (0, 1, 2):
        os.close(standard)
    status = wait(tool, wakeup, lifeline)
    bury_group(tool)
    return status if status >= 0 else BY_SIGNAL - status


if __name__ == "__main__":
    # Nothing is left to be flushed, and its streams are closed.
    os._exit(main())
