"""Who gives his seat back while he runs: for an interactive call, or at the end of his time slice.

Only where the engine `continues` what was stopped; a call is stopped for another one at most once.
"""

import math
from collections.abc import Callable, Sequence

from orlop.sched.config import SchedulerConfig
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom
from orlop.sched.work import Work


def _ignore(work: Work) -> None: ...


class Preemption:
    """`count`: calls that were asked to stop."""

    def __init__(self, config: SchedulerConfig, waiting: WaitingRoom) -> None:
        self.on_yield: Callable[[Work], None] = _ignore
        self.count = 0
        self._config = config
        self._waiting = waiting

    def ask(self, work: Work, stations: Sequence[Station], now_s: float) -> None:
        """An interactive call takes the seat of a lesser one, where that pays: see `preempt_s`."""
        if work.latency_class != "interactive" or self._config.preempt_s <= 0:
            return
        band = self._waiting.band(work.latency_class)
        for station in stations:
            if not station.capacity.continues or any(one.goes_on for one in station.yielding):
                continue
            left = {one: _left_s(one, now_s) for one in station.running}
            if not left or min(left.values()) <= self._config.preempt_s:
                continue  # A seat will be free before anything could be gained.
            lesser = [
                (one.goes_on, self._waiting.band(one.latency_class), left_s, one)
                for one, left_s in left.items()
                if self._waiting.band(one.latency_class) > band and one.preemptions == 0
            ]
            if lesser:
                self._stop(max(lesser, key=lambda found: found[:3])[3], station)
                return

    def slice_s(self, work: Work, station: Station) -> float:
        """When its time slice ends; never where the engine can't stop and go on."""
        if not station.capacity.continues or work in station.yielding:
            return math.inf
        return work.granted_s + self._config.slice_tokens * station.decode_s(0)

    def slice(self, station: Station, now_s: float) -> None:
        """Who has had his slice stops, while somebody waits."""
        if station.is_wanted:
            for work in tuple(station.running):
                if self.slice_s(work, station) <= now_s:
                    self._stop(work, station)

    def _stop(self, work: Work, station: Station) -> None:
        work.preemptions += 1
        station.yielding.add(work)
        self.count += 1
        self.on_yield(work)


def _left_s(work: Work, now_s: float) -> float:
    """What a running call still takes.  One that takes longer than estimated shares its engine, or
    was estimated wrongly: it is taken to need half as long again as it has had."""
    held_s = now_s - work.granted_s
    return max(work.isolated_s - held_s, held_s / 2)
