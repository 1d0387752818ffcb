"""The same programs on each arm, arm after arm, round after round; and what the model tells."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.real_arms import Through
from bench.real_forecast import Forecasts, Measured, Pace, between
from bench.real_load import Arm, Outcome, Program, Session, programs, run
from bench.report import Report
from orlop.abi.ids import EngineName

SEED = 20_261_121
BEFORE = 24
"""Programs that a kernel has seen before it is measured; the engine alone learns nothing."""

WorkS = Callable[[int, int], float]


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def mean_s(outcomes: Sequence[Outcome]) -> float:
    return statistics.fmean(took_s for outcome in outcomes for took_s in outcome.took_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """So many agents, arriving at so many times what the engine can do; 0: all at once."""

    agents: int
    load: float
    arms: tuple[str, ...] = ("shipped", "kernel")

    @property
    def title(self) -> str:
        at = f"{self.load:g} of capacity" if self.load else "all at once"
        return f"{self.agents} agents, {at}"


MIXES: Mapping[str, Mix] = {
    "beyond": Mix(agents=32, load=3.0),
    "knee": Mix(agents=32, load=1.6),
    "bare": Mix(agents=8, load=2.0, arms=("bare", "kernel")),
    "below": Mix(agents=16, load=0.5),
    "once": Mix(agents=32, load=0.0),
}
"""The knee is where the engine by itself makes jobs take three times as long as alone.  Without its
host cache it takes five times as long with 32 agents, so that arm is compared with eight."""


@dataclass(slots=True)
class Found:
    """Of one mix: what came of each arm's rounds, and how fast the engine was around each."""

    given: list[list[Program]]
    outcomes: dict[str, list[Outcome]]
    paces: dict[str, list[Measured]]


@dataclass(slots=True)
class Bench:
    """Arms to compare, with what they were measured to do."""

    report: Report
    arms: Mapping[str, Arm]
    sessions: Sequence[Session]
    pace: Pace
    work_s: WorkS
    rounds: int
    is_warm: bool = False
    _forecasts: Forecasts | None = field(default=None, init=False)

    @property
    def forecasts(self) -> Forecasts:
        if self._forecasts is None:
            kernel = self.arms["kernel"]
            assert isinstance(kernel, Through)
            engine = kernel.kernel.registry.engines[EngineName("local")]
            self._forecasts = Forecasts(engine.capacity())
        return self._forecasts

    async def warm(self) -> None:
        """Other programs through the kernel, so that it knows these kinds of agents."""
        given = programs(self.sessions, BEFORE, SEED - 1, self.work_s, 1.0)
        before = await self.pace.measure()
        outcome = await run(given, self.arms["kernel"], "before")
        self.forecasts.mean_s("kernel", given, outcome, before)
        self.is_warm = True

    async def mix(self, mix: Mix) -> None:
        if not self.is_warm:
            await self.warm()
        found = await self._run(mix)
        for name, outcomes in found.outcomes.items():
            self.report.add(f"{mix.title}: mean job time, {name}", mean_s(outcomes), "s")
        for name in mix.arms:
            if name != "kernel":
                self._compare(mix, name, found.outcomes[name], found.outcomes["kernel"])
        for name, outcomes in found.outcomes.items():
            read = sum(outcome.input_tokens for outcome in outcomes)
            cached = sum(outcome.cached_tokens for outcome in outcomes)
            self.report.add(f"{mix.title}: tokens found computed, {name}", cached / read, "share")
        told = self._forecast(mix, found)
        if "shipped" in told:
            self._bound(mix, found, told["shipped"])
            self._words(mix, found)

    async def _run(self, mix: Mix) -> Found:
        draws = range(self.rounds)
        given = [
            programs(self.sessions, mix.agents, SEED + n, self.work_s, mix.load) for n in draws
        ]
        found = Found(given, {name: [] for name in mix.arms}, {name: [] for name in mix.arms})
        before = await self.pace.measure()
        for number, programs_given in enumerate(given):
            # Each arm is first as often as last.
            for name in mix.arms if number % 2 == 0 else reversed(mix.arms):
                tag = f"{name}-{mix.agents}-{mix.load}-{number}"
                outcome = await run(programs_given, self.arms[name], tag)
                after = await self.pace.measure()
                found.outcomes[name].append(outcome)
                found.paces[name].append(between(before, after))
                before = after
        return found

    def _compare(
        self, mix: Mix, name: str, theirs: Sequence[Outcome], ours: Sequence[Outcome]
    ) -> None:
        pairs = list(zip(theirs, ours, strict=True))
        means = [statistics.fmean(off.took_s) / statistics.fmean(on.took_s) for off, on in pairs]
        tails = [percentile(off.took_s, 0.95) / percentile(on.took_s, 0.95) for off, on in pairs]
        goals = {"shipped": "≥ 1.4", "bare": "≥ 2.5"}
        goal = goals[name] if mix.load >= 1 and not (name == "shipped" and mix.agents < 12) else ""
        title, add = mix.title, self.report.add
        add(f"{title}: mean, {name} ÷ kernel", geometric(means), "ratio", goal)
        add(f"{title}: least of {self.rounds} rounds, {name}", min(means), "ratio")
        add(f"{title}: greatest of {self.rounds} rounds, {name}", max(means), "ratio")
        add(f"{title}: p95, {name} ÷ kernel", geometric(tails), "ratio", "≥ 1")

    def _forecast(self, mix: Mix, found: Found) -> Mapping[str, Sequence[float]]:
        """The engine model in virtual time, against what really ran."""
        told: dict[str, list[float]] = {}
        for name in mix.arms:
            runs = zip(found.given, found.outcomes[name], found.paces[name], strict=True)
            told[name] = [self.forecasts.mean_s(name, *one) for one in runs]
            ratios = [
                model_s / statistics.fmean(real.took_s)
                for model_s, real in zip(told[name], found.outcomes[name], strict=True)
            ]
            title = f"{mix.title}: simulated ÷ real, {name}"
            self.report.add(title, geometric(ratios), "ratio", "0.8 to 1.2")
        return told

    def _bound(self, mix: Mix, found: Found, told: Sequence[float]) -> None:
        """What nobody could pass."""
        runs = zip(found.given, found.outcomes["shipped"], found.paces["shipped"], strict=True)
        bounds = [
            model_s / self.forecasts.least_s(*one) for model_s, one in zip(told, runs, strict=True)
        ]
        title = f"{mix.title}: mean, shipped ÷ clairvoyant, simulated"
        self.report.add(title, geometric(bounds), "ratio")

    def _words(self, mix: Mix, found: Found) -> None:
        same = [
            one == other
            for off, on in zip(found.outcomes["shipped"], found.outcomes["kernel"], strict=True)
            for one, other in zip(off.texts, on.texts, strict=True)
        ]
        share = sum(same) / len(same)
        self.report.add(f"{mix.title}: programs with word-for-word equal answers", share, "share")
