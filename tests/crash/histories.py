"""What several clients did with shared memories and files, recorded, and what must hold of it.

Each client asks whichever kernel it likes.  Times are of one clock, from before a call to after it:
what had ended before another thing began, that one must know.
"""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import orlop
from orlop.abi.errors import Conflict, KernelError, NotFound
from orlop.abi.memory import Item
from orlop.sdk.memory import memory_operator
from orlop.sdk.sync import SyncKernel

NAMESPACE = "common/history"


@dataclass(frozen=True)
class Step:
    """One call that was answered.  version: what it wrote, or what it read; 0: nothing there."""

    client: int
    what: Literal["write", "read"]
    key: str
    version: int
    value: str
    began_s: float
    ended_s: float
    expected: int | None = None


class Shelf(Protocol):
    """Something with versions that clients share."""

    def write(self, kernel: SyncKernel, key: str, value: str, expected: int | None) -> int: ...

    def read(self, kernel: SyncKernel, key: str) -> tuple[int, str]: ...

    def past(self, home: Path, key: str) -> Mapping[int, str]:
        """All versions, as the kernel of that home has them."""
        ...


class MemoryShelf:
    def write(self, kernel: SyncKernel, key: str, value: str, expected: int | None) -> int:
        item = Item(text=value, key=key, expected=expected)
        return kernel.remember([item], namespace=NAMESPACE, embed=False).written[0].version

    def read(self, kernel: SyncKernel, key: str) -> tuple[int, str]:
        found = kernel.recall(key=key, namespaces=(NAMESPACE,)).memories
        return (found[0].version, found[0].text) if found else (0, "")

    def past(self, home: Path, key: str, namespace: str = NAMESPACE) -> Mapping[int, str]:
        with orlop.connect_sync(home=home, patience_s=20) as kernel:
            (current,) = kernel.recall(key=key, namespaces=(namespace,)).memories
        versions = memory_operator(home=home).history(current.memory)
        return {one.version: one.text for one in versions}


class FileShelf:
    def write(self, kernel: SyncKernel, key: str, value: str, expected: int | None) -> int:
        return kernel.files.write(f"/shared/{key}", value, if_version=expected)

    def read(self, kernel: SyncKernel, key: str) -> tuple[int, str]:
        try:
            content = kernel.files.stretch(f"/shared/{key}")
        except NotFound:
            return 0, ""
        return content.version, content.data.decode()

    def past(self, home: Path, key: str) -> Mapping[int, str]:
        path = f"/shared/{key}"
        with orlop.connect_sync(home=home, patience_s=20) as kernel:
            versions = [row.version for row in kernel.files.versions(path)]
            return {one: kernel.files.read(path, version=one).decode() for one in versions}


