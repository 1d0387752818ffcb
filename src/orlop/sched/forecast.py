"""When a call would be answered if it came now, and whether it may come at all.

Times are learned from calls: of engines that have served few, nothing is promised and nobody is
refused.
"""

from typing import Final

from orlop.abi.errors import Exhausted
from orlop.abi.hints import LatencyClass
from orlop.sched import placement
from orlop.sched.config import SchedulerConfig
from orlop.sched.line import Pool
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom
from orlop.sched.work import Work

EVIDENCE: Final = 8
"""Calls that an engine has served before its pace is held against a deadline."""


class Forecasts:
    """`refused`: calls that could not wait, or not have been in time."""

    def __init__(
        self, config: SchedulerConfig, waiting: WaitingRoom, stations: dict[str, Station]
    ) -> None:
        self.config = config
        self.waiting = waiting
        self.stations = stations
        self.refused = 0

    def of(self, work: Work) -> tuple[float, float] | None:
        """Seconds to the first token if it came now, and of each token; None: not known yet."""
        pool = self.waiting.pool(work.candidates)
        stations, ahead = self.waiting.stations(pool), self.waiting.ahead(work.latency_class, pool)
        if not all(station.counts.calls >= EVIDENCE for station in stations):
            return None
        found = list[tuple[float, float]]()
        for station in stations:
            first_s, token_s = station.forecast_s(work.input_tokens, work.tokens)
            found.append((placement.wait_s(station, ahead) + first_s, token_s))
        return min(found, key=lambda one: one[0] + work.output_tokens * one[1])

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
        ahead = self.waiting.ahead(work.latency_class, pool)
        wait_s = min(placement.wait_s(station, ahead) for station in stations) / len(stations)
        if pool.waiting >= self.config.waiting_max:
            self.refused += 1
            raise Exhausted(
                f"{pool.waiting} calls wait for {names} already (waiting_max)",
                retry_after_s=max(1.0, wait_s),
            )
        first_s = wait_s + min(one.isolated_s(work.input_tokens, 0, 0) for one in stations)
        left_s = work.deadline_s - now_s
        known = all(station.counts.calls >= EVIDENCE for station in stations)
        if work.is_hard and known and first_s > left_s:
            self.refused += 1
            raise Exhausted(
                f"its first token would come in {first_s:.1f} s, after its deadline of "
                f"{left_s:.1f} s: {ahead} calls wait before it for {names}",
                retry_after_s=max(1.0, first_s - left_s),
            )

    def _require_time(self, work: Work, now_s: float) -> None:
        """Raises `Exhausted` where its first token could come in time, and its last one can't."""
        found, left_s = self.of(work), work.deadline_s - now_s
        if found is None:
            return
        first_s, token_s = found
        last_s = first_s + work.least_tokens * token_s
        if first_s <= left_s < last_s:
            self.refused += 1
            raise Exhausted(
                f"an answer of {work.least_tokens} tokens would end in {last_s:.1f} s, after its "
                f"deadline of {left_s:.1f} s",
                retry_after_s=max(1.0, first_s),
            )
