"""What others do, as dispatchers: passthrough, AIOS, static limits, affinity, llm-d, LAS, SRPT.

All talk to the same engine models as the kernel does, with prefix caching on.
"""

import math
from collections import defaultdict, deque
from typing import Protocol

from orlop.devices.model_calls import Ended
from orlop.operate.plan.replay import Call, Fleet, Program


class Work(Protocol):
    """How much engine time the calls of a task take at least."""

    def work_s(self, program: Program, first: int, last: int) -> float:
        """Of the calls from `first` up to, without, `last`."""
        ...


class Passthrough:
    """First come, first served: every call goes to an engine at once, in turn among several."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._next = 0

    def choose(self, call: Call) -> int:
        able = self.fleet.eligible(call.program.task)
        self._next += 1
        return able[self._next % len(able)]

    def urgency(self, call: Call) -> float:
        return 0.0

    def enter(self, call: Call, now_s: float) -> None:
        self.fleet.submit(call, self.choose(call), now_s, self.urgency(call))

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        """Nothing waits here."""

    def program_ended(self, program: Program, now_s: float) -> None:
        """Nothing is remembered of it."""

    def next_s(self) -> float:
        return math.inf

    def wake(self, now_s: float) -> None:
        """Never asked for."""


class Affinity(Passthrough):
    """A program stays on the engine that had the fewest calls when it came."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._home: dict[int, int] = {}

    def choose(self, call: Call) -> int:
        program = call.program
        if program.number not in self._home:
            self._home[program.number] = min(
                self.fleet.eligible(program.task), key=lambda index: queue_length(self.fleet, index)
            )
        return self._home[program.number]

    def program_ended(self, program: Program, now_s: float) -> None:
        self._home.pop(program.number, None)


class LeastAttained(Affinity):
    """Affinity, and the engine's queue in order of what the program has had so far (PLAS)."""

    def __init__(self, fleet: Fleet, work: Work) -> None:
        super().__init__(fleet)
        self._work = work

    def urgency(self, call: Call) -> float:
        return self._work.work_s(call.program, 0, call.program.done)


