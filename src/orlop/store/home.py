"""The files of a journal: where they lie, who holds them, how much room is left.

journal.db (-wal, -shm)   events and small bodies
journal.anchor            the head anchor; on SQLite the redo log as well (`store.redo`)
journal.lock              held by the kernel that writes
reserve                   room for recovery after the disk was full
blobs/ab/…                large bodies
keys/                     keyring.json (0600), journal.pub
"""

import fcntl
import os
from pathlib import Path

from orlop.abi.errors import JournalStopped, NotFound
from orlop.abi.limits import REDO_BYTES, RESERVE_BYTES
from orlop.machine.chance import Chance
from orlop.store import files, redo
from orlop.store.anchor import SLOT_APART_BYTES, SLOT_BYTES
from orlop.store.keyring import Keyring
from orlop.store.redo import Record, Redo
from orlop.store.tape import ANCHOR_SLOTS


class Home:
    """One journal's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "journal.db"
        self.log = path / "journal.db-wal"
        """SQLite's own, not ours."""
        self.keys = path / "keys"
        self.blobs = path / "blobs"
        self._anchor = path / "journal.anchor"
        self._lock = path / "journal.lock"
        self._reserve = path / "reserve"
        self._lock_handle: int | None = None
        self._anchor_handle: int | None = None

    def require(self) -> None:
        """Raises `NotFound` where no kernel ever ran: most often `--home` names another folder."""
        if not self.keys.is_dir():
            raise NotFound(f"{self.path} holds no journal yet; `orlop up` makes one")

    def keyring(self, chance: Chance, *, has_journal: bool | None = None) -> Keyring:
        """The journal's keys; new ones only where there is no journal yet.

        has_journal: whether there is; None: whether it is in this folder.
        """
        files.private_folder(self.path)
        if (self.keys / "keyring.json").exists():
            return Keyring.load(self.keys, chance)
        if self.database.exists() if has_journal is None else has_journal:
            raise JournalStopped(
                f"{self.keys} holds no keys, but the journal is there: without its keys a journal"
                " can't be read; restore the folder from a backup"
            )
        return Keyring.create(self.keys, chance)

    def lock(self) -> None:
        """Exclusive, until `close` or the end of this operating-system process."""
        if self._lock_handle is not None:
            return
        files.private_folder(self.path)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise JournalStopped(
                f"{self.path} is held by another kernel (process {holder}): end that one first"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._lock_handle = handle

    def anchor(self) -> tuple[bytes, ...] | None:
        """The slots, and that of the newest redo record where there is one."""
        data = self._anchor_file()
        if data is None:
            return None
        starts = [slot * SLOT_APART_BYTES for slot in range(ANCHOR_SLOTS)]
        slots = [data[start : start + SLOT_BYTES] for start in starts]
        return (*slots, *(record.slot for record in redo.records(data)[-1:]))

    def set_anchor(self, slot: int, data: bytes) -> None:
        """Overwrite one slot, durably."""
        handle = self._open_anchor()
        os.pwrite(handle, data, slot * SLOT_APART_BYTES)
        files.sync_data(handle)

    def open_redo(self, size: int = REDO_BYTES) -> Redo:
        """To write; raises `OSError` where the disk has no room."""
        return Redo(self._open_anchor(), size)

    def redo_records(self) -> list[Record]:
        """From the oldest to the newest."""
        return redo.records(self._anchor_file() or b"")

    def _anchor_file(self) -> bytes | None:
        try:
            return self._anchor.read_bytes()
        except FileNotFoundError:
            return None

    def _open_anchor(self) -> int:
        if self._anchor_handle is None:
            is_new = not self._anchor.exists()
            handle = os.open(self._anchor, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._anchor_handle = handle
            if os.fstat(handle).st_size < redo.START:
                os.ftruncate(handle, redo.START)
            if is_new:
                files.sync_folder(self.path)
        return self._anchor_handle

    def write_blob(self, name: str, data: bytes) -> None:
        """Durable on return; a blob that is there already has the same content."""
        path = self.blob(name)
        if not path.exists():
            files.private_folder(path.parent)
            files.replace(path, data)
            files.sync_folder(self.blobs)

    def read_blob(self, name: str) -> bytes | None:
        try:
            return self.blob(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def blob(self, name: str) -> Path:
        # The name comes from the database, which may be damaged: keep it inside the folder.
        safe = "".join(letter for letter in str(name) if letter in "0123456789abcdef") or "none"
        return self.blobs / safe[:2] / safe

    def make_reserve(self) -> None:
        """Room that `free_reserve` gives back; none is taken from a disk that is nearly full."""
        if self.free_bytes() < 2 * RESERVE_BYTES:
            return
        handle = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_size < RESERVE_BYTES:
                os.posix_fallocate(handle, 0, RESERVE_BYTES)
        except OSError:
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def free_reserve(self) -> None:
        if self._reserve.exists():
            os.truncate(self._reserve, 0)

    def free_bytes(self) -> int:
        """Free for us on the journal's disk."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def close(self) -> None:
        for handle in (self._anchor_handle, self._lock_handle):
            if handle is not None:
                os.close(handle)
        self._anchor_handle = self._lock_handle = None
