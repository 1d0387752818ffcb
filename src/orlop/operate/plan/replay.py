"""Virtual time: arrivals, gaps, engine models and whoever dispatches between them.

The loop goes from event to event; nothing in it knows a policy.  A `Dispatcher` is told when a
program wants a call served and when one has ended, and says to the fleet which engine runs what.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from orlop.devices.device import Capacity
from orlop.devices.model import STEP_TOKENS, EngineModel
from orlop.devices.model_calls import Ended, Job
from orlop.operate.plan.tasks import Arrival, Step, Task

EVENTS_MAX: Final = 20_000_000
"""A replay that has not ended by then never will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One engine of the fleet.  It serves tasks of tiers from `tier_min` up to `tier`."""

    name: str
    capacity: Capacity
    tier: int = 2
    tier_min: int = 0
    window_tokens: int = 2**53
    """The longest context that its model takes."""
    step_tokens: int = STEP_TOKENS
    """It computes in one step."""
    contexts_max: int | None = None
    """On its device at a time, however short, as in llama.cpp's slots; None: what has room."""

    def engine(self) -> EngineModel:
        return EngineModel(
            self.capacity, step_tokens=self.step_tokens, contexts_max=self.contexts_max
        )


@dataclass(eq=False, slots=True)
class Program:
    """One task while it runs."""

    number: int
    task: Task
    arrived_s: float
    ended_s: float = math.inf
    done: int = 0
    """Calls that have ended."""


@dataclass(eq=False, slots=True)
class Call:
    """One step of a program that wants to be served."""

    id: int
    program: Program
    step: Step
    entered_s: float
    generated: int = 0
    """By turns that were cut short."""
    engine: int = -1
    turn: int = 0
    """Its number on the engine, a new one each time that it is submitted."""
    first_token_s: float = -1.0


class Dispatcher(Protocol):
    """Who decides.  All methods are told the time; times never go back."""

    def enter(self, call: Call, now_s: float) -> None: ...

    def ended(self, call: Call, end: Ended, now_s: float) -> None: ...

    def program_ended(self, program: Program, now_s: float) -> None: ...

    def next_s(self) -> float:
        """When it wants to be woken; infinite for not at all."""
        ...

    def wake(self, now_s: float) -> None: ...


@dataclass(eq=False, slots=True)
class Fleet:
    """The engines, and the calls that are on them."""

    hosts: Sequence[Host]
    engines: list[EngineModel]
    on: dict[int, Call] = field(default_factory=dict)
    submitted: int = 0

    @classmethod
    def of(cls, hosts: Sequence[Host]) -> "Fleet":
        return cls(hosts, [host.engine() for host in hosts])

    def able(self, task: Task) -> list[int]:
        """Engines of its tier whose model and memory take its longest context."""
        return [
            index
            for index, host in enumerate(self.hosts)
            if host.tier_min <= task.tier <= host.tier
            and task.context_tokens_max <= host.window_tokens
            and self.engines[index].fits(task.context_tokens_max, 0)
        ]

    def eligible(self, task: Task) -> list[int]:
        """The same.  Raises `ValueError` if there is none."""
        found = self.able(task)
        if not found:
            raise ValueError(
                f"task {task.name}: no engine of tier {task.tier} holds its"
                f" {task.context_tokens_max} tokens"
            )
        return found

    def submit(
        self, call: Call, engine: int, now_s: float, urgency: float = 0.0, slice_tokens: int = 0
    ) -> None:
        """slice_tokens: of the output, as much now; 0: all."""
        task, step = call.program.task, call.step
        left = max(1, step.output - call.generated)
        prompt = step.prompt + call.generated
        self.submitted += 1
        call.engine, call.turn = engine, self.submitted
        self.on[call.turn] = call
        self.engines[engine].submit(
            Job(
                id=call.turn,
                chain=f"p{call.program.number}",
                prompt=prompt,
                output=min(left, slice_tokens) if slice_tokens else left,
                prefix=max(step.prefix if not call.generated else prompt, task.shared_tokens),
                shared=task.shared,
                shared_tokens=task.shared_tokens,
                urgency=urgency,
            ),
            now_s,
        )

    def cancel(self, call: Call, now_s: float) -> None:
        """Cut its turn short; what it has generated is kept."""
        call.generated += self.engines[call.engine].cancel(call.turn, now_s)
        del self.on[call.turn]


