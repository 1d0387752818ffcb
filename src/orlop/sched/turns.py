"""The scheduler for tasks: an `async with` that waits for its turn, and the one timer.

Nothing here decides.  A call that gets its seat at once never waits for the event loop.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, TypeAlias

from orlop.machine.clock import Clock
from orlop.sched.scheduler import Scheduler
from orlop.sched.work import UNKNOWN, Grant, Phase, Used, Work

EARLY_S: Final = 0.001
"""A timer that is this much too late is not set anew."""

PLACED_AT_ONCE: Final = 32
"""Calls that are placed anew before others have a turn: thousands may wait."""

Again: TypeAlias = Callable[[], tuple[str, ...]]
"""The engines that can serve a call now; never raises."""


class Turns:
    """Invariants: whatever waits here is in `scheduler`; whatever leaves an `async with` has left
    the scheduler."""

    def __init__(self, scheduler: Scheduler, clock: Clock) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self._waiters: dict[Work, asyncio.Future[None]] = {}
        self._again: dict[Work, Again] = {}
        """Of those that wait and may wait elsewhere, by arrival."""
        self._stops: dict[Work, asyncio.Event] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = math.inf
        scheduler.on_grant = self._granted
        scheduler.on_yield = self._asked

    def seat(self, work: Work, again: Again | None = None) -> "Seat":
        """Hold a seat for `work` in an `async with`; waits for it if need be.

        again: asked while it waits, when another engine may serve it; None: it waits where it is.
        """
        return Seat(self, work, again)

    def close(self) -> None:
        """Time changes nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._at_s = None, -math.inf

    async def enter(self, work: Work, again: Again | None = None) -> Grant:
        """Raises `Exhausted`; whoever is cancelled here must still `leave`."""
        self.scheduler.enter(work, self.clock.now_s())
        if work.phase is Phase.WAITING:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[work] = waiter
            if again is not None:
                self._again[work] = again
            self._arm()
            try:
                await waiter
            finally:
                self._waiters.pop(work, None)
                self._again.pop(work, None)
        assert work.grant is not None
        return work.grant

    def leave(self, work: Work, used: Used) -> None:
        self._stops.pop(work, None)
        self.scheduler.leave(work, self.clock.now_s(), used)
        self._arm()

    def stop_of(self, work: Work) -> asyncio.Event:
        """Set once the call should give its seat back."""
        return self._stops.setdefault(work, asyncio.Event())

    def look(self) -> None:
        """Something has changed that is no call's doing: an engine has come, gone, or grown."""
        self._arm()

    def news(self, engine: str) -> None:
        """It can serve calls that it could not: who waits for others is placed anew."""
        if works := [work for work in self._again if engine not in work.candidates]:
            asyncio.get_running_loop().call_soon(self._place, works)

    def _place(self, works: Sequence[Work]) -> None:
        for work in works[:PLACED_AT_ONCE]:
            if work.phase is Phase.WAITING and (again := self._again.get(work)) is not None:
                self.scheduler.offer(work, again(), self.clock.now_s())
        self._arm()
        if len(works) > PLACED_AT_ONCE:
            asyncio.get_running_loop().call_soon(self._place, works[PLACED_AT_ONCE:])

    def _granted(self, work: Work, grant: Grant) -> None:
        waiter = self._waiters.get(work)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _asked(self, work: Work) -> None:
        if (stop := self._stops.get(work)) is not None:
            stop.set()

    def _arm(self) -> None:
        """One timer, for the next moment at which time alone could change a decision."""
        next_s = self.scheduler.next_s()
        if next_s >= self._at_s - EARLY_S:
            return  # What is set rings before that, and then looks again.
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = next_s
        delay_s = max(0.0, next_s - self.clock.now_s())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer, self._at_s = None, math.inf
        self.scheduler.wake(self.clock.now_s())
        self._arm()


class Seat:
    """One seat on an engine; a class, since every call takes one.

    used: what the call took; to be set before the end by whoever knows.
    """

    __slots__ = ("_again", "_turns", "used", "work")

    def __init__(self, turns: Turns, work: Work, again: Again | None) -> None:
        self._again = again
        self._turns = turns
        self.work = work
        self.used = UNKNOWN

    async def __aenter__(self) -> Grant:
        try:
            return await self._turns.enter(self.work, self._again)
        except BaseException:
            self._turns.leave(self.work, UNKNOWN)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._turns.leave(self.work, self.used)