class LlmD(Passthrough):
    """llm-d's default scorers and weights: queue 2, KV utilisation 2, prefix cache 3.

    With its flow control: calls wait, first come first served, while the pool is saturated (the
    mean over engines of max(queue / 5, KV utilisation / 0.8) is 1 or more).  Its prefix index is
    approximate, as by default: where it sent the program's last calls.
    """

    WEIGHT_QUEUE, WEIGHT_KV, WEIGHT_PREFIX = 2.0, 2.0, 3.0
    QUEUE_MAX, KV_MAX = 5.0, 0.8

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._waiting: deque[Call] = deque()
        self._sent: dict[tuple[int, int], int] = {}

    def enter(self, call: Call, now_s: float) -> None:
        self._waiting.append(call)
        self._drain(now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        self._drain(now_s)

    def _saturation(self, index: int) -> float:
        engine = self.fleet.engines[index]
        used = engine.memory.held / engine.memory.kv_tokens
        return max(engine.waiting / self.QUEUE_MAX, used / self.KV_MAX)

    def _drain(self, now_s: float) -> None:
        while self._waiting:
            call = self._waiting[0]
            able = self.fleet.eligible(call.program.task)
            if sum(self._saturation(index) for index in able) / len(able) >= 1:
                return
            self._waiting.popleft()
            queues = {index: self.fleet.engines[index].waiting for index in able}
            best = max(able, key=lambda index: self._score(call, index, queues))
            self._sent[call.program.number, best] = call.step.prompt
            self.fleet.submit(call, best, now_s)

    def _score(self, call: Call, index: int, queues: dict[int, int]) -> float:
        low, high = min(queues.values()), max(queues.values())
        queue = 1.0 if high == low else (high - queues[index]) / (high - low)
        memory = self.fleet.engines[index].memory
        kv = 1 - memory.held / memory.kv_tokens
        prefix = min(1.0, self._sent.get((call.program.number, index), 0) / call.step.prompt)
        return self.WEIGHT_QUEUE * queue + self.WEIGHT_KV * kv + self.WEIGHT_PREFIX * prefix


class AiosFifo(Passthrough):
    """AIOS's FIFO: an engine takes all that waits as one batch, and the next when all have ended.

    Without its pause of a second between batches.
    """

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._waiting: dict[int, list[Call]] = defaultdict(list)
        self._running: dict[int, int] = defaultdict(int)

    def enter(self, call: Call, now_s: float) -> None:
        index = self.choose(call)
        self._waiting[index].append(call)
        self._start(index, now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        self._running[call.engine] -= 1
        self._start(call.engine, now_s)

    def _start(self, index: int, now_s: float) -> None:
        if self._running[index]:
            return
        for call in self._waiting.pop(index, []):
            self._running[index] += 1
            self.fleet.submit(call, index, now_s)


class AiosRoundRobin(Passthrough):
    """AIOS's RR: calls take turns of a time slice; between them the context is kept as text.

    What the engine's prefix cache has lost meanwhile is computed again.
    """

    SLICE_TOKENS = 256
    SEATS = 16

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._waiting: dict[int, deque[Call]] = defaultdict(deque)
        self._running: dict[int, int] = defaultdict(int)

    def enter(self, call: Call, now_s: float) -> None:
        index = self.choose(call)
        self._waiting[index].append(call)
        self._start(index, now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        index = call.engine
        self._running[index] -= 1
        if call.generated < call.step.output:
            self._waiting[index].append(call)
        self._start(index, now_s)

    def _start(self, index: int, now_s: float) -> None:
        while self._waiting[index] and self._running[index] < self.SEATS:
            self._running[index] += 1
            call = self._waiting[index].popleft()
            self.fleet.submit(call, index, now_s, slice_tokens=self.SLICE_TOKENS)


class StaticCalls(Affinity):
    """At most N calls on an engine, the rest in order of arrival."""

    def __init__(self, fleet: Fleet, limit: int) -> None:
        super().__init__(fleet)
        self._limit = limit
        self._waiting: dict[int, deque[Call]] = defaultdict(deque)
        self._running: dict[int, int] = defaultdict(int)

    def enter(self, call: Call, now_s: float) -> None:
        index = self.choose(call)
        self._waiting[index].append(call)
        self._start(index, now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        self._running[call.engine] -= 1
        self._start(call.engine, now_s)

    def _start(self, index: int, now_s: float) -> None:
        while self._waiting[index] and self._running[index] < self._limit:
            self._running[index] += 1
            self.fleet.submit(self._waiting[index].popleft(), index, now_s)


class StaticPrograms(Affinity):
    """At most N programs on an engine from their first call to their last; the rest wait."""

    def __init__(self, fleet: Fleet, limit: int) -> None:
        super().__init__(fleet)
        self._limit = limit
        self._waiting: dict[int, deque[Call]] = defaultdict(deque)
        self._on: dict[int, set[int]] = defaultdict(set)

    def enter(self, call: Call, now_s: float) -> None:
        index = self.choose(call)
        if call.program.number in self._on[index]:
            self.fleet.submit(call, index, now_s)
            return
        self._waiting[index].append(call)
        self._start(index, now_s)

    def program_ended(self, program: Program, now_s: float) -> None:
        index = self._home[program.number]
        super().program_ended(program, now_s)
        self._on[index].discard(program.number)
        self._start(index, now_s)

    def _start(self, index: int, now_s: float) -> None:
        while self._waiting[index] and len(self._on[index]) < self._limit:
            call = self._waiting[index].popleft()
            self._on[index].add(call.program.number)
            self.fleet.submit(call, index, now_s)


class ShortestRemaining(Affinity):
    """The oracle: knows each task's remaining work, and keeps the contexts of those it lets on.

    A call waits until the contexts of programs that are in, with its own, are at most `factor`
    times the memory (device and host); contexts of programs away for a tool count half every 30 s.
    """

    DECAY_S = 30.0

    def __init__(self, fleet: Fleet, work: Work, factor: float) -> None:
        super().__init__(fleet)
        self._work = work
        self._factor = factor
        self._waiting: dict[int, list[Call]] = defaultdict(list)
        self._running: dict[int, dict[int, int]] = defaultdict(dict)
        self._away: dict[int, dict[int, tuple[float, int]]] = defaultdict(dict)
        self._wake_s = math.inf

    def _left_s(self, program: Program) -> float:
        return self._work.work_s(program, program.done, len(program.task.steps))

    def enter(self, call: Call, now_s: float) -> None:
        index = self.choose(call)
        self._waiting[index].append(call)
        self._start(index, now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        index = call.engine
        context = self._running[index].pop(call.program.number)
        if call.program.done < len(call.program.task.steps):
            self._away[index][call.program.number] = (now_s, context)
        self._start(index, now_s)

    def next_s(self) -> float:
        return self._wake_s

    def wake(self, now_s: float) -> None:
        self._wake_s = math.inf
        for index in list(self._waiting):
            self._start(index, now_s)

    def _start(self, index: int, now_s: float) -> None:
        waiting, away = self._waiting[index], self._away[index]
        waiting.sort(key=lambda call: self._left_s(call.program))
        engine = self.fleet.engines[index]
        room = self._factor * (engine.memory.kv_tokens + engine.memory.host.tokens_max)
        running = self._running[index]
        while waiting and len(running) < engine.capacity.slots:
            call = waiting[0]
            need = call.step.prompt + call.step.output
            held = sum(running.values()) + sum(
                context * 0.5 ** ((now_s - left_s) / self.DECAY_S)
                for number, (left_s, context) in away.items()
                if number != call.program.number
            )
            if running and held + need > room:
                self._wake_s = min(self._wake_s, now_s + 1.0) if away else self._wake_s
                return
            del waiting[0]
            away.pop(call.program.number, None)
            running[call.program.number] = need
            self.fleet.submit(call, index, now_s, self._left_s(call.program))


def queue_length(fleet: Fleet, index: int) -> int:
    return fleet.engines[index].running + fleet.engines[index].waiting
