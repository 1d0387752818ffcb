"""One life of a kernel: what it holds in its hands, and how all of it is cut off at once.

A process that is killed runs nothing any more, not even its `finally`.  Cancelled tasks do; so a
crash cuts the wires first (disk, tools, programs, clients), and what is cancelled then changes
nothing that anybody can see.
"""

import asyncio
import contextvars
import itertools
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Final, ParamSpec, TypeVar

from orlop.abi.ids import Nanoseconds
from orlop.machine.chance import Chance
from orlop.machine.clock import NS_PER_S

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

LIFE: Final = contextvars.ContextVar("LIFE", default=0)
"""Which life of the kernel a task belongs to; 0: the world outside."""


class PowerCut(Exception):
    """The disk stops in the middle of what it was doing."""


@dataclass(eq=False, slots=True)
class Power:
    is_on: bool = True
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        self.is_on = False
        self.lost.set()


class LoopClock:
    """The event loop's clock; its wall begins on 2026-01-01 and can be set."""

    def __init__(self) -> None:
        self.wall_offset_ns = 1_767_225_600_000_000_000

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ns(self) -> Nanoseconds:
        return Nanoseconds(self.wall_offset_ns + int(self.now_s() * NS_PER_S))

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class DiskOffload:
    """A disk that takes its time and does one thing after another, until the power is cut."""

    def __init__(self, power: Power, chance: Chance, longest_s: float) -> None:
        self._power = power
        self._chance = chance
        self._longest_s = longest_s
        self._turn = asyncio.Lock()

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._turn:
            await asyncio.sleep(self._chance.uniform() * self._longest_s)
            if not self._power.is_on:
                await asyncio.Event().wait()
            return work(*args, **kwargs)

    def close(self) -> None:
        pass


class Lives:
    """Which tasks belong to which life, so that a crash finds all of them."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._running: defaultdict[int, dict[int, Callable[[], bool]]] = defaultdict(dict)

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[object, object, T] | Generator[asyncio.Future[object] | None, None, T],
        /,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """The loop's task factory."""
        life = LIFE.get() if context is None else context.get(LIFE, 0)
        task = asyncio.Task(work, loop=loop, context=context)
        running, number = self._running[life], next(self._numbers)
        running[number] = task.cancel
        task.add_done_callback(lambda _: running.pop(number))
        return task

    async def end(self, life: int) -> None:
        """Whatever that kernel had running is gone when this returns."""
        while self._running[life]:
            await self._all_begun(life)
            for cancel in tuple(self._running[life].values()):
                cancel()
            await asyncio.sleep(0)

    async def _all_begun(self, life: int) -> None:
        """A task that is cancelled before its first step never awaits its coroutine."""
        newest, looks = -1, 0
        while looks < 2:
            await asyncio.sleep(0)
            last = max(self._running[life], default=-1)
            newest, looks = last, looks + 1 if last == newest else 0
