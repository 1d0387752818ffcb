"""A folder of this machine and a folder of the tree, kept alike, both ways.

Each pass compares both with what they were when they were last alike.  What changed on one side is
brought to the other; what changed on both is kept twice: the tree's under its name, this machine's
beside it.  So no pass loses anybody's bytes, whenever it is cut off.
"""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from orlop.abi.errors import BadCall, Conflict, NotFound
from orlop.abi.files import FileView

STATE: Final = ".orlop-sync.json"
"""In the folder of this machine: what both sides were when they were last alike."""
PART: Final = ".orlop-part"
"""Ends the names of files that are just being written."""


class Tree(Protocol):
    """What is needed of `SyncFiles`."""

    def list(self, path: str = "", *, deep: bool = False) -> Sequence[FileView]: ...

    def read(self, path: str, *, version: int | None = None) -> bytes: ...

    def write(self, path: str, content: bytes, *, if_version: int | None = None) -> int: ...

    def delete(self, path: str, *, if_version: int | None = None) -> None: ...


class Alike(Struct, frozen=True):
    """One file as both sides had it: the tree's version, and its content's SHA-256."""

    version: int
    digest: str


class _State(Struct, frozen=True):
    folder: str
    files: dict[str, Alike]


@dataclass(frozen=True, slots=True)
class _Local:
    """mark: size and time of change; equal marks are taken for equal content."""

    mark: tuple[int, int]
    digest: str


class Pair:
    """`here`: the folder on this machine; `there`: in the tree."""

    def __init__(
        self, tree: Tree, here: Path, there: str, told: Callable[[str], None] = lambda said: None
    ) -> None:
        self._tree = tree
        self._here = here
        self._there = there.rstrip("/")
        self._told = told
        self._files = self._load()
        self._seen: dict[str, _Local] = {}

    def bring(self) -> int:
        """One pass; how many files it changed on either side."""
        local = self._scan()
        remote = {
            row.path.removeprefix(self._there + "/"): row.version
            for row in self._tree.list(self._there or "/", deep=True)
            if row.kind == "file"
        }
        changed = 0
        for name in sorted({*self._files, *local, *remote}):
            changed += self._one(name, local.get(name), remote.get(name))
        return changed

    def is_changed_here(self) -> bool:
        """Whether something on this machine is not as it was when both were alike."""
        local = self._scan()
        known = {name: alike.digest for name, alike in self._files.items()}
        return {name: file.digest for name, file in local.items()} != known

    # One file.

    def _one(self, name: str, local: _Local | None, version: int | None) -> int:
        alike = self._files.get(name)
        is_moved_here = (local.digest if local else None) != (alike.digest if alike else None)
        is_moved_there = version != (alike.version if alike else None)
        if not is_moved_here and not is_moved_there:
            return 0
        try:
            if not is_moved_there:
                self._push(name, local, version)
            elif not is_moved_here:
                self._pull(name, version)
            else:
                self._both(name, local, version)
        except (Conflict, NotFound):
            return 1  # Somebody was faster: the next pass sees what he did.
        self._save()
        return 1

    def _both(self, name: str, local: _Local | None, version: int | None) -> None:
        if version is None:
            self._push(name, local, None)
        elif local is None:
            self._pull(name, version)
        elif sha256(data := self._tree.read(self._path(name), version=version)).hexdigest() == (
            local.digest
        ):
            self._files[name] = Alike(version, local.digest)
        else:
            beside = self._free(name, version)
            os.replace(self._here / name, self._here / beside)
            self._told(f"conflict: {name}; what was here is now {beside}")
            self._put_here(name, data)
            self._files[name] = Alike(version, sha256(data).hexdigest())

    def _push(self, name: str, local: _Local | None, version: int | None) -> None:
        """This machine's to the tree, unless that has moved on."""
        if local is None:
            if version is not None:
                self._tree.delete(self._path(name), if_version=version)
                self._told(f"deleted there: {name}")
            self._files.pop(name, None)
            return
        data = (self._here / name).read_bytes()
        made = self._tree.write(self._path(name), data, if_version=version or 0)
        self._files[name] = Alike(made, sha256(data).hexdigest())
        self._told(f"pushed: {name}, version {made}")

    def _pull(self, name: str, version: int | None) -> None:
        """The tree's to this machine."""
        if version is None:
            (self._here / name).unlink(missing_ok=True)
            self._files.pop(name, None)
            self._told(f"deleted here: {name}")
            return
        data = self._tree.read(self._path(name), version=version)
        self._put_here(name, data)
        self._files[name] = Alike(version, sha256(data).hexdigest())
        self._told(f"pulled: {name}, version {version}")

    # This machine.

    def _scan(self) -> dict[str, _Local]:
        """Regular files by name; links are left alone."""
        found: dict[str, _Local] = {}
        for folder, folders, names in os.walk(self._here, followlinks=False):
            folders[:] = [one for one in folders if not (Path(folder) / one).is_symlink()]
            for one in names:
                path = Path(folder) / one
                name = path.relative_to(self._here).as_posix()
                state = path.lstat()
                if one in (STATE, STATE + PART) or one.endswith(PART):
                    continue
                if not stat.S_ISREG(state.st_mode) or not name.isprintable():
                    continue
                mark = (state.st_size, state.st_mtime_ns)
                seen = self._seen.get(name)
                if seen is None or seen.mark != mark:
                    seen = _Local(mark, sha256(path.read_bytes()).hexdigest())
                found[name] = self._seen[name] = seen
        return found

    def _put_here(self, name: str, data: bytes) -> None:
        """Whole or not at all, and never through a link."""
        path = self._here / name
        folder = self._here
        for word in Path(name).parts[:-1]:
            folder = folder / word
            if folder.is_symlink():
                raise BadCall(f"{folder} is a symbolic link: nothing is written through it")
            folder.mkdir(exist_ok=True)
        part = path.with_name(path.name + PART)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def _free(self, name: str, version: int) -> str:
        """A name beside `name` that nobody has."""
        stem, dot, suffix = name.rpartition(".")
        if not dot or "/" in suffix:
            stem, suffix = name, ""
        number = 0
        while True:
            extra = f"-{number}" if number else ""
            beside = f"{stem}.mine-before-{version}{extra}{dot and '.'}{suffix}"
            if not (self._here / beside).exists():
                return beside
            number += 1

    def _path(self, name: str) -> str:
        return f"{self._there}/{name}"

    def _load(self) -> dict[str, Alike]:
        try:
            state = msgspec.json.decode((self._here / STATE).read_bytes(), type=_State)
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise BadCall(
                f"{self._here / STATE} can't be read: {error}; remove it to compare all anew"
            ) from error
        if state.folder != self._there:
            raise BadCall(
                f"{self._here} is kept like {state.folder or '/'}, not {self._there or '/'}: take "
                f"another folder, or remove {STATE} from it"
            )
        return state.files

    def _save(self) -> None:
        part = self._here / (STATE + PART)
        part.write_bytes(msgspec.json.encode(_State(self._there, self._files)))
        part.replace(self._here / STATE)
