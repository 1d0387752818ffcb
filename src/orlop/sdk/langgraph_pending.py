"""What tasks wrote, on its way: it waits for a moment, since the next checkpoint mostly follows at
once and takes it along in the same call.

Whoever wrote waits too: when he goes on, it is durable.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from orlop.sdk.langgraph_records import Typed

LINGER_S: Final = 0.01
"""How long what tasks wrote waits for the checkpoint after it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """items: the frames of its items, if it is a list."""

    task: str
    place: int
    channel: str
    path: str
    value: Typed
    items: Sequence[bytes]


@dataclass(eq=False, slots=True)
class Batch:
    """For one checkpoint's file."""

    writes: list[Pending] = field(default_factory=list)
    told: Future[None] = field(default_factory=Future)


class PendingWrites:
    """write: how a batch gets into the file of that path, where no checkpoint takes it along."""

    def __init__(self, write: Callable[[str, Sequence[Pending]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._batches: dict[str, Batch] = {}

    def add(self, path: str, writes: Sequence[Pending], *, soon: bool) -> None:
        """Return once they are durable.  soon: do not wait for a checkpoint."""
        with self._lock:
            batch = self._batches.setdefault(path, Batch())
            batch.writes += writes
        if not soon:
            try:
                return batch.told.result(timeout=LINGER_S)
            except TimeoutError:
                pass
        if (mine := self.take(path)) is not None:
            self.tell(mine, lambda: self._write(path, mine.writes))
        return batch.told.result()

    def take(self, path: str) -> Batch | None:
        """What waits for the file; whoever takes it must `tell`."""
        with self._lock:
            return self._batches.pop(path, None)

    def tell(self, batch: Batch | None, work: Callable[[], None]) -> None:
        """Do `work`, and let those who wait know what came of it."""
        try:
            work()
        except BaseException as error:
            if batch is not None:
                batch.told.set_exception(error)
            raise
        if batch is not None:
            batch.told.set_result(None)
