"""A provider's limits: requests and tokens a minute, learned from what it says, kept by waiting.

Both of the common families of headers are read (`x-ratelimit-*`, `anthropic-ratelimit-*`), and 429
with `Retry-After`.  Where no header tells a limit, a 429 does: a little less than what the last
minute held is the limit then, and it grows again while all goes well.

Who goes next: the most urgent, then who takes least of the limits; with the prompt cache that is
mostly whoever goes on with what it began.  Time that a call has waited counts for it, so that
nobody waits behind a stream of small ones.

Invariants: 1. of two calls with equal claims the first goes first; 2. nobody is let on before the
time that a 429 named; 3. a call that can't be let on in time is told so at once, and when.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.errors import DeviceBusy
from orlop.abi.ids import EngineName
from orlop.abi.limits import ENGINE_RETRY_S_MAX
from orlop.drivers.metrics_text import bounded
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner
from orlop.wire.problem import retry_after_s

MINUTE_S: Final = 60.0

_LIMIT_MAX: Final = 1e12
_SHARE: Final = 0.9
"""Of what the last minute held when a 429 came, that is taken for the limit."""
_GUESS_FROM: Final = {"requests": 10, "tokens": 1_000}
"""With less than this in a minute, it was not we who used the limit up."""
_GROWTH: Final = 1.05
"""Of a limit that was guessed, each minute without a 429."""
_PAUSE_S: Final = 1.0
"""After a 429 that names no time; doubles with each in a row."""
_AGEING: Final = 0.1
"""Of the allowance, what a second of waiting counts for."""

_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
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

    def left(self, left: float, *, is_refused: bool) -> None:
        """What the provider says is left, as of when it took the call; others may use its key."""
        self.most = max(self.most or 0.0, left)
        if is_refused:
            self.level = min(self.level, left)
        elif left < self.level:
            self.level = (self.level + left) / 2

    def wait_s(self, amount: float) -> float:
        """Until `amount` fits.  More than a minute's worth fits when the bucket is full."""
        if self.limit is None:
            return 0.0
        missing = min(amount, self.full) - self.level
        return max(0.0, missing / self.limit * MINUTE_S)

    def told(self, limit: float, now_s: float) -> None:
        if self.limit is None or self.is_guess:
            self.level, self.is_guess = limit, False
        self.limit, self.seen_s = limit, now_s
        self.level = min(self.level, limit)

    def guess(self, limit: float, now_s: float) -> None:
        self.limit, self.is_guess = max(1.0, limit), True
        self.level, self.seen_s = 0.0, now_s


@dataclass(order=True, slots=True)
class _Waiter:
    urgency: int
    claim: float
    """Its tokens, and what coming late counts against it; less goes first."""
    number: int
    tokens: float = field(compare=False)
    granted: asyncio.Event = field(compare=False, default_factory=asyncio.Event)
    is_gone: bool = field(compare=False, default=False)


