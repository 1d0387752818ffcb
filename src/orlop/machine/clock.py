"""Time.  Nothing above this file may import `time` or call `asyncio.sleep`."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def deadline(delay_s: float, what: str) -> AsyncGenerator[None]:
    """`DeadlineMissed` for `what` after `delay_s` seconds; other `TimeoutError`s pass through."""
    try:
        async with asyncio.timeout(delay_s) as limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise DeadlineMissed(f"{what} took more than {delay_s:g} s") from error
        raise
