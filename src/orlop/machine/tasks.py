"""Tasks with an owner: named, counted, cancelled together."""

import asyncio
import logging
from collections.abc import Coroutine

from orlop.abi.errors import JournalStopped

log = logging.getLogger(__name__)


class TaskOwner:
    """Keeps its tasks alive, and tells the loop's exception handler of any bug in one."""

    def __init__(self, name: str) -> None:
        self._name = name
        # In the order of their start, so that the same seed cancels in the same order.
        self._tasks: dict[asyncio.Task[None], None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[object, object, None], name: str = "") -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name or self._name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Ask all to end, without waiting."""
        for task in tuple(self._tasks):
            task.cancel()

    async def close(self) -> None:
        """End all, and wait until they have."""
        while self._tasks:
            self.cancel()
            await asyncio.wait(tuple(self._tasks))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled() or (bug := task.exception()) is None:
            return
        if isinstance(bug, JournalStopped):  # No bug: the journal has told everybody why.
            log.warning("%s was given up: %s", task.get_name(), bug.message)
        else:
            task.get_loop().call_exception_handler(
                {"message": f"a bug in {task.get_name()}", "exception": bug, "task": task}
            )
