"""A folder of the host, and no way out of it: each step is opened from the one before, and no
symbolic link is ever followed.

All functions block.  Writes are atomic and durable: a reader finds the old or the new content.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orlop.abi.errors import BadCall, Denied, DeviceFailed, Exhausted, KernelError, NotFound

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class HostFile:
    """`version`: its time of change in nanoseconds, so that a comparison notices one."""

    name: str
    version: int
    size: int
    is_folder: bool = False
    inode: int = 0
    mode: int = 0

    @property
    def mark(self) -> str:
        """The same for the same content of the same file, also after a rename."""
        return f"{self.inode:x}.{self.version:x}.{self.size:x}"


def read(root: Path, words: Sequence[str], offset: int, length: int) -> tuple[HostFile, bytes]:
    with folder(root, words[:-1]) as place, said(words):
        handle = os.open(
            words[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place
        )
        try:
            found = regular(os.fstat(handle), words)
            return found, os.pread(handle, min(length, found.size), offset)
        finally:
            os.close(handle)


def look(root: Path, words: Sequence[str]) -> HostFile | None:
    """The file's size and version; None where there is none."""
    try:
        with folder(root, words[:-1]) as place, said(words):
            return regular(os.stat(words[-1], dir_fd=place, follow_symlinks=False), words)
    except NotFound:
        return None


def write(root: Path, words: Sequence[str], data: bytes, beside: str) -> HostFile:
    """beside: a name that nobody else uses, for the new content on its way."""
    with folder(root, words[:-1], make=True) as place, said(words):
        handle = os.open(
            beside,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o644,
            dir_fd=place,
        )
        try:
            try:
                with open(handle, "wb", closefd=False) as file:
                    file.write(data)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(beside, words[-1], src_dir_fd=place, dst_dir_fd=place)
        except OSError:
            os.unlink(beside, dir_fd=place)
            raise
        os.fsync(place)
        return regular(os.stat(words[-1], dir_fd=place, follow_symlinks=False), words)


def remove(root: Path, words: Sequence[str]) -> None:
    with folder(root, words[:-1]) as place, said(words):
        os.unlink(words[-1], dir_fd=place)
        os.fsync(place)


def listed(root: Path, words: Sequence[str], limit: int) -> list[HostFile]:
    """What lies in a folder, by name; links and devices are not shown."""
    with folder(root, words) as place, said(words):
        found: list[HostFile] = []
        for name in sorted(os.listdir(place)):
            state = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                found.append(HostFile(name, 0, 0, is_folder=True))
            elif stat.S_ISREG(state.st_mode):
                found.append(HostFile(name, state.st_mtime_ns, state.st_size, inode=state.st_ino))
            if len(found) >= limit:
                break
        return found


@contextmanager
def folder(root: Path, words: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """A handle of the folder that the words lead to.  make: also of one that is not there yet."""
    with said(words):
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for word in words:
                if word in ("", ".", "..") or "/" in word:
                    raise BadCall(f"{word!r} is no name in a folder")
                if make:
                    _make(word, handle)
                inner = os.open(word, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
        except BaseException:
            os.close(handle)
            raise
    try:
        yield handle
    finally:
        os.close(handle)


def _make(word: str, place: int) -> None:
    try:
        os.mkdir(word, 0o755, dir_fd=place)
        os.fsync(place)
    except FileExistsError:
        pass


def regular(state: os.stat_result, words: Sequence[str]) -> HostFile:
    if stat.S_ISLNK(state.st_mode):
        raise Denied(f"{'/'.join(words)} is a symbolic link, and none is followed")
    if not stat.S_ISREG(state.st_mode):
        raise BadCall(f"{'/'.join(words)} is no file")
    return HostFile(
        words[-1],
        state.st_mtime_ns,
        state.st_size,
        inode=state.st_ino,
        mode=stat.S_IMODE(state.st_mode),
    )


@contextmanager
def said(words: Sequence[str]) -> Iterator[None]:
    """The operating system's errors as ours."""
    try:
        yield
    except OSError as error:
        raise _error(error, "/".join(words) or "the folder") from error


def _error(error: OSError, path: str) -> KernelError:
    why = os.strerror(error.errno or 0)
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"{path} is not in the folder")
        case errno.ELOOP | errno.ENOTDIR:
            return Denied(f"{path} leads through a symbolic link or a file: none is followed")
        case errno.EXDEV:
            return Denied(f"{path} lies on another file system than the rest of the folder")
        case errno.EISDIR:
            return BadCall(f"{path} is a folder: name a file in it")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Denied(f"the host does not let the kernel have {path}: {why}")
        case errno.ENOSPC | errno.EDQUOT:
            return Exhausted(f"no room for {path}: {why}", retry_after_s=60.0)
        case _:
            return DeviceFailed(f"{path}: {why}")
