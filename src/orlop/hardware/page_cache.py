"""How much of a file lies in the page cache: asked of the kernel, never guessed.

The one file that knows `mincore`.  Linux tells it only to a file's owner or to who may write it
(others are told that all of it is there), so for others' files nothing is known.
"""

import ctypes
import mmap
import os
from functools import cache
from pathlib import Path
from typing import Final

WINDOWS: Final = 64
WINDOW_BYTES: Final = 1 << 18
"""Larger files are looked at in this many windows of this size, evenly spread: 1 ms in all."""


def cached_share(path: Path) -> float | None:
    """From 0 to 1; None where nobody can tell.  Touches no page and moves none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        stat = os.fstat(descriptor)
        if not stat.st_size or not _may_ask(path, stat.st_uid):
            return None
        pages = [_window(descriptor, *window) for window in windows(stat.st_size)]
    except (OSError, ValueError, AttributeError):  # No `mincore` here, or not of this file.
        return None
    finally:
        os.close(descriptor)
    return sum(here for here, _ in pages) / sum(total for _, total in pages)


def windows(size_bytes: int) -> list[tuple[int, int]]:
    """Offsets and lengths: the whole file where it is small."""
    if size_bytes <= WINDOWS * WINDOW_BYTES:
        return [(0, size_bytes)]
    stride = (size_bytes - WINDOW_BYTES) // (WINDOWS - 1)
    page = mmap.ALLOCATIONGRANULARITY
    return [(at * stride // page * page, WINDOW_BYTES) for at in range(WINDOWS)]


def _may_ask(path: Path, owner: int) -> bool:
    return os.geteuid() in (0, owner) or os.access(path, os.W_OK)


def _window(descriptor: int, offset: int, length: int) -> tuple[int, int]:
    """Pages that are in RAM, and pages in all."""
    pages = -(-length // mmap.PAGESIZE)
    answer = (ctypes.c_ubyte * pages)()
    # A private mapping is writable, which ctypes needs to tell its address; nothing is written.
    with mmap.mmap(descriptor, length, access=mmap.ACCESS_COPY, offset=offset) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        try:
            status = _libc().mincore(
                ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(length), answer
            )
        finally:
            del first
    if status:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(byte & 1 for byte in answer), pages


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
