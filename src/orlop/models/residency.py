"""Which models lie where: what to load, what to let go, and when.  Pure functions of plain data.

A model is worth its place by the waiting that it spares, for each byte that it takes:
rate * cost of a cold start / bytes (Greedy-Dual-Size-Frequency, Cherkasova 1998; our rates fade by
themselves, which is that algorithm's ageing).  An idle one stays until holding it has cost as much
as loading it again would: whatever comes, that is at most twice what one who knew the future would
have paid (ski rental; Karlin, Manasse, Rudolph and Sleator 1988).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

GIB: Final = 1 << 30

IDLE_PACES: Final = 3.0
"""A burst is over when its next call is late by so many of its gaps."""

GRACE: Final = 1 / 8
"""Nor is it over before this part of a cold start: what is waited for so long may wait so much
longer, and the gaps of the first burst are not known yet."""


class State(StrEnum):
    """Where a model's weights lie, or on which way they are."""

    HOT = "hot"
    """On the device: a call is served at once."""
    ASLEEP = "asleep"
    """Its engine runs, and has given the device's memory back."""
    HOST = "host"
    """In the host's page cache: loading it reads no disk."""
    DISK = "disk"
    LOADING = "loading"
    LEAVING = "leaving"


TRANSITIONS: Final[Mapping[tuple[State, str], State]] = {
    (State.DISK, "load"): State.LOADING,
    (State.HOST, "load"): State.LOADING,
    (State.ASLEEP, "load"): State.LOADING,
    (State.LOADING, "loaded"): State.HOT,
    (State.LOADING, "failed"): State.DISK,
    (State.HOT, "leave"): State.LEAVING,
    (State.ASLEEP, "leave"): State.LEAVING,
    (State.LEAVING, "slept"): State.ASLEEP,
    (State.LEAVING, "unloaded"): State.DISK,
    (State.LEAVING, "failed"): State.HOT,
    # What is seen, and not done by us: engines fail, and have keepers of their own.
    (State.HOT, "lost"): State.DISK,
    (State.ASLEEP, "lost"): State.DISK,
    (State.HOT, "dozed"): State.ASLEEP,
    (State.DISK, "dozed"): State.ASLEEP,
    (State.HOST, "dozed"): State.ASLEEP,
    (State.DISK, "appeared"): State.HOT,
    (State.HOST, "appeared"): State.HOT,
    (State.ASLEEP, "appeared"): State.HOT,
    # The page cache comes and goes.
    (State.DISK, "warmed"): State.HOST,
    (State.HOST, "cooled"): State.DISK,
}

ON_DEVICE: Final = (State.HOT, State.LOADING, State.LEAVING)
"""Take the device's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What waiting and memory are worth."""

    patience_s: float = 2.0
    """Each second of a cold start beyond this counts twice."""
    memory_price: float = 0.0005
    """Seconds of waiting that a gibibyte, held for a second, is worth where nobody else wants it;
    0: an idle model stays for ever."""
    switch_after: float = 2.0
    """A model whose device others want serves for this many cold starts before it is drained."""
    forecast_lead: float = 1.5
    """Loading ahead of a foreseen call begins this many cold starts before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One model on one engine, as the policy sees it.  All times are of one monotonic clock."""

    key: str
    """Names it."""
    device: str
    """Whose memory it takes when hot."""
    state: State
    bytes: int
    """That it takes when hot, >= 0."""
    cold_s: float
    """What loading it takes from where it would lie, > 0: measured, else estimated."""
    rate: float = 0.0
    """Calls a second, of late."""
    pace_s: float = 0.0
    """Between calls of one burst; 0: not known."""
    next_s: float | None = None
    """When the next call will come, where that can be told."""
    running: int = 0
    waiting: int = 0
    """Calls that wait for it to be hot."""
    waiting_since_s: float = math.inf
    used_s: float = -math.inf
    """The last call's end, or its loading."""
    hot_since_s: float = -math.inf
    is_pinned: bool = False
    is_draining: bool = False
    """Takes no new calls until another model has had its turn."""

    @property
    def is_idle(self) -> bool:
        return self.state is State.HOT and not self.running and not self.waiting


@dataclass(frozen=True, slots=True)
class Load:
    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Give the device's memory back: asleep where that is possible, else unloaded."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Let no new call on until it is idle."""

    key: str
    why: str


