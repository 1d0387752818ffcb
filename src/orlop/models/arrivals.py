"""How often a model is asked for, when it will be asked for next, and what its cold starts took.

Pure arithmetic on times that are handed in: nothing here reads a clock.
"""

import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.limits import COLD_STARTS_KEPT

HALF_LIFE_S: Final = 600.0
"""An arrival this long ago counts half: long enough to see a working day's lulls, not yesterday."""

KNOWN_S_MIN: Final = 60.0
"""One call a second ago is no rate of one call a second."""

GAPS_MIN: Final = 4
"""Gaps seen before anything is forecast."""

REGULAR: Final = 0.3
"""Arrivals are regular, and the next one can be foretold, where gaps deviate by less than this part
of their mean.  Poisson arrivals deviate by 0.74 of it: they foretell nothing."""

_MEAN_GAIN: Final = 1 / 8
_DEVIATION_GAIN: Final = 1 / 4
_PACE_GAIN: Final = 1 / 4
"""As TCP smooths its round trips (Jacobson, SIGCOMM 1988)."""


@dataclass(slots=True)
class Arrivals:
    """Calls for one model.  Calls closer together than a cold start are one burst: a model that
    is loaded for the first serves them all, so only gaps between bursts are worth a forecast."""

    weight: float = 0.0
    """Arrivals, each halved every `HALF_LIFE_S`."""
    first_s: float = math.inf
    last_s: float = -math.inf
    pace_s: float = 0.0
    """Smoothed gap between calls of one burst; 0 where there was none."""
    gaps: int = 0
    gap_s: float = 0.0
    """Smoothed, between bursts."""
    deviation_s: float = 0.0
    """Smoothed, of those gaps."""

    def note(self, now_s: float, burst_s: float) -> None:
        """A call for it has come.  burst_s: what its cold start takes."""
        gap_s = now_s - self.last_s
        self.first_s = min(self.first_s, now_s)
        self.weight = self._weight(now_s) + 1.0
        if math.isfinite(gap_s) and gap_s > burst_s:
            self._note_gap(gap_s)
        elif math.isfinite(gap_s):
            self.pace_s += _PACE_GAIN * (gap_s - self.pace_s)
        self.last_s = now_s

    def _note_gap(self, gap_s: float) -> None:
        if not self.gaps:
            self.gap_s, self.deviation_s = gap_s, gap_s / 2
        else:
            error_s = gap_s - self.gap_s
            self.gap_s += _MEAN_GAIN * error_s
            self.deviation_s += _DEVIATION_GAIN * (abs(error_s) - self.deviation_s)
        self.gaps += 1

    def rate(self, now_s: float) -> float:
        """Calls a second, of late; of a model that is new, over the time that it is known."""
        known_s = max(now_s - self.first_s, KNOWN_S_MIN)
        seen = -math.expm1(-math.log(2) * known_s / HALF_LIFE_S) if self.weight else 1.0
        return self._weight(now_s) * math.log(2) / HALF_LIFE_S / seen

    def next_s(self) -> float | None:
        """When the next burst will come, where that can be told."""
        if self.gaps < GAPS_MIN or self.deviation_s > REGULAR * self.gap_s:
            return None
        return self.last_s + self.gap_s

    def _weight(self, now_s: float) -> float:
        if not self.weight:
            return 0.0
        return self.weight * math.exp2(-max(0.0, now_s - self.last_s) / HALF_LIFE_S)


@dataclass(slots=True)
class ColdStarts:
    """What loading took, by where the model lay: measured, or not known."""

    seconds: dict[str, deque[float]] = field(default_factory=dict)

    def note(self, origin: str, seconds: float) -> None:
        kept = self.seconds.setdefault(origin, deque(maxlen=COLD_STARTS_KEPT))
        kept.append(seconds)

    def median_s(self, origin: str) -> float | None:
        """None: it has never been loaded from there."""
        kept = self.seconds.get(origin)
        return statistics.median(kept) if kept else None

    def count(self, origin: str) -> int:
        """How many of them the median is of."""
        return len(self.seconds.get(origin, ()))
