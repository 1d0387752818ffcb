"""An event loop in virtual time: it jumps to the next timer when nothing is ready.

What is ready runs in a seeded order, so a seed chooses one of the many orders that a real machine
might have taken, and chooses it again when asked again.
"""

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Coroutine
from typing import Final, TypeVar

T = TypeVar("T")

TURNS_MAX: Final = 3_000_000
"""Turns of the loop in one scenario; more is a loop that never ends."""


class Deadlock(AssertionError):
    """Every task waits, and no timer is set."""


class Livelock(AssertionError):
    """Something goes round and round."""


class _Jump(selectors.SelectSelector):
    """Asked to wait, it moves the clock instead."""

    loop: "SimulationLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        self.loop.now_s += max(timeout, 0.0)
        return []


class SimulationLoop(asyncio.SelectorEventLoop):
    def __init__(self, seed: int) -> None:
        self.now_s = 0.0
        self.turns = 0
        self.chance = random.Random(seed)
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)
        # After some months of virtual time a float can't hold what the default asks for.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now_s

    def _run_once(self) -> None:  # A private hook, pinned by tests/simulation/test_loop.py.
        self.turns += 1
        if self.turns > TURNS_MAX:
            raise Livelock(f"{TURNS_MAX} turns, and no end")
        ready = list(self._ready)  # type: ignore[has-type]
        self.chance.shuffle(ready)
        self._ready = deque(ready)
        super()._run_once()  # type: ignore[misc]


def simulate(seed: int, scenario: Coroutine[object, object, T]) -> T:
    """Run `scenario`; a bug in any task fails it, even one that no caller noticed."""
    bugs: list[Exception] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        bug = context.get("exception")
        bugs.append(bug if isinstance(bug, Exception) else AssertionError(context["message"]))

    loop = SimulationLoop(seed)
    loop.set_exception_handler(note)
    try:
        outcome = loop.run_until_complete(scenario)
    except Exception:
        if bugs:  # What came first explains what came of it.
            raise bugs[0] from None
        raise
    finally:
        _cancel_all(loop)
        loop.close()
    if bugs:
        raise bugs[0]
    return outcome


def _cancel_all(loop: SimulationLoop) -> None:
    """So that a failed scenario leaves no task for the garbage collector to complain of."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=3600.0))
