"""Programs whose sagas go on while a real kernel is killed at its fault points, and a shop's books.

The shop is a database and a folder that the kernel writes to through its connectors: what happened
there, and how often, is counted in rows and files and not in the kernel's journal.
"""

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from live_kernel import LiveKernel, live_kernel

import orlop
from orlop.abi.errors import KernelError

POINTS: Final = (
    "door.entered",
    "door.durable",
    "door.done",
    "door.outcome",
    "tool.before",
    "tool.after",
    "saga.entered",
    "saga.done",
    "saga.outcome",
    "folder.recorded",
    "folder.renamed",
    "journal.commit",
    "journal.committed",
    "journal.anchored",
)
KILLS_A_HOME: Final = 7
"""The supervisor gives up on a kernel that dies eight times within twenty seconds."""

SHOPPERS: Final = 3
STEPS: Final = 3
PATIENCE_S: Final = 120.0
CONFIG: Final = """
[sql.shop]
url = "sqlite:///{shop}"

[sql.shop.statements.book]
sql = "INSERT INTO booked(name) VALUES (:name) RETURNING id"
writes = true
compensate = "shop.cancel"
compensate_with = {{ id = "{{result.rows.0.id}}" }}

[sql.shop.statements.cancel]
sql = "UPDATE booked SET cancelled = cancelled + 1 WHERE id = :id"
writes = true

[folders.notes]
path = "{notes}"
writes = true
"""


@dataclass(frozen=True, slots=True)
class Books:
    """What a day came to.  doubled: bookings, cancellations and notes that happened twice; lost:
    those of committed sagas that are not there; left: those of sagas that were given up and still
    are."""

    kills: int
    sagas: int
    effects: int
    doubled: int
    lost: int
    left: int


class Given(Exception):
    """A saga that its program gives up."""


@dataclass(eq=False)
class Shoppers:
    kernel: LiveKernel
    seed: int
    stopping: threading.Event = field(default_factory=threading.Event)
    committed: list[str] = field(default_factory=list)
    """Names that were told to be booked for good."""
    given_up: list[str] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for number in range(SHOPPERS):
            thread = threading.Thread(target=self._shop, args=(number,), name=f"shopper{number}")
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Each ends its last saga first; raises what any of them met."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} still waits for its answer"
        if self.failures:
            raise self.failures[0]

    def _shop(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        try:
            with orlop.connect_sync(
                self.kernel.url,
                token=self.kernel.key,
                process=f"shopper{number}",
                patience_s=PATIENCE_S,
            ) as kernel:
                count = 0
                while not self.stopping.is_set():
                    count += 1
                    self._saga(kernel, f"{number}.{count}", chance.random() < 0.5)
        except BaseException as error:
            self.failures.append(error)

    def _saga(self, kernel: orlop.SyncKernel, name: str, commits: bool) -> None:
        names = [f"{name}.{step}" for step in range(STEPS)]
        try:
            with kernel.saga(name) as saga:
                for one in names:
                    saga.call_tool("shop.book", name=one)
                    saga.call_tool("notes.append", path=one, text=f"{one}\n")
                if not commits:
                    raise Given
        except Given:
            self.given_up += names
        except KernelError:
            self.given_up += names  # A step failed for good, so the rest was undone.
        else:
            self.committed += names


@contextmanager
def _planned(plan: Path, lines: list[str]) -> Iterator[None]:
    plan.write_text("\n".join(lines))
    os.environ["ORLOP_FAULT"] = f"@{plan}"
    try:
        yield
    finally:
        del os.environ["ORLOP_FAULT"]


def day(folder: Path, seed: int) -> Books:
    """One home, whose kernels die at fault points one after another; the last one lives."""
    chance = random.Random(seed)
    turn = [POINTS[(seed * KILLS_A_HOME + n) % len(POINTS)] for n in range(KILLS_A_HOME)]
    lines = [f"{point}:{chance.randint(2, 9)}" for point in turn]
    shop, notes = folder / f"shop{seed}.db", folder / f"notes{seed}"
    notes.mkdir()
    with closing(sqlite3.connect(shop)) as opened, opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute(
            "CREATE TABLE booked(id INTEGER PRIMARY KEY, name TEXT, cancelled INTEGER DEFAULT 0)"
        )
    with (
        _planned(folder / "plan", lines),
        live_kernel(CONFIG.format(shop=shop, notes=notes)) as kernel,
    ):
        shoppers = Shoppers(kernel, seed)
        shoppers.start()
        try:
            _wait_for_the_last(kernel, folder / "plan", len(lines), shoppers)
        finally:
            shoppers.stop()
        _wait_for_quiet(kernel)
        return _counted(shop, notes, shoppers, len(lines))


def _counted(shop: Path, notes: Path, shoppers: Shoppers, kills: int) -> Books:
    with closing(sqlite3.connect(f"file:{shop}?mode=ro", uri=True, timeout=30)) as opened:
        rows = opened.execute("SELECT name, cancelled FROM booked").fetchall()
    names = [str(name) for name, _ in rows]
    cancelled = {str(name): int(count) for name, count in rows}
    written = {file.name: file.read_text() for file in notes.iterdir() if file.is_file()}
    return Books(
        kills=kills,
        sagas=(len(shoppers.committed) + len(shoppers.given_up)) // STEPS,
        effects=len(rows) + sum(cancelled.values()) + len(list((notes / ".orlop").glob("*.json"))),
        doubled=len(names)
        - len(set(names))
        + sum(max(0, n - 1) for n in cancelled.values())
        + sum(text != f"{name}\n" for name, text in written.items()),
        lost=sum(cancelled.get(name, 1) > 0 for name in shoppers.committed)
        + sum(name not in written for name in shoppers.committed),
        left=sum(cancelled.get(name, 1) == 0 for name in shoppers.given_up)
        + sum(name in written for name in shoppers.given_up),
    )


def _wait_for_the_last(kernel: LiveKernel, plan: Path, kills: int, shoppers: Shoppers) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while _boots(kernel) <= kills:
        if time.monotonic() > give_up_s or shoppers.failures:
            log = (kernel.home / "log" / "kernel.log").read_text()[-3_000:]
            left = f"left of the plan: {plan.read_text()!r}, {_boots(kernel)} boots"
            raise AssertionError(f"{left}, {shoppers.failures}: {log}")
        time.sleep(0.1)


def _boots(kernel: LiveKernel) -> int:
    journal = f"file:{kernel.home / 'journal.db'}?mode=ro"
    with closing(sqlite3.connect(journal, uri=True, timeout=30)) as opened:
        asked = "SELECT count(*) FROM events WHERE kind = 'kernel.booted'"
        return int(opened.execute(asked).fetchone()[0])


def _wait_for_quiet(kernel: LiveKernel) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while rows := json.loads(kernel.orlop("sagas", "--json")):
        # Opened by a call whose answer was lost with its kernel, and so known to nobody.
        if all(row["state"] == "open" and not row["steps"] for row in rows):
            return
        assert time.monotonic() < give_up_s, rows
        time.sleep(0.1)
