"""When a call would be answered if it came now, and whether it may come at all.

Times are learned from calls: of engines that have served few, nothing is promised and nobody is
refused.
"""

from typing import Final

from msgspec import Struct

from orlop.abi.errors import Exhausted, TooLittleTime
from orlop.abi.hints import LatencyClass
from orlop.sched import placement
from orlop.sched.config import SchedulerConfig
from orlop.sched.line import Pool
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom
from orlop.sched.work import Work

CALL_S_MIN: Final = 1e-6
"""A call takes so long at least; calls of a fake engine may take no time at all."""

EVIDENCE: Final = 8
"""Calls that an engine has served before its pace is held against a deadline."""


def seat_s(station: Station, ahead: int, now_s: float) -> float:
    """Seconds until a seat is free for who has `ahead` calls before him there.

    A call whose caller has said how long its answer will be ends when that is written; the others,
    and those that come after, end as calls there do, one or another at any time.  So of many that
    came at once none is promised a seat before the first of them can end.
    """
    gate = station.gate
    turn = ahead - (gate.seats - gate.running) + 1
    if turn <= 0:
        return 0.0
    ends_s = sorted(
        max(0.0, work.granted_s + work.output_tokens * station.token_s - now_s)
        for work in station.running
        if station.token_s and work.output_tokens and work.least_tokens == work.output_tokens
    )
    passed_s, ended = 0.0, 0.0
    each_s = max(station.call_s, CALL_S_MIN)
    rate = max(0, gate.seats - len(ends_s)) / each_s
    for end_s in ends_s:
        if ended + rate * (end_s - passed_s) >= turn:
            break
        ended += rate * (end_s - passed_s) + 1
        passed_s, rate = end_s, rate + 1 / each_s
    return passed_s + max(0.0, turn - ended) / rate


class Forecast(Struct, frozen=True):
    """All in seconds.  `token_s`: between two tokens of the answer."""

    wait_s: float
    prompt_s: float
    token_s: float

    @property
    def first_s(self) -> float:
        return self.wait_s + self.prompt_s

    def last_s(self, tokens: int) -> float:
        return self.first_s + tokens * self.token_s

    def too_late(self, why: str, tokens: int, left_s: float) -> Exhausted:
        """Of an answer that would end after `left_s`: when to come back, where that helps."""
        if self.last_s(tokens) - self.wait_s > left_s:
            return TooLittleTime(f"{why}; an idle engine would be too late, too")
        return Exhausted(why, retry_after_s=max(1.0, self.wait_s))


class Forecasts:
    """`refused`: calls that could not wait, or not have been in time."""

    def __init__(
        self, config: SchedulerConfig, waiting: WaitingRoom, stations: dict[str, Station]
    ) -> None:
        self.config = config
        self.waiting = waiting
        self.stations = stations
        self.refused = 0

    def of(self, work: Work) -> Forecast | None:
        """If it came now; None: not known yet."""
        pool = self.waiting.pool(work.candidates)
        stations, ahead = self.waiting.stations(pool), self.waiting.ahead(work.latency_class, pool)
        if not all(station.counts.calls >= EVIDENCE for station in stations):
            return None
        found = list[Forecast]()
        for station in stations:
            prompt_s, token_s = station.forecast_s(work.input_tokens, work.tokens)
            found.append(Forecast(seat_s(station, ahead, work.arrived_s), prompt_s, token_s))
        return min(found, key=lambda one: one.last_s(work.output_tokens))

    def wait_s(self, name: str, latency_class: LatencyClass) -> float:
        """Until a call that came now would have a seat there, as far as calls have shown; 0 where
        they have not."""
        station = self.stations.get(name)
        if station is None or station.counts.calls < EVIDENCE:
            return 0.0
        ahead = sum(self.waiting.ahead(latency_class, pool) for pool in station.pools)
        return placement.wait_s(station, ahead)

    def require_place(self, work: Work, pool: Pool, now_s: float) -> None:
        """Raises `Exhausted` where it can't wait, or would wait for longer than it may."""
        if work.preemptions:
            return  # It was let on once already.
        if work.is_hard and work.least_tokens:
            self._require_time(work, now_s)
        if not pool.waiting:
            return
        names, stations = ", ".join(pool.engines), self.waiting.stations(pool)
        is_full = pool.waiting >= self.config.waiting_max
        known = all(station.counts.calls >= EVIDENCE for station in stations)
        if not is_full and not (work.is_hard and known):
            return
        ahead = self.waiting.ahead(work.latency_class, pool)
        wait_s = min(seat_s(station, ahead, now_s) for station in stations) / len(stations)
        if is_full:
            self.refused += 1
            raise Exhausted(
                f"{pool.waiting} calls wait for {names} already (waiting_max)",
                retry_after_s=max(1.0, wait_s),
            )
        prompt_s = min(one.isolated_s(work.input_tokens, 0, 0) for one in stations)
        first_s, left_s = wait_s + prompt_s, work.deadline_s - now_s
        if first_s > left_s:
            self.refused += 1
            why = (
                f"its first token would come in {first_s:.1f} s, after its deadline of "
                f"{left_s:.1f} s: {ahead} calls wait before it for {names}"
            )
            raise Forecast(wait_s, prompt_s, 0.0).too_late(why, 0, left_s)

    def _require_time(self, work: Work, now_s: float) -> None:
        """Raises `Exhausted` where its first token could come in time, and its last one can't."""
        found, left_s = self.of(work), work.deadline_s - now_s
        if found is None:
            return
        last_s = found.last_s(work.least_tokens)
        if found.first_s <= left_s < last_s:
            self.refused += 1
            why = (
                f"an answer of {work.least_tokens} tokens would end in {last_s:.1f} s, after its "
                f"deadline of {left_s:.1f} s"
            )
            raise found.too_late(why, work.least_tokens, left_s)
