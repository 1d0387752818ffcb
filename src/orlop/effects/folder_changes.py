"""Changes to a folder of the host, each of which happens once and can be undone.

Invariants: 1. every change is one rename of one file; 2. before it, a record of it is durable, with
the effect's key and its result; 3. whether it has happened is where that file lies, and a crash
leaves it in one place or in the other; 4. what a change replaces or removes is kept beside the
record, and taken from there by its undoing.

All functions block.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.errors import EffectUnknown, NotFound, TooLarge, ToolFailed
from orlop.machine import jail
from orlop.machine.faults import point
from orlop.machine.jail import HostFile

OUTBOX: Final = ".orlop"
"""The folder with the records, in the folder itself: a rename does not leave its file system."""

NO_FILE: Final = "none"
"""The version of a file that is not there."""

Words: TypeAlias = tuple[str, ...]
Result: TypeAlias = dict[str, object]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change: `file` goes from `source` to `target`."""

    asked: str
    """Digest of what was asked for: a key is the name of one change."""
    action: str
    source: Words
    target: Words
    file: str
    """The mark of what is renamed."""
    kept_bytes: int | None = None
    """Size of what was there before, and is kept; None: nothing was."""
    result: Result
    is_settled: bool = False
    """It has happened, wherever the file lies now: somebody is undoing it."""


