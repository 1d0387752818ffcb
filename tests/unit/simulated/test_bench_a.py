"""Bench A's own parts: baselines serve everybody, and no scheduler passes the bound."""

import pytest
from bench.simulated.bounds import FleetBounds
from bench.simulated.measure import BASELINES, TUNED, Make, Work, knee, quantile, ratio, run
from bench.simulated.workloads import arriving, homogeneous

from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.operate.plan.kernel import KernelDispatcher
from orlop.operate.plan.replay import Fleet, Host, Replay
from orlop.operate.plan.tasks import Step, Task
from orlop.sched.config import SchedulerConfig

SPEED = Linear(decode_a_s=0.02, decode_c_s=6e-8, prefill_a_s=0.01, prefill_b_s=8e-5)
CAPACITY = Capacity(slots=64, kv_tokens=40_000, speed=SPEED, continues=True)
MAKES: list[tuple[str, Make]] = [
    *BASELINES.items(),
    *(
        (f"{name} {number}", make)
        for name, all_ in TUNED.items()
        for number, make in enumerate(all_)
    ),
    ("the kernel", lambda fleet, work: KernelDispatcher(fleet, SchedulerConfig())),
]


def mixed_sizes() -> list[Task]:
    tasks = []
    for number, (calls, context) in enumerate([(1, 900), (3, 4_000), (12, 6_000), (30, 3_000)]):
        steps, held = [], context
        for call in range(calls):
            prompt = held + 250
            gap_s = 4.0 if call else 0.0
            prefix = held if call else 0
            steps.append(Step(prompt=prompt, output=120, prefix=prefix, gap_s=gap_s))
            held = prompt + 120
        task = Task(name=f"t{number}", steps=tuple(steps), shared="system", shared_tokens=500)
        tasks.append(task)
    return tasks


@pytest.mark.parametrize(("name", "make"), MAKES, ids=[name for name, _ in MAKES])
@pytest.mark.parametrize("engines", [1, 3])
def test_everybody_is_served_and_nobody_passes_the_bound(
    name: str, make: Make, engines: int
) -> None:
    hosts = [Host(name=f"gpu{n}", capacity=CAPACITY) for n in range(engines)]
    work = Work(hosts)
    for seed in (1, 2):
        arrivals = arriving(mixed_sizes(), 60, 0.15 * engines, seed)
        fleet = Fleet.of(hosts)
        outcome = Replay(fleet, make(fleet, work), arrivals).run()
        assert len(outcome.ended) == 60, f"seed {seed}"
        assert outcome.calls == sum(len(arrival.task.steps) for arrival in arrivals)
        mean_s = sum(outcome.jobs_s) / 60
        assert mean_s >= 0.999 * work.bounds.least_mean_s(arrivals), f"seed {seed}"
        for program in outcome.programs:
            least_s = work.bounds.alone_s(program.task)
            assert program.ended_s - program.arrived_s >= 0.995 * least_s, f"seed {seed}"


def test_the_bound_is_at_least_the_time_alone_and_grows_with_the_load() -> None:
    bounds = FleetBounds([Host(name="gpu", capacity=CAPACITY)])
    tasks = mixed_sizes()
    calm, full = arriving(tasks, 80, 0.01, 3), arriving(tasks, 80, 5.0, 3)
    alone_s = sum(bounds.alone_s(arrival.task) for arrival in calm) / 80
    assert bounds.least_mean_s(calm) == pytest.approx(alone_s)
    assert bounds.least_mean_s(full) >= alone_s


def test_at_the_knee_the_mean_slowdown_is_three() -> None:
    hosts = [Host(name="gpu", capacity=CAPACITY)]
    work, tasks = Work(hosts), homogeneous()
    rate = knee(hosts, work, tasks, 60, (1, 2))
    found = [
        run(hosts, BASELINES["FCFS passthrough"], work, arriving(tasks, 60, rate, seed)).slowdown
        for seed in (1, 2)
    ]
    assert sum(found) / 2 == pytest.approx(3.0, rel=0.15)


def test_ratios_are_paired_and_quantiles_are_of_the_values() -> None:
    middle, least, most = ratio([2.0, 8.0], [1.0, 1.0])
    assert middle == pytest.approx(4.0)
    assert (least, most) == (2.0, 8.0)
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0], 0.95) == 1.0
