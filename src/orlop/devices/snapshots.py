"""Saved contexts as files: in RAM while there is room, else on disk, else forgotten.

Each snapshot is two files: what the engine wrote, and a note beside it with its fingerprint and
its checksum, written atomically and last.  So a snapshot outlives `kill -9` of kernel and engine,
and a file without a note is nobody's.  The checksum is CRC-32, as of file systems: it finds what
disks and memory do by themselves.  Whoever may write these files is the kernel's own user, against
whom no digest helps; and SHA-256 reads 0.6 GB/s where CRC-32 reads 6, for which an engine waits.

Invariants: 1. what `ready` returns was read and matches its note, bit for bit, and its engine's
fingerprint; 2. each context has at most one snapshot; 3. neither tier holds more than its bound.

All methods block: call them through one `Offload`.  Reads of `notes` are fine from anywhere.
"""

import logging
import os
import shutil
import stat
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.devices.artefact import write_atomic
from orlop.devices.llamacpp_state import tokens_in
from orlop.machine.clock import NS_PER_S, Clock

log = logging.getLogger(__name__)

Tier = Literal["ram", "disk"]

_NOTE: Final = ".json"
_FILE: Final = ".kv"
READ_BYTES_S: Final = 3e9
"""What checking a snapshot costs, before an engine reads it."""

_PIECE_BYTES: Final = 1 << 20

_DISK_BYTES_S: Final = 200e6
"""Until a move has been measured."""


class Note(Struct, frozen=True, kw_only=True):
    """What is known of one snapshot; the file beside it."""

    context: str
    program: str
    tokens: int
    """Whose KV it holds, > 0."""
    bytes: int
    crc32: int
    fingerprint: str
    """Of model, tokenizer and host settings: into nothing else is it ever restored."""
    blocks: tuple[int, ...] = ()
    """Digests of the text that it began with, for the index."""
    used_ns: int = 0
    """Wall time; it only orders what goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the tiers lie, and what they may hold in bytes.  The engine writes to `ram`."""

    ram: Path
    disk: Path
    ram_bytes: int
    disk_bytes: int


