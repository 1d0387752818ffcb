"""Blocking work beside the event loop: in a thread in production, inline in the simulation."""

import asyncio
import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Offload(Protocol):
    """Runs a blocking function; calls through one `Offload` run one after another."""

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def close(self) -> None: ...


class ThreadOffload:
    """One thread of its own, so that its work is in order; it starts with the first piece of work.

    An executor does the same by way of a second future with a lock of its own: half as fast, and
    whoever waits for the disk goes there and back with each call.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._todo: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[R] = loop.create_future()

        def job() -> None:
            if told.cancelled():
                return
            try:
                result = work(*args, **kwargs)
            except BaseException as error:  # Whatever it is, it is whose who waits.
                _tell(loop, told, error)
            else:
                _tell(loop, told, None, result)

        self._put(job)
        return await told

    def close(self) -> None:
        """Return once all is done that was put here; nothing can be put any more."""
        atexit.unregister(self.close)
        self._is_closed = True
        if (thread := self._thread) is not None:
            self._thread = None
            self._todo.put(None)
            thread.join()

    def _put(self, job: Callable[[], None]) -> None:
        if self._is_closed:
            raise RuntimeError(f"the thread {self._name!r} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
            # Whoever ends without `close` waits for what he has put here all the same.
            atexit.register(self.close)
        self._todo.put(job)

    def _run(self) -> None:
        while (job := self._todo.get()) is not None:
            job()
            del job  # Its caller's arguments are not kept until the next one comes.


class InlineOffload:
    """The simulation's: one turn of the loop later, so that others may come between."""

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        await asyncio.sleep(0)
        return work(*args, **kwargs)

    def close(self) -> None:
        pass


def _tell(
    loop: asyncio.AbstractEventLoop,
    told: "asyncio.Future[R]",
    error: BaseException | None,
    *result: R,
) -> None:
    """On the loop of whoever waits; one that is closed has nobody who does."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, told, error, *result)


def _settle(told: "asyncio.Future[R]", error: BaseException | None, *result: R) -> None:
    if told.done():
        return
    if isinstance(error, StopIteration):  # A future refuses it, and its waiter would hang.
        told.set_exception(RuntimeError("the work ended in StopIteration"))
    elif error is not None:
        told.set_exception(error)
    else:
        told.set_result(*result)
