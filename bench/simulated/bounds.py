"""What no scheduler can pass, with exactly the engine model's step times.

A task's *isolated* time is what the engine model itself takes for it alone, with its shared
beginning already there.  The mean is bounded below by the mean isolated time, and by preemptive
shortest-remaining-first on one server to which each task is only its least engine time: uncached
prompt tokens once, and each token of output at the best batch that memory and slots allow, no gaps.
Both are relaxations, so the larger is a bound too.
"""

import heapq
from collections.abc import Sequence

from orlop.devices.device import Capacity
from orlop.devices.model import STEP_TOKENS
from orlop.operate.plan.alone import alone_s
from orlop.operate.plan.replay import Host
from orlop.operate.plan.tasks import Arrival, Task


class Bounds:
    """Remembers each task's times on one kind of engine."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._alone_s: dict[str, float] = {}
        self._work_s: dict[str, float] = {}

    def alone_s(self, task: Task) -> float:
        """The task's time with the engine to itself."""
        if task.name not in self._alone_s:
            self._alone_s[task.name] = alone_s(self._capacity, task)
        return self._alone_s[task.name]

    def work_s(self, task: Task) -> float:
        """The least engine time that the task can take from others."""
        if task.name not in self._work_s:
            self._work_s[task.name] = sum(self.step_s(task, n) for n in range(len(task.steps)))
        return self._work_s[task.name]

    def step_s(self, task: Task, number: int) -> float:
        step, speed = task.steps[number], self._capacity.speed
        known = min(max(step.prefix, task.shared_tokens), step.prompt - 1)
        new, weights_s = step.prompt - known, speed.decode_s(1, 0)
        # The weights are read for others anyway: each piece of a prompt may hide behind that once,
        # and of a token of output only what its own context adds is left.
        pieces = 1 + -(-new // STEP_TOKENS)
        prefill_s = max(0.0, speed.prefill_s(new, known) - pieces * weights_s)
        batch, context = self._capacity.slots, step.prompt + step.output // 2
        decode_s = max(0.0, speed.decode_s(batch, batch * context) - weights_s) / batch
        return prefill_s + step.output * decode_s


class FleetBounds:
    """Of a fleet: each task on the engine that serves it fastest, all engines as one."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = [(host, Bounds(host.capacity)) for host in hosts]
        self._alone_s: dict[str, float] = {}
        self._work_s: dict[str, float] = {}

    def able(self, task: Task) -> list[Bounds]:
        return [
            bounds
            for host, bounds in self._hosts
            if host.tier_min <= task.tier <= host.tier
            and (host.capacity.kv_tokens or 2**40) > task.context_tokens_max + 64
        ]

    def alone_s(self, task: Task) -> float:
        if task.name not in self._alone_s:
            self._alone_s[task.name] = min(able.alone_s(task) for able in self.able(task))
        return self._alone_s[task.name]

    def work_s(self, task: Task) -> float:
        if task.name not in self._work_s:
            self._work_s[task.name] = min(able.work_s(task) for able in self.able(task))
        return self._work_s[task.name]

    def least_mean_s(self, arrivals: Sequence[Arrival]) -> float:
        """A lower bound of the mean job time."""
        alone_s = sum(self.alone_s(arrival.task) for arrival in arrivals) / len(arrivals)
        return max(alone_s, _shortest_first(self, arrivals, len(self._hosts)))


def _shortest_first(bounds: FleetBounds, arrivals: Sequence[Arrival], servers: int) -> float:
    """Mean time under preemptive shortest remaining first on one server."""
    left: list[list[float]] = []
    now_s, total_s, index = 0.0, 0.0, 0
    while index < len(arrivals) or left:
        if not left:
            now_s = max(now_s, arrivals[index].at_s)
        while index < len(arrivals) and arrivals[index].at_s <= now_s:
            arrival = arrivals[index]
            heapq.heappush(left, [bounds.work_s(arrival.task) / servers, arrival.at_s])
            index += 1
        until_s = arrivals[index].at_s if index < len(arrivals) else float("inf")
        work_s, at_s = left[0]
        if now_s + work_s <= until_s:
            now_s += work_s
            total_s += now_s - at_s
            heapq.heappop(left)
        else:
            heapq.heapreplace(left, [work_s - (until_s - now_s), at_s])
            now_s = until_s
    return total_s / len(arrivals)