class Snapshots:
    """recompute_s: seconds that so many tokens take to compute again."""

    def __init__(
        self,
        folders: Folders,
        fingerprint: str,
        recompute_s: Callable[[int], float],
        clock: Clock,
    ) -> None:
        self._folders = folders
        self._fingerprint = fingerprint
        self._recompute_s = recompute_s
        self._clock = clock
        self._notes: dict[str, tuple[Tier, Note]] = {}
        self._made = 0
        self.disk_bytes_s = _DISK_BYTES_S
        """Measured with each move."""
        self.refused = 0
        """Snapshots that were not what their note said."""

    @property
    def notes(self) -> Mapping[str, tuple[Tier, Note]]:
        """By context."""
        return self._notes

    @property
    def ram_bytes(self) -> int:
        """What the tier in RAM may hold."""
        return self._folders.ram_bytes

    def tokens(self, context: str) -> tuple[int, ...]:
        """The token ids in a snapshot; empty where they can't be told."""
        held = self._notes.get(context)
        return tokens_in(self._path(held[0], context)) if held else ()

    def bytes_in(self, tier: Tier) -> int:
        return sum(note.bytes for where, note in list(self._notes.values()) if where == tier)

    def scan(self) -> None:
        """Find what an earlier kernel left; what is not ours, or not whole, is removed."""
        if self._folders.ram != self._folders.disk:
            self._scan("disk")
        self._scan("ram")
        self._bound()

    def _scan(self, tier: Tier) -> None:
        folder = self._folder(tier)
        kept = set()
        for path in sorted(folder.glob(f"*{_NOTE}")):
            note = _read(path)
            file = path.with_suffix(_FILE)
            if note is None or note.fingerprint != self._fingerprint or not file.is_file():
                reason = "of another model" if note else "without a note that can be read"
                log.warning("removed the saved context %s: %s", file.name, reason)
                self.refused += 1
                path.unlink(missing_ok=True)
                continue
            self._forget(note.context)
            self._notes[note.context] = (tier, note)
            kept.add(self._path(tier, note.context).name)
        for file in folder.glob(f"*{_FILE}"):
            if file.name not in kept:
                file.unlink(missing_ok=True)

    def room(self, size: int) -> bool:
        """Make room in RAM for a snapshot of `size` bytes; False where there never is."""
        if size > self._folders.ram_bytes:
            return False
        self._bound(size)
        return True

    def fresh(self) -> Path:
        """Where the engine should write the next one."""
        self._made += 1
        return self._folders.ram / f"{os.getpid()}-{self._made}.part"

    def keep(self, path: Path, note: Note) -> None:
        """Take in what the engine has written; an older snapshot of that context goes.

        `note` comes without size, checksum and fingerprint.  Raises `OSError`.
        """
        crc32 = crc32_of(path)
        whole = replace(
            note,
            bytes=path.stat().st_size,
            crc32=crc32,
            fingerprint=self._fingerprint,
            used_ns=self._clock.wall_ns(),
        )
        self._forget(note.context)
        self._write("ram", whole, lambda to: path.replace(to))
        self._notes[note.context] = ("ram", whole)
        self._bound()

    def ready(self, context: str) -> tuple[Path, Note] | None:
        """A file in the engine's folder whose every bit is right; None: compute it again."""
        held = self._notes.get(context)
        if held is None:
            return None
        tier, note = held
        path = self._path(tier, context)
        reason = self._wrong(path, note)
        if reason:
            log.warning("a saved context of %d tokens is not used: %s", note.tokens, reason)
            self.refused += 1
            self._forget(context)
            return None
        self._notes[context] = (tier, replace(note, used_ns=self._clock.wall_ns()))
        if tier == "ram" or self._folders.ram == self._folders.disk:
            return path, note
        link = self._folders.ram / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        return link, note

    def _wrong(self, path: Path, note: Note) -> str:
        if note.fingerprint != self._fingerprint:
            return "it is of another model or other settings"
        try:
            return "" if crc32_of(path) == note.crc32 else "its checksum does not match"
        except OSError as error:
            return f"it can't be read: {error}"

    def bring_s(self, context: str) -> float:
        """Seconds to bring it as far as RAM; infinite for one that is not there."""
        held = self._notes.get(context)
        if held is None:
            return float("inf")
        tier, note = held
        return note.bytes / self.disk_bytes_s if tier == "disk" else 0.0

    def forget(self, contexts: Iterable[str]) -> None:
        for context in contexts:
            self._forget(context)

    def erase(self) -> None:
        """Nothing is left of it."""
        self.forget(tuple(self._notes))
        for folder in {self._folders.ram, self._folders.disk}:
            shutil.rmtree(folder, ignore_errors=True)

    def _forget(self, context: str) -> None:
        held = self._notes.pop(context, None)
        if held is not None:
            path = self._path(held[0], context)
            # The note first: a file without one is nobody's, a note without a file is a lie.
            path.with_suffix(_NOTE).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            (self._folders.ram / path.name).unlink(missing_ok=True)

    def _bound(self, coming: int = 0) -> None:
        """What is worth least goes a tier down, or altogether, until both fit."""
        while self.bytes_in("ram") + coming > self._folders.ram_bytes:
            victim = self._least("ram")
            if self._is_worth_disk(victim):
                self._demote(victim)
            else:
                self._forget(victim.context)
        while self.bytes_in("disk") > self._folders.disk_bytes:
            self._forget(self._least("disk").context)

    def _least(self, tier: Tier) -> Note:
        """Expected waste of losing it, for each byte: its cost, times how soon it may be wanted.

        A context that was used t seconds ago is wanted again with a chance that falls as 1/t:
        gaps between an agent's calls are that heavy-tailed.
        """
        now_ns = self._clock.wall_ns()

        def waste(note: Note) -> tuple[float, int]:
            idle_s = max(0, now_ns - note.used_ns) / NS_PER_S
            return self._recompute_s(note.tokens) / (note.bytes * (1.0 + idle_s)), note.used_ns

        return min((note for where, note in self._notes.values() if where == tier), key=waste)

    def _is_worth_disk(self, note: Note) -> bool:
        """There and back again costs less than computing it."""
        if self._folders.ram == self._folders.disk or note.bytes > self._folders.disk_bytes:
            return False
        return 2 * note.bytes / self.disk_bytes_s < self._recompute_s(note.tokens)

    def _demote(self, note: Note) -> None:
        source = self._path("ram", note.context)
        begun_s = self._clock.now_s()
        try:
            self._write("disk", note, lambda to: shutil.copyfile(source, to))
        except OSError as error:
            log.warning("a saved context of %d tokens is lost: %s", note.tokens, error)
            self._forget(note.context)
            return
        taken_s = max(1e-6, self._clock.now_s() - begun_s)
        self.disk_bytes_s += (note.bytes / taken_s - self.disk_bytes_s) / 4
        self._forget(note.context)
        self._notes[note.context] = ("disk", note)

    def _write(self, tier: Tier, note: Note, put: Callable[[Path], object]) -> None:
        path = self._path(tier, note.context)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(path)
        path.chmod(0o600)
        write_atomic(path.with_suffix(_NOTE), msgspec.json.encode(note), mode=0o600)

    def _folder(self, tier: Tier) -> Path:
        return self._folders.ram if tier == "ram" else self._folders.disk

    def _path(self, tier: Tier, context: str) -> Path:
        return self._folder(tier) / f"{context}{_FILE}"


def crc32_of(path: Path) -> int:
    piece, crc32 = bytearray(_PIECE_BYTES), 0
    with path.open("rb", buffering=0) as file:
        while length := file.readinto(piece):
            crc32 = zlib.crc32(memoryview(piece)[:length], crc32)
    return crc32


def _read(path: Path) -> Note | None:
    try:
        note = msgspec.json.decode(path.read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError):
        return None
    # A name from a file is used as a path below: it must be this file's own.
    is_own = note.context == path.stem and note.tokens > 0 and note.bytes > 0
    return note if is_own else None


def own_folder(path: Path) -> bool:
    """Make a folder that only we may use; False where somebody else's is in its place."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return False
    return may_own(path)


def may_own(path: Path) -> bool:
    """It is a folder of ours, or nothing is there yet."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
