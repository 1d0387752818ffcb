"""Time.  Nothing above this file may import `time` or call `asyncio.sleep`."""

import asyncio
import time
from types import TracebackType
from typing import Protocol

from orlop.abi.errors import DeadlineMissed
from orlop.abi.ids import Nanoseconds

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """The event loop's clock: real in production, virtual under `tests/simulation`."""

    def now_s(self) -> float:
        """Monotonic seconds, from an unknown start."""
        ...

    def wall_ns(self) -> Nanoseconds:
        """UTC; may jump, so it orders nothing."""
        ...

    async def sleep(self, delay_s: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        return time.monotonic()

    def wall_ns(self) -> Nanoseconds:
        return Nanoseconds(time.time_ns())

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class deadline:
    """`DeadlineMissed` for `what` after `delay_s` seconds; other `TimeoutError`s pass through."""

    __slots__ = ("_delay_s", "_limit", "_what")

    def __init__(self, delay_s: float, what: str) -> None:
        self._delay_s = delay_s
        self._what = what

    async def __aenter__(self) -> None:
        self._limit = asyncio.timeout(self._delay_s)
        await self._limit.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as expired:
            # Raised by `asyncio.timeout` itself, and by it alone, in the place of a cancellation.
            raise DeadlineMissed(f"{self._what} took more than {self._delay_s:g} s") from expired
