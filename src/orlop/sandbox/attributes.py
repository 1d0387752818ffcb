"""A file's mode, owner and times, changed in a program's place by its watcher.

Standard library only.  The file is named by a descriptor that was looked at, never by a path again.
"""

import ctypes
import errno
import os
from collections.abc import Mapping
from typing import Final

NOFOLLOW: Final = 0x100
SET_ID: Final = 0o6000
TIMES_BYTES: Final = 32

MEANT: Final[Mapping[str, tuple[int | None, int | None, int | None]]] = {
    "chmod": (None, 0, None),
    "fchmod": (None, None, None),
    "fchmodat": (0, 1, None),
    "fchmodat2": (0, 1, 3),
    "chown": (None, 0, None),
    "lchown": (None, 0, None),
    "fchown": (None, None, None),
    "fchownat": (0, 1, 4),
    "utimes": (None, 0, None),
    "futimesat": (0, 1, None),
    "utimensat": (0, 1, 3),
}
"""Which argument is the folder, which the path, and which the flags; no path: a descriptor."""

MODE_AT: Final[Mapping[str, int]] = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
OWNER_AT: Final[Mapping[str, int]] = {"chown": 1, "lchown": 1, "fchown": 1, "fchownat": 2}
TIMES_AT: Final[Mapping[str, int]] = {"utimes": 1, "futimesat": 2, "utimensat": 2}

_libc = ctypes.CDLL(None, use_errno=True)


def change(call: str, arguments: tuple[int, ...], place: int, times: bytes | None) -> None:
    """place: a descriptor of the file.  Raises `OSError`."""
    path = f"/proc/self/fd/{place}"
    if call in MODE_AT:
        os.chmod(path, arguments[MODE_AT[call]] & 0o7777 & ~SET_ID)
    elif call in OWNER_AT:
        first = OWNER_AT[call]
        owner, group = (ctypes.c_int32(arguments[at]).value for at in (first, first + 1))
        if owner not in (-1, os.getuid()) or group not in (-1, os.getgid()):
            raise OSError(errno.EPERM, "a file is given to nobody else")
        os.chown(path, owner, group)
    else:
        nanoseconds = call == "utimensat"
        function = _libc.utimensat if nanoseconds else _libc.utimes
        words = (-100, path.encode(), times, 0) if nanoseconds else (path.encode(), times)
        if function(*words) != 0:
            raise OSError(ctypes.get_errno(), "times")
