"""A real kernel, killed with SIGKILL at each fault point of the door, the tools and the journal.

`ORLOP_CRASH_KILLS=200` kills so often in all; the seed of the places is printed by a failure.
"""

import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest
from crash.customers import Customers
from live_kernel import LiveKernel, live_kernel

POINTS: Final = (
    "door.entered",
    "door.durable",
    "door.done",
    "door.outcome",
    "door.told",
    "tool.before",
    "tool.after",
    "journal.commit",
    "journal.committed",
    "journal.anchored",
)
KILLS_A_HOME: Final = 7
"""The supervisor gives up on a kernel that dies eight times within twenty seconds."""

HOMES: Final = -(-int(os.environ.get("ORLOP_CRASH_KILLS", "35")) // KILLS_A_HOME)
ASKED_AGAIN = 20
PATIENCE_S: Final = 120.0
TOOL: Final = """
[tools.write]
command = ["{python}", "-I", "-S", "{script}", "{shop}"]
effect = "idempotent"
"""


def planned(seed: int) -> list[str]:
    """Where each kernel of a home dies: all points in turn, at a random passing of each."""
    chance = random.Random(seed)
    turn = [POINTS[(seed * KILLS_A_HOME + n) % len(POINTS)] for n in range(KILLS_A_HOME)]
    return [f"{point}:{chance.randint(3, 12)}" for point in turn]


@contextmanager
def doomed_kernel(folder: Path, plan: list[str]) -> Iterator[LiveKernel]:
    """Its kernels die as planned, one after another; the last one lives."""
    (folder / "plan").write_text("\n".join(plan))
    with closing(sqlite3.connect(folder / "shop.db")) as shop, shop:
        shop.execute("PRAGMA journal_mode=WAL")
        shop.execute("CREATE TABLE attempt(name TEXT)")
        shop.execute("CREATE TABLE effect(key TEXT PRIMARY KEY, name TEXT)")
    script = Path(__file__).with_name("write_order.py")
    tool = TOOL.format(python=sys.executable, script=script, shop=folder / "shop.db")
    with live_kernel(tool) as kernel:
        yield kernel


def rows(database: Path, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as opened:
        return opened.execute(question).fetchall()


def kernels(kernel: LiveKernel) -> int:
    """That have booted so far."""
    counted = rows(
        kernel.home / "journal.db", "SELECT count(*) FROM events WHERE kind = 'kernel.booted'"
    )
    return int(str(counted[0][0]))


def wait_for_the_last(kernel: LiveKernel, customers: Customers, planned_kills: int) -> None:
    """And for answers enough to ask about: kills that come early leave few."""
    give_up_s = time.monotonic() + PATIENCE_S
    while kernels(kernel) <= planned_kills or len(customers.told) <= ASKED_AGAIN:
        assert time.monotonic() < give_up_s, "a planned kill did not come, or no answers did"
        assert not customers.failures, customers.failures[0]
        time.sleep(0.1)


@pytest.mark.parametrize("seed", range(HOMES))
def test_nothing_told_is_lost_and_nothing_is_done_twice_however_often_the_kernel_is_killed(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(seed)
    monkeypatch.setenv("ORLOP_FAULT", f"@{tmp_path / 'plan'}")
    with doomed_kernel(tmp_path, plan) as kernel:
        customers = Customers(kernel)
        customers.start()
        try:
            wait_for_the_last(kernel, customers, len(plan))
        finally:
            customers.stop()
        check_told(kernel, customers)
        check_calls(kernel, customers)
        check_effects(tmp_path / "shop.db", customers)


def check_told(kernel: LiveKernel, customers: Customers) -> None:
    """I1: whoever asks again hears the same, from the record."""
    assert len(customers.told) > ASKED_AGAIN
    for question, told in list(customers.told.items())[-ASKED_AGAIN:]:
        assert customers.told_again(question) == told, question


def check_calls(kernel: LiveKernel, customers: Customers) -> None:
    """I1 and I4: an answer that was told is an outcome in the journal; one outcome an intent."""
    calls = rows(kernel.home / "journal.db", "SELECT call, status FROM calls")
    status = {str(call): str(how) for call, how in calls}
    assert len(status) == len(calls), "two outcomes of one call"
    assert "open" not in status.values()
    for question, (id, _) in customers.told.items():
        assert status[id.replace("chatcmpl-", "cal_")] == "returned", question
    for order, call in customers.done.items():
        assert status[call] == "returned", order


def check_effects(shop: Path, customers: Customers) -> None:
    """I2: each order is there once, although it may have been tried more often."""
    effects = [str(name) for (name,) in rows(shop, "SELECT name FROM effect")]
    assert len(effects) == len(set(effects)), "an order was written twice"
    assert set(customers.done) <= set(effects), "an order was told done, and is not there"
    attempts = rows(shop, "SELECT count(*) FROM attempt")
    assert int(str(attempts[0][0])) >= len(effects) > 0
