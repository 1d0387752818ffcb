"""The parent of a program in a cell, and its watcher: restricts it, starts it, hears it, ends it.

Standard library and this package only: it starts with each program.  Its one argument is a plan.
What it starts holds no capability, can gain none, is under Landlock and a filter, and has nothing
of it: neither its descriptors nor its memory.  Its exit status is the program's, or 128 and the
number of the signal that ended it.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time  # noqa: TID251 (no clock of ours inside)
from typing import Final, NoReturn

from orlop.sandbox import landlock, plan, seccomp
from orlop.sandbox.notices import Watcher
from orlop.sandbox.plan import Plan
from orlop.sandbox.relay import Relays

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
BY_SIGNAL: Final = 128

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_CHILD_SUBREAPER: Final = 36
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
CAPABILITIES_MAX: Final = 63
CAPABILITY_VERSION_3: Final = 0x20080522
CAPSET: Final[dict[str, int]] = {"x86_64": 126, "aarch64": 91}

TALLY_S: Final = 0.5
"""Between two looks at what there is to tell."""

TALLY_BYTES: Final = 512

_libc = ctypes.CDLL(None, use_errno=True)


def powerless() -> None:
    """No capability, and no way to one: no set-uid program gives any."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(CAPABILITIES_MAX + 1):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    if _libc.syscall(CAPSET[os.uname().machine], header, bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities can't be dropped")
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs can't be set")


def found(command: str, path: str) -> str:
    """On the PATH, as a shell would."""
    if "/" in command:
        return command
    for folder in path.split(":"):
        if os.access(place := os.path.join(folder, command), os.X_OK):
            return place
    return command


def made() -> str:
    """A scratch folder of its own."""
    path = f"{os.environ.get('TMPDIR', '/tmp')}/orlop-cell-{os.urandom(8).hex()}"
    os.mkdir(path, 0o700)
    return path


def remove(folder: str) -> None:
    """With all that is in it; nobody is left who could put something else in its place."""
    for path, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            inner = os.path.join(path, name)
            with contextlib.suppress(OSError):
                (os.rmdir if os.path.isdir(inner) and not os.path.islink(inner) else os.unlink)(
                    inner
                )
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def limit(limits: tuple[tuple[str, int], ...]) -> None:
    for name, wanted in (("core", 0), *limits):
        which = getattr(resource, f"RLIMIT_{name.upper()}")
        _, hard = resource.getrlimit(which)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (allowed, allowed))


def restrict(cell: Plan) -> int:
    """Everything that holds from here on; the filter's descriptor, for the watcher."""
    limit(cell.limits)
    powerless()
    own_network = cell.tier == "bwrap"
    if cell.open_files:
        landlock.restrict(("/",), ("/",), offline=not own_network)
    else:
        # Its own entry under /proc, and nobody else's.
        reads = (*cell.reads, "/proc") if own_network else (*cell.reads, "/proc/self")
        landlock.restrict(reads, (*cell.writes, cell.scratch), offline=not own_network)
    return seccomp.install(seccomp.program(alone=own_network))


def child(cell: Plan, env: dict[str, str], ours: socket.socket) -> NoReturn:
    """Between fork and exec.  Never returns."""
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number in (
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if cell.cwd:
            os.chdir(cell.cwd)
        command = found(cell.command[0], env.get("PATH", os.defpath))
        listener = restrict(cell)
        socket.send_fds(ours, [b"f"], [listener])
        os.close(listener)
        ours.recv(1)  # The watcher listens.
        os.closerange(3, 65_536)
        os.execve(command, cell.command, env)
    except BaseException as error:  # Whatever it is: nothing of ours may go on in a child.
        is_missing = isinstance(error, FileNotFoundError)
        why = "it is not in there; name its folder (--read)" if is_missing else error
        os.write(2, f"can't be started in its sandbox: {cell.command[0]}: {why}\n".encode())
        os._exit(NOT_FOUND if is_missing else NOT_EXECUTABLE)


def start(cell: Plan, env: dict[str, str]) -> tuple[int, int]:
    """The program's process id, and what its filter tells through (-1: nothing has run)."""
    ours, theirs = socket.socketpair()
    program = os.fork()
    if program == 0:
        ours.close()
        child(cell, env, theirs)
    theirs.close()
    with ours:
        _, listeners, _, _ = socket.recv_fds(ours, 1, 1)
        if not listeners:
            return program, -1  # It could not be restricted, has said why, and ends.
        ours.send(b"g")
    return program, listeners[0]


def tell(tally: int, watcher: Watcher) -> None:
    """Into the file that the kernel reads."""
    if tally >= 0:
        os.pwrite(tally, json.dumps(dict(watcher.tally)).encode().ljust(TALLY_BYTES), 0)


def attend(
    tally: int, program: int, watcher: Watcher, selector: selectors.BaseSelector, relays: Relays
) -> int:
    """Until the program has ended; its status as the kernel gives it."""
    wakeup, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector.register(wakeup, selectors.EVENT_READ, "ended")
    if watcher.listener >= 0:
        selector.register(watcher.listener, selectors.EVENT_READ, "told")
    told: dict[str, int] = {}
    while True:
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            return status
        reap(program)
        now_s = time.monotonic()
        rest_s = relays.retry(now_s)
        for key, events in selector.select(TALLY_S if rest_s is None else max(0.0, rest_s)):
            if key.data == "ended":
                os.read(wakeup, 512)
            elif key.data == "told":
                if events & selectors.EVENT_READ:
                    watcher.take()
            else:
                relays.ready(key.data, events, now_s)
        if told != watcher.tally:
            told = dict(watcher.tally)
            tell(tally, watcher)


def reap(program: int) -> None:
    """Orphans come to us; the program itself is waited for by name."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == program:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)


def bury() -> None:
    """All that the program has started ends with it, wherever it has hidden."""
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            left = [int(word) for word in children.read().split()]
        if not left:
            return
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for process in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)


def prepared(cell: Plan, env: dict[str, str], relays: Relays) -> tuple[Plan, bool]:
    """The plan with what is known only now; whether its scratch folder is ours to remove."""
    ports = [relays.open(port, target) for port, target in cell.relays]
    for name in cell.proxy_variables:
        env[name] = env[name].replace("{port}", str(ports[-1]))
    is_ours = not cell.scratch and not cell.open_files
    scratch = made() if is_ours else cell.scratch
    if scratch:
        env |= {"TMPDIR": scratch, "HOME": scratch}
    granted = () if cell.open_files else (*cell.writes, scratch)
    return cell._replace(
        ports=(*cell.ports, *ports),
        scratch=scratch,
        sockets=(*cell.sockets, *granted),
    ), is_ours


def main(text: str) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # For the program; it ends, and then so do we.
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    tally = int(os.environ.pop("ORLOP_TALLY", "-1"))
    selector = selectors.DefaultSelector()
    relays = Relays(selector)
    env = plan.read_env(os.environ)
    cell, is_ours = prepared(plan.read(text), env, relays)
    try:
        program, listener = start(cell, env)
        watcher = Watcher(cell, listener)
        status = os.waitstatus_to_exitcode(attend(tally, program, watcher, selector, relays))
        bury()
        tell(tally, watcher)
    finally:
        if is_ours:
            remove(cell.scratch)
    return status if status >= 0 else BY_SIGNAL - status


if __name__ == "__main__":
    os._exit(main(sys.argv[1]))