Action = Load | Leave | Drain


def cost_s(cold_s: float, terms: Terms) -> float:
    """What one cold start costs, in seconds of waiting, with the penalty of a promise not kept."""
    return cold_s + max(0.0, cold_s - terms.patience_s)


def worth(standing: Standing, terms: Terms) -> float:
    """Seconds of waiting spared, each second and byte; what is worth least goes first."""
    return standing.rate * cost_s(standing.cold_s, terms) / max(1, standing.bytes)


def keep_alive_s(standing: Standing, price: float, terms: Terms) -> float:
    """How long an idle model stays.  price: of a byte held for a second, in seconds of waiting."""
    hold = standing.bytes * price
    return cost_s(standing.cold_s, terms) / hold if hold > 0 else math.inf


def price_of(device: str, models: Iterable[Standing], free_bytes: float, terms: Terms) -> float:
    """What a byte of `device` is worth a second: what the best model outside could make of it.

    A model that fits what is free competes for nothing.
    """
    outside = [
        worth(one, terms)
        for one in models
        if one.device == device and one.state not in ON_DEVICE and one.bytes > free_bytes
    ]
    return max(terms.memory_price / GIB, *outside, 0.0)


def free_bytes(
    device: str, models: Iterable[Standing], budgets: Mapping[str, int], *, soon: bool = False
) -> float:
    """Of `device`'s budget; infinite where it has none.  soon: when what leaves has left."""
    if device not in budgets:
        return math.inf
    taking = ON_DEVICE[:2] if soon else ON_DEVICE
    held = sum(one.bytes for one in models if one.device == device and one.state in taking)
    return budgets[device] - held


def plan(
    models: Sequence[Standing], budgets: Mapping[str, int], now_s: float, terms: Terms
) -> tuple[Action, ...]:
    """What to begin now: first for those who wait, then what idles too long, then the forecast.

    Applying it and asking again until nothing comes brings every waiting model to a device, if
    what holds its memory ever ends: a busy one is drained once it has had its turn.
    """
    planner = _Planner(models, budgets, now_s, terms)
    waiting = [one for one in models if one.waiting and one.state not in ON_DEVICE]
    blocked: set[str] = set()
    for one in sorted(waiting, key=lambda one: (one.waiting_since_s, one.key)):
        # A large model would wait for ever if small ones that came later took what is freed.
        if one.device in blocked:
            continue
        if not planner.bring(one, "calls wait for it", others=planner.for_waiting(one)):
            blocked.add(one.device)
    planner.let_idle_go()
    for one in models:
        if planner.is_due(one) and one.device not in blocked:
            planner.bring(one, "a call is foreseen", others=planner.worth_less(one))
    return tuple(planner.actions)


def room_s(
    one: Standing,
    models: Sequence[Standing],
    budgets: Mapping[str, int],
    now_s: float,
    terms: Terms,
) -> float:
    """What it costs to make room for `one`: the cold starts of those that would leave.  Only those
    that idle; infinite where they are not enough."""
    return _Planner(models, budgets, now_s, terms).room_s(one)


