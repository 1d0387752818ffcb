"""What does a scheduling decision cost with 10,000 programs alive?

One engine with a host tier and a full queue, in virtual time; programs come back from their tools,
wait, run and leave again.  An event is a call that enters or leaves, or a timer; each makes as many
decisions as it can.
"""

import random
import time
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count

from bench.report import Report, begin, finish, flags
from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.sched.policy import POLICIES, PolicyName
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Grant, Used, Work

SPEED = Linear(decode_a_s=0.019, decode_b_s=3e-5, decode_c_s=6e-8, prefill_b_s=8e-5)
CAPACITY = Capacity(
    slots=64,
    kv_tokens=2_000_000,
    host_tokens=20_000_000,
    kv_bytes_per_token=262_144,
    restore_bytes_s=25e9,
    speed=SPEED,
)


class Crowd:
    """So many programs, each with its own context and its own gaps; who waits waits for ever."""

    def __init__(self, config: SchedulerConfig, programs: int, tenants: int, seed: int) -> None:
        self.scheduler = Scheduler(config)
        self.scheduler.attach("engine", CAPACITY)
        self.scheduler.on_grant = self._granted
        self.events_s: list[float] = []
        self.now_s = 0.0
        self.programs = programs
        self._chance = random.Random(seed)
        self._tenants = tenants
        self._heap: list[tuple[float, int, Work | int]] = []
        self._numbers = count()
        self._tokens = [self._chance.randint(2_000, 60_000) for _ in range(programs)]
        for number in range(programs):
            self._later(self._chance.uniform(0, 60), number)

    def run(self, events: int) -> list[float]:
        """Seconds of each event."""
        took: list[float] = []
        while len(took) < events:
            at_s, _, what = heappop(self._heap)
            next_s = self.scheduler.next_s()
            if next_s < at_s:
                heappush(self._heap, (at_s, next(self._numbers), what))
                self.now_s = max(self.now_s, next_s)
                began_s = time.thread_time()
                self.scheduler.wake(self.now_s)
            else:
                self.now_s = at_s
                began_s = self._event(what)
            took.append(time.thread_time() - began_s)
        return took

    def _event(self, what: Work | int) -> float:
        if isinstance(what, Work):
            number = int(what.process)
            self._tokens[number] = min(90_000, self._tokens[number] + 700)
            used = Used(
                input_tokens=what.input_tokens,
                cached_tokens=what.input_tokens - 700,
                output_tokens=200,
                tool="bash",
            )
            began_s = time.thread_time()
            self.scheduler.leave(what, self.now_s, used)
            self._later(self._chance.expovariate(1 / 30), number)
            return began_s
        work = Work(
            process=ProcessId(str(what)),
            candidates=("engine",),
            arrived_s=self.now_s,
            latency_class=self._chance.choice(("interactive", "standard", "batch")),
            tenant=str(what % self._tenants),
            agent=f"agent {what % 50}",
            input_tokens=self._tokens[what],
            output_tokens=200,
        )
        began_s = time.thread_time()
        self.scheduler.enter(work, self.now_s)
        return began_s

    def _granted(self, work: Work, grant: Grant) -> None:
        self._later(self._chance.expovariate(1 / 4), work)

    def _later(self, delay_s: float, what: Work | int) -> None:
        heappush(self._heap, (self.now_s + delay_s, next(self._numbers), what))


def alone(policy: PolicyName, calls: int) -> float:
    """Microseconds of a call on a free engine: enter and leave."""
    scheduler = Scheduler(SchedulerConfig(policy=policy))
    scheduler.attach("engine", Capacity(slots=8))
    used = Used(input_tokens=1_000, output_tokens=100)
    works = [
        Work(
            process=ProcessId(str(number % 64)),
            candidates=("engine",),
            arrived_s=float(number),
            input_tokens=1_000,
            output_tokens=100,
        )
        for number in range(calls)
    ]
    began_s = time.thread_time()
    for number, work in enumerate(works):
        scheduler.enter(work, float(number))
        scheduler.leave(work, number + 0.5, used)
    return (time.thread_time() - began_s) / calls * 1e6


def measure(report: Report, quick: bool) -> None:
    rounds, events = (1, 4_000) if quick else (5, 20_000)
    for programs in (100, 10_000):
        policies: Sequence[PolicyName] = tuple(POLICIES) if programs == 10_000 else ("programs",)
        for policy in policies:
            means, tails = [], []
            for seed in range(rounds):
                crowd = Crowd(
                    SchedulerConfig(policy=policy, waiting_max=programs), programs, 20, seed
                )
                crowd.run(programs)
                took = sorted(crowd.run(events))
                means.append(sum(took) / events * 1e6)
                tails.append(took[int(0.99 * events)] * 1e6)
            goal = "≤ 100" if programs == 10_000 else ""
            report.median(f"{policy}, {programs:,} programs, an event", means, "µs", goal)
            if policy == "programs":
                report.median(f"{policy}, {programs:,} programs, p99", tails, "µs")
    report.median(
        "a call on a free engine", [alone("programs", events) for _ in range(rounds)], "µs"
    )


def main() -> None:
    assert __doc__
    given = flags(__doc__)
    report = begin(__doc__.splitlines()[0], "less than 100 µs an event, 20 µs on a free engine")
    measure(report, given.quick)
    finish(report, given.json)


if __name__ == "__main__":
    main()
