"""The same programs in virtual time: how far the engine model is from the engine.

What is replayed are the recorded arrivals, gaps and token counts of a real run; the engine model
has the capacity and the step times that the kernel has learned of the real engine meanwhile, and
the scheduler is the kernel's own code.
"""

import math
import statistics
from collections.abc import Callable, Sequence

from bench.real_load import Outcome, Program
from bench.simulated.baselines import ShortestRemaining
from bench.simulated.measure import Work
from orlop.devices.device import Capacity
from orlop.operate.plan.kernel import KernelDispatcher
from orlop.operate.plan.passthrough import Passthrough
from orlop.operate.plan.replay import Dispatcher, Fleet, Host, Replay
from orlop.operate.plan.tasks import Arrival, Step, Task
from orlop.sched.config import SchedulerConfig

FACTOR = 1.5
"""Of what the engine's memory holds, how much the clairvoyant lets on."""

Make = Callable[[Fleet], Dispatcher]


def kernel(fleet: Fleet) -> Dispatcher:
    return KernelDispatcher(fleet, SchedulerConfig())


def straight(fleet: Fleet) -> Dispatcher:
    return Passthrough(fleet)


def clairvoyant(fleet: Fleet) -> Dispatcher:
    """Knows what is left of each program, and serves the shortest first: the bound for anybody."""
    return ShortestRemaining(fleet, Work(fleet.hosts), FACTOR)


def mean_s(given: Sequence[Program], real: Outcome, capacity: Capacity, make: Make) -> float:
    """The mean job time that the model tells for what really ran."""
    arrivals = [
        Arrival(at_s=program.arrives_s, task=_task(number, program, real))
        for number, program in enumerate(given)
    ]
    fleet = Fleet.of([Host(name="local", capacity=capacity)])
    outcome = Replay(fleet, make(fleet), arrivals, parallel=0, until_s=math.inf).run()
    return statistics.fmean(outcome.jobs_s)


def _task(number: int, program: Program, real: Outcome) -> Task:
    steps, held = list[Step](), 0
    for (read, written), gap_s in zip(real.calls[number], program.gaps_s, strict=True):
        prefix = min(held, read - 1)
        steps.append(Step(prompt=read, output=max(1, written), prefix=prefix, gap_s=gap_s))
        held = read + written
    return Task(name=f"agent-{number}", steps=tuple(steps))
