"""What a disk may hold after a power cut at any point of what a program did to it.

A write that was not synced may be there, missing, or torn at a sector; unsynced writes may be there
in any selection.  A name that was made, renamed or removed is sure once its folder is
synced; before that, any first part of what was done to names may have reached the disk.  Folders
themselves are there once they are made.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512
LEFT_OUT = ("-shm", "/reserve")
"""Shared memory in a file, which is made anew after a crash; and room without content."""


@dataclass(frozen=True)
class Step:
    """kind: Create, Write, Truncate, Sync, Rename, Unlink, Directory."""

    kind: str
    path: str
    other: str
    number: int
    data: bytes


def read_log(path: Path) -> list[Step]:
    data, at, steps = path.read_bytes(), 0, []
    while at < len(data):
        end = data.index(b"\n", at)
        kind, one, other, number, length = data[at:end].decode().split("\t")
        at = end + 1 + int(length)
        steps.append(Step(kind, one, other, int(number), data[end + 1 : at]))
    return steps


@dataclass
class Content:
    """One file's bytes: those that are sure, and what was done since."""

    sure: bytearray = field(default_factory=bytearray)
    since: list[Step] = field(default_factory=list)

    def sync(self) -> None:
        for step in self.since:
            apply(self.sure, step, len(step.data))
        self.since.clear()

    def after(self, chance: random.Random, how: str) -> bytes:
        made = bytearray(self.sure)
        for at, step in enumerate(self.since):
            is_last = at == len(self.since) - 1
            if how == "none" or (how == "some" and chance.random() < 0.5):
                continue
            length = len(step.data)
            if how == "torn" and is_last and length > SECTOR_BYTES:
                length = chance.randrange(0, length, SECTOR_BYTES)
            apply(made, step, length)
        return bytes(made)


def apply(content: bytearray, step: Step, length: int) -> None:
    if step.kind == "T":
        del content[step.number :]
        content.extend(bytes(step.number - len(content)))
        return
    end = step.number + length
    content.extend(bytes(max(0, end - len(content))))
    content[step.number : end] = step.data[:length]


@dataclass
class Disk:
    """Files by number, names that are sure, and what was done to names since, by folder."""

    contents: dict[int, Content] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    """As the program sees them."""
    sure: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    since: list[Step] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    """Of the file that a step in `since` made, by the step's identity."""

    def do(self, step: Step) -> None:
        match step.kind:
            case "D":
                self.folders.add(step.path)
            case "C":
                number = self.numbers[id(step)] = len(self.contents)
                self.contents[number] = Content()
                self.names[step.path] = number
                self.since.append(step)
            case "R":
                self.names[step.other] = self.names.pop(step.path)
                self.since.append(step)
            case "U":
                self.names.pop(step.path, None)
                self.since.append(step)
            case "S" if step.path in self.names:
                self.contents[self.names[step.path]].sync()
            case "S":
                self._sync_folder(step.path)
            case _ if step.path in self.names:
                self.contents[self.names[step.path]].since.append(step)

    def _sync_folder(self, folder: str) -> None:
        kept = []
        for step in self.since:
            if folder in (parent(step.path), parent(step.other or step.path)):
                self._name(self.sure, step)
            else:
                kept.append(step)
        self.since = kept

    def _name(self, names: dict[str, int], step: Step) -> None:
        if step.kind == "C":
            names[step.path] = self.numbers[id(step)]
        elif step.kind == "R" and step.path in names:
            names[step.other] = names.pop(step.path)
        elif step.kind == "U":
            names.pop(step.path, None)

    def states(self, chance: random.Random, count: int) -> Iterator[dict[str, bytes]]:
        """Nothing that is not sure; everything; then selections of it."""
        hows = ["none", "all", "torn", "some"]
        for at in range(count):
            how = hows[min(at, len(hows) - 1)]
            names = dict(self.sure)
            done = {"none": 0, "all": len(self.since), "torn": len(self.since)}.get(
                how, chance.randint(0, len(self.since))
            )
            for step in self.since[:done]:
                self._name(names, step)
            yield {
                path: self.contents[number].after(chance, how)
                for path, number in names.items()
                if not path.endswith(LEFT_OUT)
            }


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def lay_out(state: dict[str, bytes], folders: set[str], root: str, into: Path) -> None:
    """The state as real files, for the owner alone."""
    into.mkdir(mode=0o700)
    for folder in sorted(folders):
        (into / folder.removeprefix(root).lstrip("/")).mkdir(mode=0o700, exist_ok=True)
    for path, data in state.items():
        place = into / path.removeprefix(root).lstrip("/")
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(data)
        place.chmod(0o600)
