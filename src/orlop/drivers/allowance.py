"""What a provider allows a minute, as its headers tell it and as we count.

The common families of headers are read: `x-ratelimit-*` and `anthropic-ratelimit-*`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from orlop.drivers.metrics_text import bounded

MINUTE_S: Final = 60.0

Kind = Literal["requests", "tokens"]
KINDS: Final[tuple[Kind, ...]] = ("requests", "tokens")

_LIMIT_MAX: Final = 1e12
_TRUST: Final = 0.05
"""Of what is left beyond what we thought: part of it is what calls on their way may not take."""
_ROUNDED: Final = 1_000
"""Anthropic tells what is left in whole thousands."""

_RESET_S: Final = 1.0
_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)")
_UNITS_S: Final = {"ms": 1e-3, "s": 1.0, "m": MINUTE_S, "h": 60 * MINUTE_S}

_HEADERS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "requests": ("x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"),
    "tokens": (
        "x-ratelimit-{}-tokens",
        "anthropic-ratelimit-input-tokens-{}",
        "anthropic-ratelimit-tokens-{}",
    ),
}


@dataclass(slots=True, kw_only=True)
class Bucket:
    """So many a minute, refilled all the time.  `limit` None: not known, so no limit.

    most: what it holds when it is full, where the provider has said what is left: many let a
    minute's allowance be spent over a minute only, and not at once.
    """

    limit: float | None = None
    is_guess: bool = False
    most: float | None = None
    level: float = 0.0
    seen_s: float = 0.0

    def fill(self, now_s: float) -> None:
        if self.limit is not None:
            gained = (now_s - self.seen_s) * self.limit / MINUTE_S
            self.level = min(self.full, self.level + gained)
        self.seen_s = now_s

    @property
    def full(self) -> float:
        limit = self.limit or 0.0
        return limit if self.most is None else max(1.0, min(limit, self.most))

    @property
    def is_told(self) -> bool:
        """The provider says what is left of it."""
        return self.limit is not None and self.most is not None

    def add(self, amount: float) -> None:
        if self.limit is not None:
            self.level = min(self.full, self.level + amount)

    def filled(self, left: float, reset_s: float) -> None:
        """With so much `left` it will be full so soon, to a second: so it holds that much."""
        if self.limit is not None:
            gains = max(0.0, reset_s - _RESET_S) * self.limit / MINUTE_S
            self.most = max(self.most or 0.0, left + gains)

    def left(self, left: float, was: float | None, *, is_refused: bool = False) -> None:
        """What the provider says is left.

        It may have looked at any moment since it took the call, when we thought that the bucket
        held `was` (None: it looked just now): only what lies outside of that is news, of others
        who use its key or of calls that took more or less than we thought.  Where it refuses a
        call, there was no more than it says.
        """
        self.most = max(self.most or 0.0, left)
        low, high = sorted((self.level, self.level if was is None else was))
        unsure = _ROUNDED / 2 if left % _ROUNDED == 0 and self.full > _ROUNDED else 0.0
        if is_refused:
            self.level = min(self.level, left - unsure)
        elif left + unsure < low:
            self.level -= low - left - unsure
        elif left - unsure > high:
            self.add(_TRUST * (left - unsure - high))

    def wait_s(self, amount: float, before: float = 0.0) -> float:
        """Until `amount` fits, behind calls that take `before`.

        More than the bucket holds fits when it is full.
        """
        if self.limit is None:
            return 0.0
        missing = before + min(amount, self.full) - self.level
        return max(0.0, missing / self.limit * MINUTE_S)

    def cost_s(self, amount: float) -> float:
        """How long the limit takes to allow it."""
        return amount / self.limit * MINUTE_S if self.limit else 0.0

    def told(self, limit: float, now_s: float) -> None:
        if self.limit is None or self.is_guess:
            self.level, self.is_guess = limit, False
        self.limit, self.seen_s = limit, now_s
        self.level = min(self.level, limit)

    def guess(self, limit: float, now_s: float) -> None:
        self.limit, self.is_guess = max(1.0, limit), True
        self.level, self.seen_s = 0.0, now_s


def told(
    headers: Mapping[str, str], kind: Kind, what: Literal["limit", "remaining"]
) -> float | None:
    """None: not said, or nothing that can be true."""
    for name in _HEADERS[kind]:
        held = headers.get(name.format(what))
        if held is None:
            continue
        try:
            return bounded(float(held), _LIMIT_MAX)
        except ValueError:
            continue
    return None


def reset_s(headers: Mapping[str, str], kind: Kind) -> float | None:
    """Seconds until the bucket is full, as OpenAI (`6m0s`) or Anthropic (a time) tells them."""
    for name in _HEADERS[kind]:
        held = headers.get(name.format("reset"), "")
        if spans := _SPAN.findall(held):
            if "".join(map("".join, spans)) == held:
                return sum(float(number) * _UNITS_S[unit] for number, unit in spans)
        elif held:
            return _until_s(held, headers.get("date", ""))
    return None


def _until_s(then: str, date: str) -> float | None:
    """By the provider's own clock: ours may be wrong."""
    try:
        seconds = (datetime.fromisoformat(then) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):  # One with a time zone, and one without.
        return None
    return max(0.0, seconds)
