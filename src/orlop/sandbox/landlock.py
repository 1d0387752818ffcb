"""Landlock by its three system calls: which files a thread, and all that it starts, may touch.

Standard library only: this runs inside, between fork and exec.  Rights that an older kernel does
not know are left out, and `abi()` says how many it knows; whoever needs more must ask first.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446

ABI_MIN: Final = 3
"""Before it, a file that may only be read can still be cut to nothing."""

ABI_SCOPES: Final = 6
"""From it on, signals and abstract Unix sockets stay inside."""

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
MAKE_CHAR: Final = 1 << 6
MAKE_BLOCK: Final = 1 << 11
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15

RIGHTS_BY_ABI: Final = (0, 13, 14, 15, 15, 16)
"""How many of the rights on files each version knows, from version 0."""

OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that mean something on what is no folder."""

READING: Final = EXECUTE | READ_FILE | READ_DIR
NET_BIND_TCP: Final = 1 << 0
NET_CONNECT_TCP: Final = 1 << 1
SCOPES: Final = 0b11
"""Abstract Unix sockets, and signals."""

PATH_BENEATH: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The version that the running kernel has; 0: none, or switched off."""
    return max(0, int(_libc.syscall(CREATE_RULESET, None, 0, 1)))


def rights(version: int) -> int:
    """All rights on files that `version` can withhold."""
    return int((1 << RIGHTS_BY_ABI[min(version, len(RIGHTS_BY_ABI) - 1)]) - 1)


def restrict(
    reads: Iterable[str], writes: Iterable[str], *, offline: bool, scoped: bool = True
) -> None:
    """From here on this thread reads what lies below `reads`, and writes below `writes` too.

    offline: it opens no TCP connection and takes none by itself.  Paths that do not exist are left
    out: what is made there later is not granted.  Raises `OSError`.
    """
    version = abi()
    handled = rights(version)
    net = NET_BIND_TCP | NET_CONNECT_TCP if offline and version >= 4 else 0
    scopes = SCOPES if scoped and version >= ABI_SCOPES else 0
    attributes = struct.pack("QQQ", handled, net, scopes)
    size = 8 if version < 4 else 16 if version < ABI_SCOPES else 24
    ruleset = _checked(_libc.syscall(CREATE_RULESET, attributes, size, 0), "a ruleset")
    writing = handled & ~(MAKE_CHAR | MAKE_BLOCK)
    try:
        for path in reads:
            _allow(ruleset, path, READING & handled)
        for path in writes:
            _allow(ruleset, path, writing)
        _checked(_libc.syscall(RESTRICT_SELF, ruleset, 0), "restriction")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= OF_FILES
        rule = struct.pack("=Qi", access, place)
        _checked(_libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0), path)
    finally:
        os.close(place)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock refuses {what}: {os.strerror(number)}")
    return int(result)
