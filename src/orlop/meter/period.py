"""When budgets refill, and how much came in the last minute."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from orlop.abi.budgets import Period
from orlop.abi.ids import Nanoseconds

NS: Final = 1_000_000_000

SECONDS_KEPT: Final = 61
"""Any 60 seconds touch at most so many whole ones."""

NOTHING: Final[dict[int, tuple[int, int]]] = {}
"""Never written to."""


def begins(per: Period, now_ns: Nanoseconds) -> Nanoseconds:
    """The beginning of the period that `now_ns` lies in; 0 for `ever`."""
    if per == "ever":
        return Nanoseconds(0)
    moment = datetime.fromtimestamp(now_ns // NS, UTC).replace(minute=0, second=0)
    if per != "hour":
        moment = moment.replace(hour=0)
    if per == "week":
        moment -= timedelta(days=moment.weekday())
    if per == "month":
        moment = moment.replace(day=1)
    return Nanoseconds(int(moment.timestamp()) * NS)


def ends(per: Period, start_ns: Nanoseconds) -> Nanoseconds | None:
    """When the period that began at `start_ns` is over; None for `ever`."""
    if per == "ever":
        return None
    days = {"hour": 1 / 24, "day": 1, "week": 7, "month": 31}[per]
    following = Nanoseconds(start_ns + int(days * 86_400) * NS)
    return begins(per, following)


class Minute:
    """Calls and tokens of the last 60 seconds, by whole seconds, so that no minute has more.

    Invariant: `calls` and `tokens` are the sums of what is kept, and nothing kept is negative.
    """

    __slots__ = ("_newest", "_seconds", "calls", "tokens")

    def __init__(self, kept: Sequence[tuple[int, int, int]] = ()) -> None:
        # Most accounts have no rate, and keep nothing.
        self._seconds = {each[0]: each[1:] for each in kept} if kept else NOTHING
        self._newest = 0
        self.calls = sum(calls for _, calls, _ in kept)
        self.tokens = sum(tokens for _, _, tokens in kept)

    def kept(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((second, *self._seconds[second]) for second in sorted(self._seconds))

    def trim(self, second: int) -> None:
        """Forget what is older than a minute at `second`."""
        if second <= self._newest or not self._seconds:
            return
        self._newest = second
        for old in [each for each in self._seconds if each <= second - SECONDS_KEPT]:
            calls, tokens = self._seconds.pop(old)
            self.calls -= calls
            self.tokens -= tokens

    def add(self, second: int, calls: int, tokens: int) -> None:
        """At the newest second or at one before it; below 0 for what was held and not used."""
        if second <= self._newest - SECONDS_KEPT:
            return
        if not self._seconds:
            self._seconds = {}
        was_calls, was_tokens = self._seconds.get(second, (0, 0))
        is_calls, is_tokens = max(0, was_calls + calls), max(0, was_tokens + tokens)
        self._seconds[second] = (is_calls, is_tokens)
        self.calls += is_calls - was_calls
        self.tokens += is_tokens - was_tokens

    def forgets(self, second: int, calls: int, tokens: int) -> int | None:
        """Seconds until `calls` and `tokens` fewer are kept; None where there never are so many."""
        for old in sorted(self._seconds):
            came_calls, came_tokens = self._seconds[old]
            calls -= came_calls
            tokens -= came_tokens
            if calls <= 0 and tokens <= 0:
                return max(1, old + SECONDS_KEPT - second)
        return None