class Quota:
    """What one provider allows one key."""

    def __init__(
        self, name: EngineName, clock: Clock, *, requests: int = 0, tokens: int = 0
    ) -> None:
        now_s = clock.now_s()
        self._name = name
        self._clock = clock
        self._buckets = {"requests": Bucket(seen_s=now_s), "tokens": Bucket(seen_s=now_s)}
        for kind, limit in (("requests", requests), ("tokens", tokens)):
            if limit:
                self._buckets[kind].told(limit, now_s)
        self._not_before_s = 0.0
        self._refused_in_a_row = 0
        self._grown_s = now_s
        self._last_minute: deque[tuple[float, float]] = deque()
        self._waiting: list[_Waiter] = []
        self._numbers = itertools.count()
        self._news = asyncio.Event()
        """Somebody came, or the provider said something."""
        self._is_pumping = False
        """A task lets on; one that has just ended is none, though its owner still holds it."""
        self._pump = TaskOwner(f"quota of {name}")
        self.refusals = 0
        """429s seen."""

    def limit(self, kind: str) -> float | None:
        """`requests` or `tokens` a minute, as far as is known."""
        return self._buckets[kind].limit

    async def admit(self, tokens: float, urgency: int, patience_s: float) -> None:
        """Return when a call of `tokens` may be sent.  Raises `DeviceBusy`."""
        wait_s = self._wait_s(tokens)
        if not self._waiting and wait_s <= 0:
            self._take(tokens)
            return
        if wait_s > patience_s:
            raise DeviceBusy(
                f"{self._name}'s limits ({self._say()}) leave no room for {tokens:.0f} tokens in "
                f"the {patience_s:.0f} s that the call has",
                retry_after_s=wait_s,
            )
        claim = self._claim(tokens)
        waiter = _Waiter(urgency, claim, next(self._numbers), tokens)
        heapq.heappush(self._waiting, waiter)
        self._news.set()
        if not self._is_pumping:
            self._is_pumping = True
            self._pump.start(self._let_on())
        try:
            await waiter.granted.wait()
        except asyncio.CancelledError:
            waiter.is_gone = True
            if waiter.granted.is_set():
                self.give_back(tokens)
            raise

    def give_back(self, tokens: float) -> None:
        """Of a call that cost this much less than was taken; negative: more."""
        bucket = self._buckets["tokens"]
        if bucket.limit is not None:
            bucket.level = min(bucket.full, bucket.level + tokens)
            self._news.set()

    def heard(self, status: int, headers: Mapping[str, str]) -> None:
        """Of each answer, refusals too."""
        now_s = self._clock.now_s()
        for kind, bucket in self._buckets.items():
            bucket.fill(now_s)
            limit, left = (_number(headers, kind, what) for what in ("limit", "remaining"))
            if limit:
                bucket.told(limit, now_s)
            if bucket.limit is not None and left is not None:
                bucket.left(left, is_refused=status == 429)
        self._news.set()
        if status == 429:
            self._refused(headers, now_s)
        elif status < 400:
            self._refused_in_a_row = 0
            self._grow(now_s)

    async def close(self) -> None:
        await self._pump.close()

    def _refused(self, headers: Mapping[str, str], now_s: float) -> None:
        self.refusals += 1
        told_s = retry_after_s(headers)
        pause_s = _PAUSE_S * 2**self._refused_in_a_row if told_s is None else told_s
        self._refused_in_a_row = min(self._refused_in_a_row + 1, 6)
        until_s = now_s + min(pause_s, ENGINE_RETRY_S_MAX)
        self._not_before_s = max(self._not_before_s, until_s)
        self._grown_s = now_s
        self._forget(now_s)
        sent = {"requests": float(len(self._last_minute))}
        sent["tokens"] = sum(tokens for _, tokens in self._last_minute)
        if any(bucket.limit and not bucket.is_guess for bucket in self._buckets.values()):
            return  # The limit that it reached is known.
        for kind, bucket in self._buckets.items():
            if sent[kind] >= _GUESS_FROM[kind]:
                lowest = min(sent[kind], bucket.limit or sent[kind])
                bucket.guess(lowest * _SHARE, now_s)

    def _grow(self, now_s: float) -> None:
        if now_s - self._grown_s < MINUTE_S:
            return
        self._grown_s = now_s
        for bucket in self._buckets.values():
            if bucket.is_guess and bucket.limit is not None:
                bucket.limit *= _GROWTH

    async def _let_on(self) -> None:
        try:
            await self._let_all_on()
        finally:
            self._is_pumping = False

    async def _let_all_on(self) -> None:
        """While somebody waits: let on whoever is next as soon as there is room."""
        while self._waiting:
            if self._waiting[0].is_gone:
                heapq.heappop(self._waiting)
                continue
            wait_s = self._wait_s(self._waiting[0].tokens)
            if wait_s > 0:
                self._news.clear()
                with suppress(TimeoutError):
                    # Not before a millisecond: a rounding error must not become a busy loop.
                    async with asyncio.timeout(max(0.001, wait_s)):
                        await self._news.wait()
                continue
            waiter = heapq.heappop(self._waiting)
            self._take(waiter.tokens)
            waiter.granted.set()

    def _wait_s(self, tokens: float) -> float:
        now_s = self._clock.now_s()
        for bucket in self._buckets.values():
            bucket.fill(now_s)
        amounts = {"requests": 1.0, "tokens": tokens}
        waits = [bucket.wait_s(amounts[kind]) for kind, bucket in self._buckets.items()]
        return max(self._not_before_s - now_s, *waits)

    def _claim(self, tokens: float) -> float:
        """All waiting calls grow older alike, so a claim stands once it is made."""
        a_second = (self._buckets["tokens"].limit or 0.0) / MINUTE_S
        return tokens + _AGEING * a_second * self._clock.now_s()

    def _take(self, tokens: float) -> None:
        now_s = self._clock.now_s()
        self._forget(now_s)
        self._last_minute.append((now_s, tokens))
        for kind, amount in (("requests", 1.0), ("tokens", tokens)):
            if self._buckets[kind].limit is not None:
                self._buckets[kind].level -= amount

    def _forget(self, now_s: float) -> None:
        while self._last_minute and self._last_minute[0][0] < now_s - MINUTE_S:
            self._last_minute.popleft()

    def _say(self) -> str:
        known = {kind: bucket.limit for kind, bucket in self._buckets.items()}
        said = [f"{limit:.0f} {kind} a minute" for kind, limit in known.items() if limit]
        return " and ".join(said) or "as its last refusal says"


def _number(headers: Mapping[str, str], kind: str, what: str) -> float | None:
    for name in _HEADERS[kind]:
        held = headers.get(name.format(what))
        if held is None:
            continue
        try:
            return bounded(float(held), _LIMIT_MAX)
        except ValueError:
            continue
    return None