class Changes:
    """The changes of one folder."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        self._root = root
        self._bytes_max = bytes_max

    def write(
        self, path: Words, data: bytes, key: str, *, if_version: str = "", append: bool = False
    ) -> Result:
        """The whole content at once, or `data` after what is there."""

        def prepare(name: str, asked: str) -> Record:
            there = self._expected(path, if_version)
            whole = data
            if append and there is not None:
                self._fits(path, there.size + len(data))
                whole = jail.read(self._root, path, 0, there.size)[1] + data
            self._fits(path, len(whole))
            if there is not None:
                self._keep(path, name)
            staged = self._staged(name, whole, there.mode & 0o777 if there is not None else 0o644)
            with jail.folder(self._root, path[:-1], make=True):
                pass
            said = {"path": "/".join(path), "size": staged.size, "version": staged.mark}
            return Record(
                asked=asked,
                action="write",
                source=(OUTBOX, f"{name}.new"),
                target=path,
                file=staged.mark,
                kept_bytes=there.size if there is not None else None,
                result={**said, "created": there is None, "effect": key},
            )

        asked = ("append" if append else "write", *path, if_version, sha256(data).hexdigest())
        return self._once(key, asked, prepare)

    def remove(self, path: Words, key: str, *, if_version: str = "") -> Result:
        def prepare(name: str, asked: str) -> Record:
            there = self._present(path, if_version)
            return Record(
                asked=asked,
                action="remove",
                source=path,
                target=(OUTBOX, f"{name}.old"),
                file=there.mark,
                kept_bytes=there.size,
                result={"path": "/".join(path), "effect": key},
            )

        return self._once(key, ("remove", *path, if_version), prepare)

    def move(self, path: Words, to: Words, key: str, *, if_version: str = "") -> Result:
        def prepare(name: str, asked: str) -> Record:
            there = self._present(path, if_version)
            self._expected(to, NO_FILE)
            with jail.folder(self._root, to[:-1], make=True):
                pass
            return Record(
                asked=asked,
                action="move",
                source=path,
                target=to,
                file=there.mark,
                result={"path": "/".join(to), "version": there.mark, "effect": key},
            )

        return self._once(key, ("move", *path, "", *to, if_version), prepare)

    def undo(self, effect: str, key: str) -> Result:
        """Put back what the change named `effect` found, unless somebody has changed it since."""
        name = _name(effect)
        done = self._record(name)
        if done is None:
            raise ToolFailed(f"no change named {effect} is known in this folder")
        if not self._has_happened(done):
            return {"undone": False, "effect": key}

        def prepare(own: str, asked: str) -> Record:
            source, target = self._way_back(done, name, own)
            there = self._present(source, "")
            if source == (OUTBOX, f"{name}.old") and there.size != done.kept_bytes:
                raise ToolFailed(f"what {effect} has changed is no longer kept (keep_s)")
            self._put(name, replace(done, is_settled=True))
            return Record(
                asked=asked,
                action="undo",
                source=source,
                target=target,
                file=there.mark,
                kept_bytes=there.size,
                result={"undone": True, "effect": key},
            )

        return self._once(key, ("undo", effect), prepare)

    def happened(self, key: str) -> bool:
        record = self._record(_name(key))
        return record is not None and self._has_happened(record)

    def forget(self, before_ns: int) -> None:
        """Give up what changes older than that have kept; that they happened stays known."""
        with self._outbox() as outbox:
            for name in os.listdir(outbox):
                stem, _, kind = name.partition(".")
                if kind not in ("old", "new"):
                    continue
                record = f"{stem}.json"
                timed = record if _exists(record, outbox) else name
                if os.stat(timed, dir_fd=outbox).st_mtime_ns >= before_ns:
                    continue
                if kind == "new" and timed == name:  # Of a change that never began.
                    os.unlink(name, dir_fd=outbox)
                elif kind == "old" and os.stat(name, dir_fd=outbox).st_size:
                    # Another name of the same file may lie elsewhere: it is left as it is.
                    _write(outbox, f"{stem}.part", b"", 0o600)
                    os.replace(f"{stem}.part", name, src_dir_fd=outbox, dst_dir_fd=outbox)

    def _once(
        self, key: str, asked: Sequence[str], prepare: Callable[[str, str], Record]
    ) -> Result:
        """What the change came to, now or when it was made."""
        name, digest = _name(key), sha256("\0".join(asked).encode()).hexdigest()
        with self._outbox() as outbox:
            known = self._record(name)
            if known is not None:
                if known.asked != digest:
                    raise ToolFailed(f"effect {key} is the name of another change")
                if self._has_happened(known):
                    return known.result
                # A file without a record was not renamed; so the record has to go first.
                os.unlink(f"{name}.json", dir_fd=outbox)
                os.fsync(outbox)
            record = prepare(name, digest)
            self._put(name, record)
            point("folder.recorded")
            self._rename(record.source, record.target)
            point("folder.renamed")
            return record.result

    def _has_happened(self, record: Record) -> bool:
        """Raises `EffectUnknown` where others have moved the file."""
        if record.is_settled:
            return True
        source, target = self._look(record.source), self._look(record.target)
        if record.source[0] == OUTBOX:
            return source is None
        if record.target[0] == OUTBOX:
            return target is not None
        if target is not None and target.mark == record.file:
            return True
        if source is not None and source.mark == record.file:
            return False
        raise EffectUnknown(f"{'/'.join(record.source)} was moved or changed by others meanwhile")

    def _way_back(self, done: Record, name: str, own: str) -> tuple[Words, Words]:
        """Raises `ToolFailed` where the way is not free."""
        if done.action == "undo":
            raise ToolFailed("what has been undone is not done again: make the change anew")
        here = done.target if done.action != "remove" else done.source
        there = self._look(here)
        if (there.mark if there is not None else NO_FILE) != (
            done.file if done.action != "remove" else NO_FILE
        ):
            raise ToolFailed(f"{'/'.join(here)} has been changed since: it is left as it is")
        if done.action == "move":
            self._expected(done.source, NO_FILE)
            return done.target, done.source
        if done.kept_bytes is None:
            return here, (OUTBOX, f"{own}.old")
        return (OUTBOX, f"{name}.old"), here

    def _expected(self, path: Words, version: str) -> HostFile | None:
        """What is there, if it is what the caller has seen.  Raises `ToolFailed`."""
        there = self._look(path)
        found = there.mark if there is not None else NO_FILE
        if version and version != found:
            raise ToolFailed(f"{'/'.join(path)} is at version {found} and not {version}")
        return there

    def _present(self, path: Words, version: str) -> HostFile:
        there = self._expected(path, version)
        if there is None:
            raise NotFound(f"{'/'.join(path)} is not in the folder")
        return there

    def _look(self, path: Words) -> HostFile | None:
        return jail.look(self._root, path)

    def _fits(self, path: Words, size: int) -> None:
        if size > self._bytes_max:
            raise TooLarge(
                f"{'/'.join(path)} would have {size} bytes; at most {self._bytes_max} (bytes_max)"
            )

    def _staged(self, name: str, data: bytes, mode: int) -> HostFile:
        """The new content, durable, under a name of its own."""
        with jail.folder(self._root, (OUTBOX,)) as outbox:
            with suppress(FileNotFoundError):
                os.unlink(f"{name}.new", dir_fd=outbox)
            _write(outbox, f"{name}.new", data, mode)
        return self._present((OUTBOX, f"{name}.new"), "")

    def _keep(self, path: Words, name: str) -> None:
        """A second name for what is there; a copy on file systems that know no such names."""
        with (
            jail.folder(self._root, path[:-1]) as place,
            jail.folder(self._root, (OUTBOX,)) as outbox,
        ):
            with suppress(FileNotFoundError):
                os.unlink(f"{name}.old", dir_fd=outbox)
            try:
                os.link(
                    path[-1],
                    f"{name}.old",
                    src_dir_fd=place,
                    dst_dir_fd=outbox,
                    follow_symlinks=False,
                )
            except OSError:
                found, data = jail.read(self._root, path, 0, self._bytes_max + 1)
                self._fits(path, found.size)
                _write(outbox, f"{name}.old", data, found.mode)

    def _rename(self, source: Words, target: Words) -> None:
        with (
            jail.said(target),
            jail.folder(self._root, source[:-1]) as out,
            jail.folder(self._root, target[:-1]) as into,
        ):
            os.replace(source[-1], target[-1], src_dir_fd=out, dst_dir_fd=into)
            os.fsync(into)
            os.fsync(out)

    def _record(self, name: str) -> Record | None:
        """None also where it was never whole: then its rename was never begun."""
        try:
            _, data = jail.read(self._root, (OUTBOX, f"{name}.json"), 0, 1 << 20)
            return msgspec.json.decode(data, type=Record)
        except (NotFound, msgspec.DecodeError):
            return None

    def _put(self, name: str, record: Record) -> None:
        with jail.folder(self._root, (OUTBOX,)) as outbox:
            _write(outbox, f"{name}.part", msgspec.json.encode(record), 0o600)
            os.replace(f"{name}.part", f"{name}.json", src_dir_fd=outbox, dst_dir_fd=outbox)
            os.fsync(outbox)

    @contextmanager
    def _outbox(self) -> Iterator[int]:
        """Nobody else changes the folder through an outbox, in this kernel or another."""
        with jail.folder(self._root, (OUTBOX,), make=True) as outbox, jail.said((OUTBOX,)):
            fcntl.flock(outbox, fcntl.LOCK_EX)
            yield outbox


def _name(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:40]


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write(folder: int, name: str, data: bytes, mode: int) -> None:
    """Durable, but for its name.  It is there for nobody else yet, so it need not be atomic."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, flags, mode, dir_fd=folder)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(handle, mode)
        os.fsync(handle)
