"""Slots on devices, handed out one policy decision at a time.

The scheduler decides when a call may run; it never touches the tokens.  Invariants:
1. a device never runs more calls than it has slots;
2. no slot is free while work for it waits;
3. whatever leaves `slot`, however it leaves, gives its place back.
"""

from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

from orlop.abi.errors import Exhausted
from orlop.abi.ids import ProcessId
from orlop.abi.limits import WAITING_PER_ENGINE_MAX
from orlop.machine.ranges import Many
from orlop.sched.policy import POLICIES, Policy, PolicyName
from orlop.sched.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """The `[scheduler]` table of orlop.toml."""

    policy: PolicyName = "fair"
    """Who goes next: `fair` (bands, then fewest running) or `fifo`."""
    waiting_max: Many = WAITING_PER_ENGINE_MAX
    """Calls that may wait for one device; one more is refused with `Exhausted`."""


@dataclass(eq=False, slots=True)
class Queue:
    """One device's waiting room."""

    waiting: list[Work] = field(default_factory=list)
    running: Counter[ProcessId] = field(default_factory=Counter)
    running_total: int = 0
    served_s: float = 1.0
    """Smoothed seconds that a call holds its slot; only for the time to come back."""


class Scheduler:
    def __init__(self, config: SchedulerConfig) -> None:
        self._policy: Policy = POLICIES[config.policy]
        self._waiting_max = config.waiting_max
        self._queues: dict[str, Queue] = {}

    def load(self, device: str) -> tuple[int, int]:
        """Calls running and calls waiting."""
        queue = self._queues.get(device)
        return (queue.running_total, len(queue.waiting)) if queue else (0, 0)

    def slot(self, work: Work, slots: int) -> "Slot":
        """Hold one of the device's `slots` > 0 in an `async with`; waits for it if need be."""
        return Slot(self, work, slots)

    def enter(self, work: Work, slots: int) -> Queue:
        """Stand in the queue, or take a slot at once.  Raises `Exhausted`."""
        queue = self._queues.setdefault(work.device, Queue())
        if len(queue.waiting) >= self._waiting_max:
            raise Exhausted(
                f"{len(queue.waiting)} calls wait for {work.device} already (waiting_max)",
                retry_after_s=max(1.0, len(queue.waiting) * queue.served_s / slots),
            )
        if queue.running_total < slots and not queue.waiting:
            self._take(queue, work)
        else:
            queue.waiting.append(work)
        return queue

    def _take(self, queue: Queue, work: Work) -> None:
        queue.running[work.process] += 1
        queue.running_total += 1
        work.granted.set()

    def leave(self, queue: Queue, work: Work, slots: int) -> None:
        """Give the place back, in the queue or on the device, and let the next ones on."""
        if not work.granted.is_set():
            queue.waiting.remove(work)
            return
        queue.running_total -= 1
        queue.running[work.process] -= 1
        if not queue.running[work.process]:
            del queue.running[work.process]
        while queue.waiting and queue.running_total < slots:
            chosen = self._policy(queue.waiting, queue.running)
            queue.waiting.remove(chosen)
            self._take(queue, chosen)

    def observe(self, device: str, seconds: float) -> None:
        """A call held its slot for `seconds`."""
        if queue := self._queues.get(device):
            queue.served_s += (seconds - queue.served_s) / 16


class Slot:
    """One seat on a device while an `async with` runs; a class, since every call takes one."""

    __slots__ = ("_queue", "_scheduler", "_slots", "_work")

    def __init__(self, scheduler: Scheduler, work: Work, slots: int) -> None:
        self._scheduler = scheduler
        self._work = work
        self._slots = slots

    async def __aenter__(self) -> None:
        self._queue = self._scheduler.enter(self._work, self._slots)
        if not self._work.granted.is_set():
            try:
                await self._work.granted.wait()
            except BaseException:
                self._scheduler.leave(self._queue, self._work, self._slots)
                raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scheduler.leave(self._queue, self._work, self._slots)
