"""One life of a kernel: what it holds in its hands, and how all of it is cut off at once.

A process that is killed runs nothing any more, not even its `finally`.  Cancelled tasks do; so a
crash cuts the wires first (disk, tools, programs, clients), and what is cancelled then changes
nothing that anybody can see.
"""

import asyncio
import contextvars
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
        self._tasks: defaultdict[int, set[asyncio.Future[object]]] = defaultdict(set)

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Generator[object, object, T] | Coroutine[object, object, T],
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """The loop's task factory."""
        life = LIFE.get() if context is None else context.get(LIFE, 0)
        assert not isinstance(work, Generator)
        task = asyncio.Task(work, loop=loop, context=context)
        mine = self._tasks[life]
        mine.add(task)
        task.add_done_callback(mine.discard)
        return task

    async def end(self, life: int) -> None:
        """Whatever that kernel had running is gone when this returns."""
        while self._tasks[life]:
            for task in sorted(self._tasks[life], key=lambda task: task.get_name()):
                task.cancel()
            await asyncio.sleep(0)

    def running(self, life: int) -> int:
        return len(self._tasks[life])
