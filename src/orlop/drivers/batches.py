"""Dynamic batching: single items gathered into batches, within a stated delay for each class.

Invariants: 1. an item waits for others no longer than its class allows, and then only for the batch
that runs; 2. without a delay, on an idle engine, it goes alone and at once, by no detour; 3. what
fails, fails for its own batch only; 4. an item whose caller has left is not computed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from orlop.abi.errors import KernelError
from orlop.abi.hints import LatencyClass
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False, slots=True)
class _Entry(Generic[T, R]):
    item: T
    due_s: float
    answer: asyncio.Future[R]


class Batches(Generic[T, R]):
    """run: computes a batch, an answer an item.  delay_s: by class; one not named waits not."""

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        clock: Clock,
        most: int,
        delay_s: Mapping[LatencyClass, float],
    ) -> None:
        self.ran = 0
        """Batches so far."""
        self._run = run
        self._clock = clock
        self._most = most
        self._delay_s = delay_s
        self._waiting: list[_Entry[T, R]] = []
        self._is_running = False
        self._is_gathering = False
        """A task gathers; a task that has just ended is none, though its owner still holds it."""
        self._changed = asyncio.Event()
        self._tasks = TaskOwner("batches")

    async def ask(self, item: T, latency_class: LatencyClass) -> R:
        delay_s = self._delay_s.get(latency_class, 0.0)
        if delay_s <= 0 and not self._is_running and not self._waiting:
            return (await self._compute([item]))[0]
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(item, self._clock.now_s() + delay_s, answer))
        self._changed.set()
        if not self._is_gathering:
            self._is_gathering = True
            self._tasks.start(self._gather())
        return await answer

    async def close(self) -> None:
        await self._tasks.close()
        for entry in self._waiting:
            entry.answer.cancel()

    async def _compute(self, items: Sequence[T]) -> Sequence[R]:
        self._is_running = True
        self.ran += 1
        try:
            return await self._run(items)
        finally:
            self._is_running = False
            self._changed.set()

    async def _gather(self) -> None:
        try:
            await self._gather_all()
        finally:
            self._is_gathering = False

    async def _gather_all(self) -> None:
        """While anybody waits: a batch as soon as one is full, or somebody has waited enough."""
        while self._waiting:
            self._changed.clear()
            self._waiting = [entry for entry in self._waiting if not entry.answer.done()]
            if self._is_running:
                await self._changed.wait()
                continue
            due_s = min((entry.due_s for entry in self._waiting), default=0.0)
            left_s = due_s - self._clock.now_s()
            if self._waiting and len(self._waiting) < self._most and left_s > 0:
                await self._sleep(left_s)
                continue
            await self._batch()

    async def _sleep(self, left_s: float) -> None:
        """Until then, or until somebody came who may not want to wait as long."""
        try:
            async with asyncio.timeout(left_s):
                await self._changed.wait()
        except TimeoutError:
            pass  # Then somebody has waited enough.

    async def _batch(self) -> None:
        self._waiting.sort(key=lambda entry: entry.due_s)
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        if not batch:
            return
        try:
            answers = await self._compute([entry.item for entry in batch])
        except KernelError as error:
            for entry in batch:
                if not entry.answer.done():
                    entry.answer.set_exception(error)
            return
        except BaseException:  # A bug or our end: nobody may be left waiting.
            for entry in batch:
                entry.answer.cancel()
            raise
        for entry, answer in zip(batch, answers, strict=True):
            if not entry.answer.done():
                entry.answer.set_result(answer)
