"""The same programs in virtual time: how far the engine model is from the engine.

What is replayed are the recorded arrivals, gaps and token counts of a real run.  The engine model
has the step times that were measured right before and right after that run, since a machine's pace
moves by a third within an hour; the scheduler is the kernel's own code.
"""

import asyncio
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from bench.real_arms import SLOTS, Straight
from bench.real_load import Answer, Outcome, Program, call_of
from bench.simulated.baselines import ShortestRemaining
from bench.simulated.measure import Work
from orlop.abi.messages import Message
from orlop.devices.device import Capacity
from orlop.devices.llamacpp_host import PIECE_TOKENS
from orlop.devices.speed import Linear
from orlop.operate.plan.kernel import KernelDispatcher
from orlop.operate.plan.passthrough import Passthrough
from orlop.operate.plan.replay import Dispatcher, Fleet, Host, Replay
from orlop.operate.plan.tasks import Arrival, Step, Task
from orlop.sched.config import SchedulerConfig
from orlop.sched.history import History

FACTOR = 1.5
"""Of what the engine's memory holds, how much the clairvoyant lets on."""

FEW, MANY = 12, 60
"""Times ten words, about a token each: two prompts whose difference is what a token takes."""
WRITES = 24
WORDS = "one two three four five six seven eight nine ten "

Make = Callable[[Fleet], Dispatcher]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How fast the engine was."""

    speed: Linear
    call_s: float
    """What a call takes beside its tokens: the way there and back."""


class Pace:
    """How fast the engine is just now, measured by calls straight to it while nothing else runs."""

    def __init__(self, arm: Straight) -> None:
        self._arm = arm
        self._asked = 0

    async def measure(self) -> Measured:
        few, many = await self._read(FEW), await self._read(MANY)
        one_s = await self._write(1)
        all_s = await self._write(SLOTS)
        new = _new(many) - _new(few)
        each_s = max(1e-5, (many.total_s - few.total_s) / max(1, new))
        beside_s = max(0.0, (all_s - one_s) / (SLOTS - 1))
        speed = Linear(
            decode_a_s=max(1e-4, one_s - beside_s), decode_b_s=beside_s, prefill_b_s=each_s
        )
        return Measured(speed=speed, call_s=max(0.0, few.total_s - _new(few) * each_s))

    async def _read(self, times: int) -> Answer:
        self._asked += 1
        prompt = [Message("user", f"[pace {self._asked}] {WORDS * times}")]
        return await self._arm.ask("pace", call_of(prompt, 1))

    async def _write(self, calls: int) -> float:
        """Seconds between tokens, so many calls at once."""
        self._asked += 1
        prompts = [f"[pace {self._asked}.{n}] Tell me a story." for n in range(calls)]
        answers = await asyncio.gather(
            *(self._arm.ask("pace", call_of([Message("user", one)], WRITES)) for one in prompts)
        )
        # Who began first waited for the others' prompts: who began last did not.
        last = min(answers, key=lambda one: one.total_s - one.first_s)
        return (last.total_s - last.first_s) / max(1, last.output_tokens - 1)


def _new(answer: Answer) -> int:
    return answer.input_tokens - answer.cached_tokens


def between(before: Measured, after: Measured) -> Measured:
    """Half of each."""

    def half(one: float, other: float) -> float:
        return (one + other) / 2

    one, other = before.speed, after.speed
    speed = Linear(
        decode_a_s=half(one.decode_a_s, other.decode_a_s),
        decode_b_s=half(one.decode_b_s, other.decode_b_s),
        prefill_b_s=half(one.prefill_b_s, other.prefill_b_s),
    )
    return Measured(speed=speed, call_s=half(before.call_s, after.call_s))


@dataclass(slots=True)
class Forecasts:
    """Of one kernel and its engine, run by run.

    capacity: as the kernel has it.  What its scheduler has learned of earlier runs is kept.
    """

    capacity: Capacity
    history: History = field(default_factory=History)

    def mean_s(self, arm: str, given: Sequence[Program], real: Outcome, pace: Measured) -> float:
        """The mean job time that the model tells for what really ran on that arm."""
        host_tokens = 0 if arm == "bare" else self.capacity.host_tokens
        make = self._kernel if arm == "kernel" else _straight
        return statistics.fmean(self._replay(given, real, pace, make, host_tokens, SLOTS))

    def least_s(self, given: Sequence[Program], real: Outcome, pace: Measured) -> float:
        """Of who knows what is left of each program, and serves the shortest first: the best of so
        many at once."""
        tokens = self.capacity.host_tokens
        return min(
            statistics.fmean(self._replay(given, real, pace, _clairvoyant, tokens, seats))
            for seats in range(1, SLOTS + 1)
        )

    def _kernel(self, fleet: Fleet) -> Dispatcher:
        return KernelDispatcher(fleet, SchedulerConfig(), self.history)

    def _replay(
        self,
        given: Sequence[Program],
        real: Outcome,
        pace: Measured,
        make: Make,
        host_tokens: int,
        seats: int,
    ) -> list[float]:
        arrivals = [
            Arrival(at_s=program.arrives_s, task=_task(number, program, real, pace))
            for number, program in enumerate(given)
        ]
        host = Host(
            name="local",
            capacity=replace(self.capacity, speed=pace.speed, host_tokens=host_tokens, slots=seats),
            step_tokens=PIECE_TOKENS,
            contexts_max=SLOTS,
        )
        fleet = Fleet.of([host])
        return Replay(fleet, make(fleet), arrivals, parallel=0, until_s=math.inf).run().jobs_s


def _straight(fleet: Fleet) -> Dispatcher:
    return Passthrough(fleet)


def _clairvoyant(fleet: Fleet) -> Dispatcher:
    return ShortestRemaining(fleet, Work(fleet.hosts), FACTOR)


def _task(number: int, program: Program, real: Outcome, pace: Measured) -> Task:
    steps, held = list[Step](), 0
    for (read, written), gap_s in zip(real.calls[number], program.gaps_s, strict=True):
        prefix = min(held, read - 1)
        # The engine has nothing of a call while it is on its way.
        away_s = gap_s + pace.call_s
        steps.append(Step(prompt=read, output=max(1, written), prefix=prefix, gap_s=away_s))
        held = read + written
    return Task(name=f"agent-{number}", steps=tuple(steps), kind=program.kind)