@dataclass
class History:
    seed: int
    homes: Sequence[Path]
    shelf: Shelf
    keys: Sequence[str] = ("one", "two", "three")
    steps: list[Step] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Values whose write was not answered: they are there once, or not at all."""
    refused: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)
    _clients: list[threading.Thread] = field(default_factory=list)

    def begin(self, clients: int) -> None:
        for number in range(clients):
            client = threading.Thread(target=self._client, args=(number,))
            self._clients.append(client)
            client.start()

    def end(self) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()

    def _client(self, number: int) -> None:
        chance = random.Random(self.seed * 1_000 + number)
        kernels = [
            orlop.connect_sync(home=home, process=f"client{number}", patience_s=0.3)
            for home in self.homes
        ]
        turn = 0
        while not self._is_over.is_set():
            turn += 1
            kernel, key = chance.choice(kernels), chance.choice(self.keys)
            try:
                if chance.random() < 0.5:
                    self._read(kernel, number, key)
                else:
                    expected = self._newest(key) if chance.random() < 0.5 else None
                    self._write(kernel, number, key, f"{number}.{turn}", expected)
            except (KernelError, OSError):
                self._is_over.wait(0.05)  # That kernel is away.
        for kernel in kernels:
            kernel.__exit__(None, None, None)

    def _newest(self, key: str) -> int:
        return max((step.version for step in tuple(self.steps) if step.key == key), default=0)

    def _read(self, kernel: SyncKernel, client: int, key: str) -> None:
        began_s = time.monotonic()
        version, value = self.shelf.read(kernel, key)
        self.steps.append(Step(client, "read", key, version, value, began_s, time.monotonic()))

    def _write(
        self, kernel: SyncKernel, client: int, key: str, value: str, expected: int | None
    ) -> None:
        began_s = time.monotonic()
        try:
            version = self.shelf.write(kernel, key, value, expected)
        except Conflict:
            self.refused += 1
            return
        except (KernelError, OSError):
            self.unknown.append(value)
            raise
        ended_s = time.monotonic()
        self.steps.append(Step(client, "write", key, version, value, began_s, ended_s, expected))

    # What must hold.

    def check(self) -> None:
        faults = self.faults()
        assert not faults, f"seed {self.seed}: {faults[:3]}"

    def check_past(self, home: Path) -> None:
        faults = self.faults_of_past(home)
        assert not faults, f"seed {self.seed}: {faults[:3]}"

    def faults(self) -> list[str]:
        """Where somebody went back, or two have written one version."""
        found: list[str] = []
        for key in self.keys:
            steps = [step for step in self.steps if step.key == key]
            found += [*_of_versions(steps), *_of_time(steps)]
        for step in self.steps:
            if step.expected is not None and step.version != step.expected + 1:
                found.append(f"{step} is not what was written on {step.expected}")
        return found

    def _past(self, home: Path, key: str) -> Mapping[int, str]:
        """Of a kernel that may just be coming back."""
        give_up_s = time.monotonic() + 40
        while True:
            try:
                return self.shelf.past(home, key)
            except (KernelError, OSError):
                if time.monotonic() > give_up_s:
                    raise
                time.sleep(0.2)

    def faults_of_past(self, home: Path) -> list[str]:
        """Against what a kernel says in the end: what is lost, what is doubled."""
        found: list[str] = []
        for key in self.keys:
            past = self._past(home, key)
            if sorted(past) != list(range(1, len(past) + 1)):
                found.append(f"{key} has the versions {sorted(past)}")
            values = list(past.values())
            found += [f"{value} is there twice" for value in set(values) if values.count(value) > 1]
            told = {step.version: step.value for step in self.steps if step.key == key}
            for version, value in told.items():
                if version and past.get(version) != value:
                    found.append(f"{key}@{version} was {value}, and is {past.get(version)}")
            strangers = set(values) - set(told.values()) - set(self.unknown)
            found += [f"nobody wrote {value}" for value in strangers]
        return found


def _of_versions(steps: Sequence[Step]) -> Iterator[str]:
    """A version has one value, and one writer."""
    values: defaultdict[int, set[str]] = defaultdict(set)
    writers: Counter[int] = Counter()
    for step in steps:
        values[step.version].add(step.value)
        writers[step.version] += step.what == "write"
    for version, found in values.items():
        if len(found) > 1 or writers[version] > 1:
            yield f"version {version} is {found}, by {writers[version]} writers"


def _of_time(steps: Sequence[Step]) -> Iterator[str]:
    """Read-your-writes, monotonic reads, and the same among clients."""
    ended = sorted(steps, key=lambda step: step.ended_s)
    at, known = 0, None
    for step in sorted(steps, key=lambda step: step.began_s):
        while at < len(ended) and ended[at].ended_s < step.began_s:
            if known is None or ended[at].version > known.version:
                known = ended[at]
            at += 1
        if known is not None and step.version < known.version:
            yield f"{known}, and then {step}"


def until(holds: Callable[[], bool], patience_s: float) -> bool:
    give_up_s = time.monotonic() + patience_s
    while time.monotonic() < give_up_s:
        with suppress(KernelError, OSError):
            if holds():
                return True
        time.sleep(0.05)
    return False
