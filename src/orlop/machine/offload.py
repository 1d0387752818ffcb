"""Blocking work beside the event loop: in a thread in production, inline in the simulation."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Offload(Protocol):
    """Runs a blocking function; calls through one `Offload` run one after another."""

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def close(self) -> None: ...


class ThreadOffload:
    """One thread of its own, so that its work is in order."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        self._thread.shutdown(wait=True)


class InlineOffload:
    """The simulation's: one turn of the loop later, so that others may come between."""

    async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        await asyncio.sleep(0)
        return work(*args, **kwargs)

    def close(self) -> None:
        pass
