"""The watcher: what the filter tells is judged (connections) or counted (files, programs).

Standard library only.  A connection is made *by the watcher*, on the program's own socket and with
the bytes that were looked at: a program that changes them meanwhile changes nothing.  What is only
counted goes on in the kernel unseen, so no rule may hang on it.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from orlop.sandbox import attributes, seccomp
from orlop.sandbox.plan import Plan

RECEIVE: Final = 0xC0502100
SEND: Final = 0xC0182101
IS_VALID: Final = 0x40082102
CONTINUE: Final = 1

NOTICE: Final = struct.Struct("=QIIiIQ6Q")
ANSWER: Final = struct.Struct("=QqiI")

PIDFD_OPEN: Final = 434
PIDFD_GETFD: Final = 438

ADDRESS_BYTES_MAX: Final = 128
PATH_BYTES_MAX: Final = 4_096

PASSING: Final = ("/dev/", "/proc/")
"""What is written there is no file that stays."""

PATH_AT: Final = {
    "open": (None, 0),
    "openat": (0, 1),
    "creat": (None, 0),
    "truncate": (None, 0),
    "unlink": (None, 0),
    "rmdir": (None, 0),
    "mkdir": (None, 0),
    "rename": (None, 1),
    "link": (None, 1),
    "symlink": (None, 1),
    "unlinkat": (0, 1),
    "mkdirat": (0, 1),
    "renameat": (2, 3),
    "renameat2": (2, 3),
    "linkat": (2, 3),
    "symlinkat": (1, 2),
}
"""Of each call that changes files: which argument is the folder, and which the path that is new."""

_libc = ctypes.CDLL(None, use_errno=True)


class Notice(NamedTuple):
    """One system call that waits for us."""

    id: int
    thread: int
    call: str
    arguments: tuple[int, ...]


class Watcher:
    """Of one cell.  `tally`: what was done, by kind: files, programs, connections, refused."""

    def __init__(self, plan: Plan, listener: int) -> None:
        self.plan = plan
        self.listener = listener
        self.tally: Counter[str] = Counter()
        self._names = seccomp.names()
        self._is_begun = False  # The program itself runs: whatever is started now, it starts.

    def take(self) -> None:
        """Hear one notice and answer it."""
        buffer = bytearray(NOTICE.size)
        try:
            fcntl.ioctl(self.listener, RECEIVE, buffer)
        except OSError:
            return  # Whoever waited has been killed.
        id, thread, _, number, _, _, *arguments = NOTICE.unpack(buffer)
        notice = Notice(id, thread, self._names.get(number, ""), tuple(arguments))
        judge = self._judge(notice.call)
        if judge is not None:
            # One that blocks must not keep the others waiting.
            threading.Thread(target=self._judged, args=(notice, judge), daemon=True).start()
            return
        with contextlib.suppress(OSError):
            self._count(notice)
        self._answer(notice, 0, CONTINUE)

    def _judge(self, call: str) -> Callable[[Notice], None] | None:
        """Who decides about it; None: it is only counted."""
        if call == "connect":
            return self._connect
        if call == "listen":
            return self._listen
        return self._change if call in seccomp.SHARED_TOLD else None

    def _answer(self, notice: Notice, error: int, flags: int = 0) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.listener, SEND, ANSWER.pack(notice.id, 0, -error, flags))

    def _is_valid(self, notice: Notice) -> bool:
        """Whether the thread still waits; until then its number may be a stranger's."""
        try:
            fcntl.ioctl(self.listener, IS_VALID, struct.pack("=Q", notice.id))
        except OSError:
            return False
        return True

    def _judged(self, notice: Notice, judge: Callable[[Notice], None]) -> None:
        try:
            judge(notice)
            error = 0
        except OSError as refused:
            error = refused.errno or errno.EACCES
            if error in (errno.EACCES, errno.EPERM):
                self.tally["refused"] += 1
        self._answer(notice, error)

    def _change(self, notice: Notice) -> None:
        """A file's mode, owner or times, where Landlock can't withhold them.  Raises `OSError`."""
        place = self._changed(notice)
        try:
            found = os.readlink(f"/proc/self/fd/{place}")
            if not covered(found, (*self.plan.writes, self.plan.scratch), self.plan.reads):
                raise OSError(errno.EPERM, found)
            attributes.change(notice.call, notice.arguments, place, self._times(notice))
        finally:
            os.close(place)

    def _changed(self, notice: Notice) -> int:
        """A descriptor of ours for the file that is meant."""
        folder, place, flags = attributes.MEANT[notice.call]
        if place is None or (folder is not None and notice.arguments[place] == 0):
            return self._held(notice)
        follow = notice.call != "lchown"
        if flags is not None:
            follow = not notice.arguments[flags] & attributes.NOFOLLOW
        name = self._path(notice, (folder, place))
        return os.open(name, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))

    def _times(self, notice: Notice) -> bytes | None:
        """What the times shall be, as it lies in memory; None: now."""
        place = attributes.TIMES_AT.get(notice.call)
        if place is None or notice.arguments[place] == 0:
            return None
        return self._memory(notice, notice.arguments[place], attributes.TIMES_BYTES)

    # Files and programs are counted.

    def _count(self, notice: Notice) -> None:
        """Programs that are started, but for the first, and files that are changed for good."""
        if notice.call.startswith("execve"):
            where = (None, 0) if notice.call == "execve" else (0, 1)
            if os.path.isfile(self._path(notice, where)):
                self.tally["programs"] += self._is_begun
                self._is_begun = True
            return
        path = os.path.normpath(self._path(notice))
        lasting = tuple(one for one in self.plan.writes if one != "/dev")
        if not path.startswith(PASSING) and not covered(path, (self.plan.scratch,), lasting):
            self.tally["files"] += 1

    def _path(self, notice: Notice, where: tuple[int | None, int] | None = None) -> str:
        folder, place = where or PATH_AT[notice.call]
        text = self._memory(notice, notice.arguments[place], PATH_BYTES_MAX)
        path = os.fsdecode(text.partition(b"\0")[0])
        if not path.startswith("/"):
            at = -100 if folder is None else ctypes.c_int32(notice.arguments[folder]).value
            base = "cwd" if at == -100 else f"fd/{at}"
            path = f"{os.readlink(f'/proc/{notice.thread}/{base}')}/{path}"
        return path

    def _memory(self, notice: Notice, address: int, size: int) -> bytes:
        """What lies there; fewer bytes where a page ends that is the last one."""
        with open(f"/proc/{notice.thread}/mem", "rb", buffering=0) as memory:
            page = 4_096 - address % 4_096
            found = os.pread(memory.fileno(), min(size, page), address)
            if len(found) < size and b"\0" not in found:
                with contextlib.suppress(OSError):
                    found += os.pread(memory.fileno(), size - len(found), address + len(found))
        if not self._is_valid(notice):
            raise OSError(errno.ESRCH, "the caller has gone")
        return found

    # Connections are judged.

    def _socket(self, notice: Notice) -> socket.socket:
        """The program's own socket, held by us too."""
        return socket.socket(fileno=self._held(notice))

    def _held(self, notice: Notice) -> int:
        """What the program means by its first argument, held by us too."""
        with open(f"/proc/{notice.thread}/status") as status:
            lines = dict(
                line.split(":\t", 1) for line in status.read().splitlines() if ":\t" in line
            )
        holder = _checked(_libc.syscall(PIDFD_OPEN, int(lines["Tgid"]), 0))
        try:
            if not self._is_valid(notice):
                raise OSError(errno.ESRCH, "the caller has gone")
            number = ctypes.c_int32(notice.arguments[0]).value
            return _checked(_libc.syscall(PIDFD_GETFD, holder, number, 0))
        finally:
            os.close(holder)

    def _connect(self, notice: Notice) -> None:
        """Raises `OSError` with what the program shall see."""
        size = min(ctypes.c_uint32(notice.arguments[2]).value, ADDRESS_BYTES_MAX)
        address = self._memory(notice, notice.arguments[1], size)[:size]
        if len(address) < 2:
            raise OSError(errno.EINVAL, "no address")
        family = int.from_bytes(address[:2], "little")
        with self._socket(notice) as ours:
            if family == socket.AF_UNIX:
                self._connect_unix(notice, ours, address[2:])
                return
            if family in (socket.AF_INET, socket.AF_INET6):
                self._require_inet(family, address)
            elif family != socket.AF_UNSPEC:
                raise OSError(errno.EAFNOSUPPORT, "family")
            self.tally["connections"] += 1
            _checked(_libc.connect(ours.fileno(), address, len(address)))

    def _require_inet(self, family: int, address: bytes) -> None:
        """A network of its own has nothing but itself; another is open at the named ports only."""
        if self.plan.tier == "bwrap":
            return
        port = int.from_bytes(address[2:4], "big")
        if family == socket.AF_INET:
            host = socket.inet_ntop(family, address[4:8])
        else:
            host = socket.inet_ntop(family, address[8:24]).removeprefix("::ffff:")
        if host != "127.0.0.1" or port not in self.plan.ports:
            raise OSError(errno.EACCES, f"{host}:{port}")

    def _connect_unix(self, notice: Notice, ours: socket.socket, path: bytes) -> None:
        if not path or path[0] == 0:
            if self.plan.tier != "bwrap":
                raise OSError(errno.EACCES, "abstract sockets are everybody's")
            _connect_to_path(ours, path)
            return
        name = os.fsdecode(path.partition(b"\0")[0])
        if not name.startswith("/"):
            name = f"/proc/{notice.thread}/cwd/{name}"
        try:
            place = os.open(name, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            # What is not granted is not even known to be there.
            if self._is_granted(os.path.normpath(name)):
                raise
            raise OSError(errno.EACCES, name) from error
        try:
            # Where the path leads, held fast: it can't be bent between the look and the connection.
            found = os.readlink(f"/proc/self/fd/{place}")
            if not self._is_granted(found):
                raise OSError(errno.EACCES, found)
            _connect_to_path(ours, f"/proc/self/fd/{place}".encode() + b"\0")
        finally:
            os.close(place)

    def _is_granted(self, path: str) -> bool:
        return covered(path, self.plan.sockets, self.plan.reads)

    def _listen(self, notice: Notice) -> None:
        """Nobody outside shall reach it where the network is not its own."""
        with self._socket(notice) as ours:
            if self.plan.tier != "bwrap" and ours.family != socket.AF_UNIX:
                raise OSError(errno.EACCES, "listen")
            backlog = ctypes.c_int32(notice.arguments[1]).value
            _checked(_libc.listen(ours.fileno(), backlog))


def covered(path: str, granted: tuple[str, ...], withheld: tuple[str, ...]) -> bool:
    """Whether `path` lies in what is granted, and not deeper in what is not."""
    return depth(path, granted) > depth(path, withheld)


def depth(path: str, folders: tuple[str, ...]) -> int:
    """Characters of the longest of `folders` that `path` lies in; 0: in none."""
    within = [one for one in folders if one and f"{path}/".startswith(one.rstrip("/") + "/")]
    return max(map(len, within), default=0)


def _connect_to_path(ours: socket.socket, path: bytes) -> None:
    address = struct.pack("=H", socket.AF_UNIX) + path
    _checked(_libc.connect(ours.fileno(), address, len(address)))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
