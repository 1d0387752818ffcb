"""How long a program stays away with a tool: learned online, one small histogram a tool.

Invariants: at most `TOOLS_KNOWN_MAX` tools are known, and a histogram has `BUCKETS` counters,
whatever is observed.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from orlop.abi.limits import TOOLS_KNOWN_MAX

FIRST_S: Final = 0.05
BUCKETS: Final = 40
"""Upper edges FIRST_S * 2^(i/2): from 50 ms to ten hours."""

EDGES: Final = tuple(FIRST_S * 2 ** (index / 2) for index in range(BUCKETS))

MIDDLE: Final = 0.84
"""Of a bucket, as a share of its upper edge: 2^(-1/4), since buckets are even in log time."""

FRESH: Final = 256.0
"""Observations after which all counts are halved, so that a tool may change its ways."""

PRIOR: Final = 8.0
"""Observations that the prior is worth."""

AFTER_TOOL: Final = (
    (0.5, 0.0), (3.0, 0.05), (9.0, 0.5), (10.0, 0.58), (19.0, 0.75), (30.0, 0.82), (60.0, 0.88),
    (71.0, 0.9), (152.0, 0.95), (611.0, 0.99), (3600.0, 1.0),
)  # fmt: skip
"""Seconds, and the share of gaps up to there: of 49,334 calls (docs/scheduling.md)."""

AFTER_TURN: Final = (
    (5.0, 0.0), (40.0, 0.25), (132.0, 0.5), (600.0, 0.75), (3600.0, 0.9), (36_000.0, 1.0),
)  # fmt: skip
"""The same when it is a human's turn; its median is measured, its tails are a guess."""


def _prior(points: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Counts of each bucket under a distribution function that is linear in log time."""

    def share(at_s: float) -> float:
        for (left_s, low), (right_s, high) in pairwise(points):
            if at_s <= left_s:
                return low
            if at_s < right_s:
                along = math.log(at_s / left_s) / math.log(right_s / left_s)
                return low + along * (high - low)
        return 1.0

    shares = [share(edge) for edge in EDGES]
    steps = [high - low for low, high in zip([0.0, *shares], shares, strict=False)]
    return tuple(PRIOR * one for one in steps)


PRIORS: Final = {False: _prior(AFTER_TURN), True: _prior(AFTER_TOOL)}


class Gap:
    """The distribution of one tool's gaps."""

    __slots__ = ("_counts", "_seen")

    def __init__(self, prior: Sequence[float]) -> None:
        self._counts = list(prior)
        self._seen = sum(prior)

    def observe(self, gap_s: float) -> None:
        index = 0 if gap_s <= FIRST_S else math.ceil(2 * math.log2(gap_s / FIRST_S))
        self._counts[min(index, BUCKETS - 1)] += 1.0
        self._seen += 1.0
        if self._seen > FRESH:
            self._counts = [count / 2 for count in self._counts]
            self._seen /= 2

    def expected_s(self, away_s: float = 0.0, limit_s: float = math.inf) -> float:
        """E[min(gap - away, limit) | gap > away]: how long the place would be held for nothing."""
        weight = total = 0.0
        for count, edge in zip(self._counts, EDGES, strict=True):
            middle_s = edge * MIDDLE
            if middle_s > away_s:
                weight += count
                total += count * min(middle_s - away_s, limit_s)
        return total / weight if weight > 0 else min(max(away_s, FIRST_S), limit_s)

    def returns(self, within_s: float, away_s: float = 0.0) -> float:
        """P(gap <= away + within | gap > away)."""
        weight = soon = 0.0
        for count, edge in zip(self._counts, EDGES, strict=True):
            middle_s = edge * MIDDLE
            if middle_s > away_s:
                weight += count
                if middle_s <= away_s + within_s:
                    soon += count
        return soon / weight if weight > 0 else 0.0


class Gaps:
    """Tools' gaps by name; the empty name is a human's turn.  The least recently used are lost."""

    def __init__(self, limit: int = TOOLS_KNOWN_MAX) -> None:
        self._limit = limit
        self._tools: OrderedDict[str, Gap] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tools)

    def of(self, tool: str) -> Gap:
        gap = self._tools.get(tool)
        if gap is None:
            gap = self._tools[tool] = Gap(PRIORS[bool(tool)])
            if len(self._tools) > self._limit:
                self._tools.popitem(last=False)
        else:
            self._tools.move_to_end(tool)
        return gap