class _Planner:
    """One look: what it has decided counts for what it decides next."""

    def __init__(
        self,
        models: Sequence[Standing],
        budgets: Mapping[str, int],
        now_s: float,
        terms: Terms,
    ) -> None:
        self._models = models
        self._now_s = now_s
        self._terms = terms
        self._free = {device: free_bytes(device, models, budgets) for device in _devices(models)}
        self._leaving = {
            device: free_bytes(device, models, budgets, soon=True) - free
            if math.isfinite(free)
            else 0.0
            for device, free in self._free.items()
        }
        self._gone: set[str] = set()
        self.actions: list[Action] = []

    def bring(self, one: Standing, why: str, others: Callable[[], Sequence[Standing]]) -> bool:
        """Load `one` if there is room; if there is none, begin to make it of `others`."""
        lacking = one.bytes - self._free[one.device]
        if lacking <= 0:
            self._free[one.device] -= one.bytes
            self.actions.append(Load(one.key, why))
            return True
        # What leaves already will be free: if it is enough, there is only waiting to do.
        lacking -= self._leaving[one.device]
        if lacking > 0:
            for victim in fewest(others(), lacking):
                self._make(victim, f"{one.key} needs its memory")
        return False

    def room_s(self, one: Standing) -> float:
        """See `room_s`."""
        lacking = one.bytes - self._free[one.device] - self._leaving[one.device]
        if lacking <= 0:
            return 0.0
        leaving = fewest(self._idle(one.device), lacking)
        return sum(cost_s(other.cold_s, self._terms) for other in leaving) if leaving else math.inf

    def _make(self, victim: Standing, why: str) -> None:
        if victim.running:
            self.actions.append(Drain(victim.key, why))
        else:
            self.actions.append(Leave(victim.key, why))
        self._gone.add(victim.key)

    def _idle(self, device: str) -> list[Standing]:
        found = [
            one
            for one in self._models
            if one.device == device
            and one.state is State.HOT
            and (self._is_over(one) or (one.is_draining and not one.running))
            and not one.is_pinned
            and one.key not in self._gone
        ]
        return sorted(
            found, key=lambda one: (not one.is_draining, worth(one, self._terms), one.key)
        )

    def _is_over(self, one: Standing) -> bool:
        """Whether it idles for longer than calls of one burst are apart: those of a caller who
        asks again at once would else find the model gone each time."""
        pause_s = min(IDLE_PACES * one.pace_s, one.cold_s / 2)
        return one.is_idle and self._now_s - one.used_s >= max(pause_s, one.cold_s * GRACE)

    def for_waiting(self, one: Standing) -> Callable[[], Sequence[Standing]]:
        """Those that idle; then, where that is not enough, those that had their turn."""

        def others() -> Sequence[Standing]:
            idle = self._idle(one.device)
            busy = [
                other
                for other in self._models
                if other.device == one.device
                and other.state is State.HOT
                and not other.is_pinned
                and other not in idle
                and other.key not in self._gone
                and self._had_its_turn(other, one)
            ]
            busy.sort(key=lambda other: (worth(other, self._terms), other.key))
            return [*idle, *busy]

        return others

    def _had_its_turn(self, busy: Standing, one: Standing) -> bool:
        """Switching may take no more time than serving does, and nobody waits for ever."""
        turn_s = self._terms.switch_after * max(busy.cold_s, one.cold_s)
        return self._now_s - busy.hot_since_s >= turn_s

    def worth_less(self, one: Standing) -> Callable[[], Sequence[Standing]]:
        """Idle ones that may make room for a model that nobody asks for yet."""

        def others() -> Sequence[Standing]:
            mine = worth(one, self._terms)
            return [other for other in self._idle(one.device) if worth(other, self._terms) < mine]

        return others

    def is_due(self, one: Standing) -> bool:
        """Whether a call is foreseen so soon that loading should begin."""
        if one.next_s is None or one.waiting or one.state in ON_DEVICE:
            return False
        lead_s = self._terms.forecast_lead * one.cold_s
        # A call that has not come one lead after its time was foreseen wrongly.
        return one.next_s - lead_s <= self._now_s <= one.next_s + lead_s

    def let_idle_go(self) -> None:
        for one in self._models:
            if not one.is_idle or one.is_pinned or one.key in self._gone:
                continue
            price = price_of(one.device, self._models, self._free[one.device], self._terms)
            stays_s = keep_alive_s(one, price, self._terms)
            if one.next_s is not None and 0 <= one.next_s - self._now_s < stays_s:
                continue  # It pays to hold it until the call that is foreseen.
            if self._now_s - one.used_s > stays_s:
                self._make(one, f"idle for more than {stays_s:.0f} s")


def fewest(candidates: Sequence[Standing], lacking: float) -> Sequence[Standing]:
    """Enough of `candidates`, the first ones first, to free `lacking` bytes; none if all are not
    enough.  What turns out not to be needed stays."""
    chosen: list[Standing] = []
    freed = 0
    for one in candidates:
        if freed >= lacking:
            break
        chosen.append(one)
        freed += one.bytes
    if freed < lacking:
        return []
    for one in reversed(chosen[:]):
        if freed - one.bytes >= lacking:
            chosen.remove(one)
            freed -= one.bytes
    return chosen


def _devices(models: Iterable[Standing]) -> set[str]:
    return {one.device for one in models}
