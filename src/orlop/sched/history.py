"""How much work a kind of program takes, from those that have ended; and how far to trust it.

A forecast that ranks programs well lets the shortest go first; one that does not is worse than
none.  So each forecast made at a program's start is kept until its end and compared: Kendall's tau
of the two orders says how much it counts (`quality`).
"""

import math
from bisect import bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final

from orlop.abi.limits import AGENTS_KNOWN_MAX

KEPT: Final = 64
"""Totals a kind, and forecasts, that are remembered."""

ALIKE: Final = 4
"""Programs of a kind that began alike below which what is known of the whole kind says more."""

JUDGED: Final = 12
"""Forecasts below which their quality is taken to be none."""


def tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's tau-b of the two orders, -1 to 1; 0 where one of them has no order at all."""
    agree = ties_left = ties_right = counted = 0
    for index, (left, right) in enumerate(pairs):
        for other_left, other_right in pairs[:index]:
            a, b = left - other_left, right - other_right
            counted += 1
            if a == 0:
                ties_left += 1
            if b == 0:
                ties_right += 1
            if a and b:
                agree += 1 if (a > 0) == (b > 0) else -1
    scale = float((counted - ties_left) * (counted - ties_right)) ** 0.5
    return agree / scale if scale else 0.0


class Totals:
    """Engine seconds that programs of one kind took in all."""

    __slots__ = ("_recent", "_sorted")

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, total_s: float) -> None:
        insort(self._sorted, total_s)
        self._recent.append(total_s)
        if len(self._recent) > KEPT:
            oldest = self._recent.popleft()
            del self._sorted[bisect_right(self._sorted, oldest) - 1]

    def remaining_s(self, attained_s: float) -> float:
        """E[total - attained | total > attained]; of one that outlives all, as much again."""
        longer = self._sorted[bisect_right(self._sorted, attained_s) :]
        if not longer:
            return max(attained_s, self._sorted[-1])
        return sum(longer) / len(longer) - attained_s

    def price_s(self, attained_s: float) -> float:
        """Engine seconds for one more end among programs that have had so much: each is served
        until it ends or has had as much as is best (the inverse of Gittins' index); of one that
        outlives all, as much again."""
        longer = self._sorted[bisect_right(self._sorted, attained_s) :]
        if not longer:
            return max(attained_s, self._sorted[-1])
        least_s, ended_s, left = math.inf, 0.0, len(longer)
        for ended, total_s in enumerate(longer, 1):
            had_s = total_s - attained_s
            left -= 1
            ended_s += had_s
            least_s = min(least_s, (ended_s + left * had_s) / ended)
        return least_s


class History:
    """Kinds of programs by name, and those of a kind that began alike (`head` names a system prompt
    and tools; 0: nothing is known of them); the least recently used are lost."""

    def __init__(self, limit: int = AGENTS_KNOWN_MAX) -> None:
        self._limit = limit
        self._kinds: OrderedDict[tuple[str, int], Totals] = OrderedDict()
        self._judged: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self.quality = 0.0
        """0 to 1."""
        self.ended_count = 0
        """Programs that have ended: whoever remembers what was said sees whether it is old."""

    def remaining_s(self, agent: str, attained_s: float, head: int = 0) -> float | None:
        """None: no program of this kind has ended yet."""
        kind = self._alike(agent, head)
        return kind.remaining_s(attained_s) if kind is not None else None

    def price_s(self, agent: str, attained_s: float, head: int = 0) -> float | None:
        """None: no program of this kind has ended yet."""
        kind = self._alike(agent, head)
        return kind.price_s(attained_s) if kind is not None else None

    def ended(self, agent: str, total_s: float, predicted_s: float | None, head: int = 0) -> None:
        """A program of this kind has ended; `predicted_s` was said of it at its start."""
        self.ended_count += 1
        for kind in dict.fromkeys(((agent, head), (agent, 0))):
            self._kinds.setdefault(kind, Totals()).add(total_s)
            self._kinds.move_to_end(kind)
        while len(self._kinds) > self._limit:
            self._kinds.popitem(last=False)
        if predicted_s is not None:
            self._judged.append((predicted_s, total_s))
            enough = len(self._judged) >= JUDGED
            self.quality = max(0.0, tau(tuple(self._judged))) if enough else 0.0

    def _alike(self, agent: str, head: int) -> Totals | None:
        found = self._kinds.get((agent, head)) if head else None
        if found is not None and len(found) >= ALIKE:
            return found
        return self._kinds.get((agent, 0))
