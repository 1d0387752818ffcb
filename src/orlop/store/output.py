"""What programs print: files that they write to themselves, so that no one of ours is in between.

A file that has grown too large loses its beginning: the disk gets those blocks back, and the file
keeps its length, so that a place in it stays the same place for whoever reads on from there.
"""

import codecs
import ctypes
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from orlop.abi.ids import ProcessId
from orlop.machine.ranges import Many

STREAMS: Final = ("out", "err")

PIECE_BYTES: Final = 64 * 1024

BLOCK_BYTES: Final = 64 * 1024
"""What is given back is a multiple of this: no file system has larger blocks."""

_PUNCH: Final = 0x02 | 0x01
"""`FALLOC_FL_PUNCH_HOLE`, with `FALLOC_FL_KEEP_SIZE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputConfig:
    """The `[output]` table of orlop.toml."""

    stream_bytes: Many = 16 * 1024 * 1024
    """Of what a program has printed on a stream in one run, the newest bytes that are kept."""
    log_bytes: Many = 64 * 1024 * 1024
    """Of `log/kernel.log`; then it begins anew, and the one before is `log/kernel.log.1`."""


class Output:
    """What a program printed, read on from where one was."""

    def __init__(self, folder: Path, offsets: dict[str, int]) -> None:
        self._folder = folder
        self._offsets = offsets
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder(errors="replace") for name in offsets}

    def more(self) -> list[bytes]:
        """One piece of each stream, as NDJSON lines; a character cut in two comes whole, later."""
        lines = []
        for name, offset in self._offsets.items():
            with suppress(OSError), (self._folder / name).open("rb") as file:
                begins = file.seek(offset, os.SEEK_DATA)
                piece = file.read(PIECE_BYTES)
                if not piece:
                    continue
                text = self._decoders[name].decode(piece)
                if begins > offset:
                    text = f"[{begins - offset} bytes are gone: output.stream_bytes]\n{text}"
                self._offsets[name] = begins + len(piece)
                held = len(self._decoders[name].getstate()[0])  # Of a character cut in two.
                line = {"stream": name, "offset": self._offsets[name] - held, "text": text}
                lines.append(msgspec.json.encode(line) + b"\n")
        return lines


class Trimmer:
    """run: where the folders of processes are."""

    def __init__(self, run: Path, kept_bytes: int) -> None:
        self._run = run
        self._kept_bytes = kept_bytes
        self._library = ctypes.CDLL(None, use_errno=True)

    def trim(self, processes: Iterable[ProcessId]) -> int:
        """The bytes given back.  Raises `OSError` where the file system can't do that."""
        return sum(
            self._trim(folder / name)
            for process in processes
            for folder in folders(self._run / process)
            for name in STREAMS
        )

    def remove_others(self, known: frozenset[ProcessId]) -> None:
        """Folders of processes that are in no table any more go."""
        for folder in folders(self._run):
            if folder.name.startswith("prc_") and ProcessId(folder.name) not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def _trim(self, path: Path) -> int:
        try:
            found = path.stat()
        except OSError:
            return 0
        # Twice, so that a file that grows is not touched at each look.
        if found.st_size <= self._kept_bytes or found.st_blocks * 512 <= 2 * self._kept_bytes:
            return 0
        end = (found.st_size - self._kept_bytes) // BLOCK_BYTES * BLOCK_BYTES
        with path.open("r+b") as file:
            self._give_back(file.fileno(), end)
            return (found.st_blocks - os.fstat(file.fileno()).st_blocks) * 512

    def _give_back(self, descriptor: int, end: int) -> None:
        if not hasattr(self._library, "fallocate"):
            raise OSError(errno.EOPNOTSUPP, "this system can't make holes in files")
        start, length = ctypes.c_int64(0), ctypes.c_int64(end)
        if self._library.fallocate(descriptor, _PUNCH, start, length):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def folders(parent: Path) -> Iterator[Path]:
    with suppress(OSError):
        for entry in os.scandir(parent):
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
