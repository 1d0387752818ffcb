"""A workload on a fleet under several policies: what a user wants to know before buying."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from orlop.abi.errors import Misconfigured
from orlop.machine.chance import SeededChance
from orlop.operate.plan.alone import alone_s
from orlop.operate.plan.fleet import Plan
from orlop.operate.plan.kernel import KernelDispatcher
from orlop.operate.plan.passthrough import Passthrough
from orlop.operate.plan.replay import Dispatcher, Fleet, Outcome, Replay
from orlop.operate.plan.tasks import Arrival
from orlop.sched.policy import POLICIES

PASSTHROUGH: Final = "passthrough"
WAITING_MAX: Final = 1_000_000
"""A plan refuses nobody: what waits too long shows in its times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One policy's outcome.  Times are seconds of the plan's virtual clock."""

    policy: str
    tasks: int
    calls: int
    jobs_s: tuple[float, ...]
    """Of every task, sorted."""
    mean_s: float
    p50_s: float
    p95_s: float
    first_token_s_p95: float
    slowdown_mean: float
    slowdown_max: float
    first_token_met: float
    """Share of the calls whose first token came in time."""
    slowdown_met: float
    """Of the tasks within their slowdown."""
    hours: float
    """From the first arrival to the last end."""
    busy: float
    hit_rate: float
    waste: float
    cost: float
    """Dollars for those hours of the whole fleet; 0 where no price is given."""


def policies() -> tuple[str, ...]:
    return (PASSTHROUGH, *POLICIES)


def drawn(arrivals: Sequence[Arrival], count: int, rate_hour: float, seed: int) -> list[Arrival]:
    """`count` of the trace's tasks at random, arriving at random `rate_hour` times an hour."""
    chance, at_s, found = SeededChance(seed), 0.0, []
    for _ in range(count):
        at_s -= math.log(1.0 - chance.uniform()) * 3600.0 / rate_hour
        task = arrivals[int(chance.uniform() * len(arrivals))].task
        found.append(Arrival(at_s=at_s, task=task))
    return found


def predict(plan: Plan, arrivals: Sequence[Arrival], policy: str) -> Prediction:
    """Raises `Misconfigured` where a task can run nowhere."""
    check(plan, arrivals)
    fleet = Fleet.of(plan.hosts)
    outcome = Replay(fleet, _dispatcher(fleet, plan, policy), arrivals).run()
    return _told(plan, outcome, policy)


def check(plan: Plan, arrivals: Sequence[Arrival]) -> None:
    """Whether every task has an engine that can hold it.  Raises `Misconfigured`."""
    lost = [arrival.task for arrival in misfits(plan, arrivals)]
    if lost:
        worst = max(lost, key=lambda task: task.context_tokens_max)
        raise Misconfigured(
            f"{len(lost)} of {len(arrivals)} tasks fit no engine of their tier, as {worst.name}:"
            f" tier {worst.tier}, {worst.context_tokens_max:,} tokens of context; give the fleet"
            " more memory or a longer window, or shorten contexts with --scale,"
            " or leave those tasks out with --leave-out"
        )


def misfits(plan: Plan, arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Those whose task no engine of the fleet can hold."""
    fleet = Fleet.of(plan.hosts)
    return [arrival for arrival in arrivals if not fleet.able(arrival.task)]


def _dispatcher(fleet: Fleet, plan: Plan, policy: str) -> Dispatcher:
    if policy == PASSTHROUGH:
        return Passthrough(fleet)
    for name in POLICIES:
        if name == policy:
            return KernelDispatcher(
                fleet, replace(plan.scheduler, policy=name, waiting_max=WAITING_MAX)
            )
    raise Misconfigured(f"no policy {policy!r}; there are: {', '.join(policies())}")


def _told(plan: Plan, outcome: Outcome, policy: str) -> Prediction:
    known: dict[str, float] = {}
    slow = []
    for program in outcome.ended:
        task = program.task
        if task.name not in known:
            able = {plan.hosts[index].capacity for index in outcome.fleet.able(task)}
            known[task.name] = min(alone_s(capacity, task) for capacity in able)
        slow.append((program.ended_s - program.arrived_s) / known[task.name])
    jobs_s = sorted(outcome.jobs_s)
    waits_s = sorted(outcome.waits_s)
    hours = outcome.now_s / 3600
    goals = plan.goals
    return Prediction(
        policy=policy,
        tasks=len(jobs_s),
        calls=outcome.calls,
        jobs_s=tuple(jobs_s),
        mean_s=statistics.fmean(jobs_s),
        p50_s=quantile(jobs_s, 0.5),
        p95_s=quantile(jobs_s, 0.95),
        first_token_s_p95=quantile(waits_s, 0.95),
        slowdown_mean=statistics.fmean(slow),
        slowdown_max=max(slow),
        first_token_met=_share(waits_s, goals.first_token_s),
        slowdown_met=_share(slow, goals.slowdown),
        hours=hours,
        busy=outcome.busy,
        hit_rate=outcome.hit_rate,
        waste=outcome.waste,
        cost=plan.price_hour * hours,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _share(values: Sequence[float], limit: float) -> float:
    return sum(value <= limit for value in values) / len(values)