@dataclass(slots=True)
class Outcome:
    """What came of a replay."""

    fleet: Fleet
    programs: list[Program]
    waits_s: list[float] = field(default_factory=list)
    """From a call's entering to its first token."""
    calls: int = 0
    events: int = 0
    now_s: float = 0.0
    needed: int = 0
    """Prompt tokens that a cache without limits would have had to compute."""

    @property
    def ended(self) -> list[Program]:
        return [program for program in self.programs if program.ended_s < math.inf]

    @property
    def jobs_s(self) -> list[float]:
        """How long each ended program took, by its number."""
        return [program.ended_s - program.arrived_s for program in self.ended]

    @property
    def busy(self) -> float:
        """Share of the time that engines worked, the mean over them."""
        engines = self.fleet.engines
        return sum(e.count.busy_s for e in engines) / len(engines) / max(1e-9, self.now_s)

    @property
    def waste(self) -> float:
        """Prompt tokens computed, of those that had to be."""
        return sum(engine.count.prefilled for engine in self.fleet.engines) / max(1, self.needed)

    @property
    def hit_rate(self) -> float:
        """Of all prompt tokens, those found on the device or in host RAM."""
        counts = [engine.count for engine in self.fleet.engines]
        found = sum(count.cached + count.restored for count in counts)
        return found / max(1, sum(count.prompts for count in counts))


class Replay:
    """One run.  With `parallel`, so many tasks run at once and the next begins as one ends."""

    def __init__(
        self,
        fleet: Fleet,
        dispatcher: Dispatcher,
        arrivals: Sequence[Arrival],
        *,
        parallel: int = 0,
        until_s: float = math.inf,
    ) -> None:
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._queue = list(reversed(arrivals)) if parallel else []
        self._until_s = until_s
        self._numbers = 0
        self._calls = 0
        self._heap: list[tuple[float, int, Program | None, Task | None]] = []
        self._outcome = Outcome(fleet, [])
        self._left = len(arrivals)
        for arrival in [] if parallel else arrivals:
            self._schedule(arrival.at_s, None, arrival.task)
        for _ in range(min(parallel, len(self._queue))):
            self._schedule(0.0, None, self._queue.pop().task)

    def run(self) -> Outcome:
        """To the end of the last task, or to `until_s`.  Raises `RuntimeError` where all wait."""
        outcome, engines, dispatcher = self._outcome, self._fleet.engines, self._dispatcher
        heap = self._heap
        while self._left:
            now_s = min(
                heap[0][0] if heap else math.inf,
                dispatcher.next_s(),
                *(engine.next_s() for engine in engines),
            )
            outcome.events += 1
            if now_s == math.inf or outcome.events > EVENTS_MAX:
                raise RuntimeError(f"{self._left} tasks wait for ever at {outcome.now_s:g} s")
            if now_s > self._until_s:
                break
            outcome.now_s = max(outcome.now_s, now_s)
            for engine in engines:
                if engine.next_s() <= now_s:
                    for end in engine.advance(now_s):
                        self._call_ended(end, now_s)
            while heap and heap[0][0] <= now_s:
                _, _, program, task = heapq.heappop(heap)
                self._enter(program, task, now_s)
            if dispatcher.next_s() <= now_s:
                dispatcher.wake(now_s)
        return outcome

    def _schedule(self, at_s: float, program: Program | None, task: Task | None) -> None:
        self._numbers += 1
        heapq.heappush(self._heap, (at_s, self._numbers, program, task))

    def _enter(self, program: Program | None, task: Task | None, now_s: float) -> None:
        if program is None:
            assert task is not None
            program = Program(len(self._outcome.programs), task, now_s)
            self._outcome.programs.append(program)
        step = program.task.steps[program.done]
        self._calls += 1
        known = max(step.prefix, program.task.shared_tokens)
        self._outcome.needed += step.prompt - min(known, step.prompt - 1)
        self._dispatcher.enter(Call(self._calls, program, step, now_s), now_s)

    def _call_ended(self, end: Ended, now_s: float) -> None:
        call = self._fleet.on.pop(end.id, None)
        if call is None:
            return
        self._note_turn(call, end)
        left = call.step.output - call.generated
        if left > 0:
            self._dispatcher.ended(call, end, now_s)
            return
        outcome, program = self._outcome, call.program
        outcome.calls += 1
        outcome.waits_s.append(call.first_token_s - call.entered_s)
        program.done += 1
        if program.done < len(program.task.steps):
            self._schedule(now_s + program.task.steps[program.done].gap_s, program, None)
            self._dispatcher.ended(call, end, now_s)
            return
        program.ended_s = now_s
        self._left -= 1
        self._dispatcher.ended(call, end, now_s)
        self._dispatcher.program_ended(program, now_s)
        if self._queue:
            self._schedule(now_s, None, self._queue.pop().task)

    def _note_turn(self, call: Call, end: Ended) -> None:
        if call.first_token_s < 0:
            call.first_token_s = end.first_token_s
        call.generated += end.generated
