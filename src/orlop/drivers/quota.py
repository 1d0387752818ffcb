"""A provider's limits on one model: requests and tokens a minute, learned, and kept by waiting.

Where no header tells a limit, a 429 does: a little less than what the last minute held is the limit
then, and it grows again while all goes well.

Who goes next: the most urgent, then who is due first.  A call is due later the more of the limits
it takes, up to three minutes after it came, or half of the time that it has: small calls, with the
prompt cache mostly those of programs that go on with what they began, pass large ones, and nobody
waits for ever behind a stream of small ones.

Invariants: 1. of two calls with equal claims the first goes first; 2. nobody is let on before the
time that a 429 named, unless what the provider says is left tells that only a smaller call would
fit; 3. a call that can't be let on in time is told so at once, and when.
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
from orlop.drivers.allowance import KINDS, MINUTE_S, Bucket, Kind, reset_s, told
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner
from orlop.wire.problem import retry_after_s

_SHARE: Final = 0.9
"""Of what the last minute held when a 429 came, that is taken for the limit."""
_GUESS_FROM: Final[Mapping[Kind, int]] = {"requests": 10, "tokens": 1_000}
"""With less than this in a minute, it was not we who used the limit up."""
_GROWTH: Final = 1.05
"""Of a limit that was guessed, each minute without a 429."""
_PAUSE_S: Final = 1.0
"""After a 429 that names no time; doubles with each in a row."""
_SLACK: Final = 30.0
"""A call is due this many times later than the limits take to allow it."""
_SLACK_S_MAX: Final = 3 * MINUTE_S
_MISJUDGED: Final = 2.0
"""A call may take this many times what was thought: a bucket that holds less explains a 429."""
_NEARLY_EMPTY: Final = 0.05
"""Of what it holds when it is full; so does a bucket with less than that."""


@dataclass(slots=True, kw_only=True)
class Leave:
    """A call that was let on."""

    amounts: Mapping[Kind, float]
    levels: Mapping[Kind, float]
    """What each bucket held once the call had taken its part; without those of no known limit."""
    is_refused: bool = False
    """The provider did not take it."""
    is_explained: bool = False
    """Its refusal is: too little was left for it."""


@dataclass(order=True, slots=True)
class _Waiter:
    urgency: int
    due_s: float
    number: int
    tokens: float = field(compare=False)
    granted: asyncio.Event = field(compare=False, default_factory=asyncio.Event)
    leave: Leave | None = field(compare=False, default=None)
    is_gone: bool = field(compare=False, default=False)


class Quota:
    """What one provider allows one key and model."""

    def __init__(
        self, name: EngineName, clock: Clock, *, requests: int = 0, tokens: int = 0
    ) -> None:
        now_s = clock.now_s()
        self._name = name
        self._clock = clock
        self._buckets: dict[Kind, Bucket] = {kind: Bucket(seen_s=now_s) for kind in KINDS}
        for kind, limit in zip(KINDS, (requests, tokens), strict=True):
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

    def limit(self, kind: Kind) -> float | None:
        """`requests` or `tokens` a minute, as far as is known."""
        return self._buckets[kind].limit

    def is_told(self, kind: Kind) -> bool:
        """The provider says itself what is left."""
        return self._buckets[kind].is_told

    async def admit(
        self, tokens: float, urgency: int, patience_s: float, came_s: float | None = None
    ) -> Leave:
        """Return when a call of `tokens` may be sent.  Raises `DeviceBusy`.

        came_s: since when it has waited, if it has been refused before.
        """
        came_s = self._clock.now_s() if came_s is None else came_s
        due_s = came_s + min(self._slack_s(tokens), patience_s / 2)
        waiter = _Waiter(urgency, due_s, next(self._numbers), tokens)
        wait_s = self._expected_s(waiter)
        if wait_s <= 0 and not self._waiting:
            return self._take(tokens)
        if wait_s > patience_s:
            raise DeviceBusy(
                f"{self._name}'s limits ({self._say()}) leave no room for {tokens:.0f} tokens in "
                f"the {patience_s:.0f} s that the call has",
                retry_after_s=wait_s,
            )
        heapq.heappush(self._waiting, waiter)
        self._news.set()
        if not self._is_pumping:
            self._is_pumping = True
            self._pump.start(self._let_on())
        try:
            await waiter.granted.wait()
        except asyncio.CancelledError:
            waiter.is_gone = True
            if waiter.leave is not None:
                self.give_back(tokens)
            raise
        assert waiter.leave is not None
        return waiter.leave

    def give_back(self, tokens: float) -> None:
        """Of a call that cost this much less than was taken; negative: more."""
        self._buckets["tokens"].add(tokens)
        self._news.set()

    def heard(self, status: int, headers: Mapping[str, str], leave: Leave | None = None) -> None:
        """Of each answer, refusals too.  leave: of the call that was answered."""
        now_s = self._clock.now_s()
        is_refused = status in (429, 503, 529)
        for kind, bucket in self._buckets.items():
            bucket.fill(now_s)
            was = leave.levels.get(kind) if leave is not None else None
            if is_refused and leave is not None and was is not None and kind == "tokens":
                bucket.add(leave.amounts[kind])  # Refused calls take requests at most.
                was += leave.amounts[kind]
            limit, left = (told(headers, kind, what) for what in ("limit", "remaining"))
            if limit:
                bucket.told(limit, now_s)
            if bucket.limit is not None and left is not None:
                if (soon_s := reset_s(headers, kind)) is not None:
                    bucket.filled(left, soon_s)
                bucket.left(left, was, is_refused=status == 429)
        self._news.set()
        if is_refused:
            self._refused(status, headers, now_s, leave)
        elif status < 400:
            self._refused_in_a_row = 0
            self._grow(now_s)

    async def close(self) -> None:
        await self._pump.close()

    def _refused(
        self, status: int, headers: Mapping[str, str], now_s: float, leave: Leave | None
    ) -> None:
        self.refusals += status == 429
        self._grown_s = now_s
        if leave is not None:
            leave.is_refused = True
            leave.is_explained = status == 429 and self._explains(headers, leave)
            if leave.is_explained:
                return
        told_s = retry_after_s(headers)
        pause_s = _PAUSE_S * 2**self._refused_in_a_row if told_s is None else told_s
        self._refused_in_a_row = min(self._refused_in_a_row + 1, 6)
        until_s = now_s + min(pause_s, ENGINE_RETRY_S_MAX)
        self._not_before_s = max(self._not_before_s, until_s)
        if status == 429:
            self._guess(now_s)

    def _explains(self, headers: Mapping[str, str], leave: Leave) -> bool:
        """A bucket was too empty for this call, and says itself how empty."""
        for kind, bucket in self._buckets.items():
            left = told(headers, kind, "remaining")
            enough = max(_MISJUDGED * leave.amounts[kind], _NEARLY_EMPTY * bucket.full)
            if left is not None and left < enough:
                return True
        return False

    def _guess(self, now_s: float) -> None:
        """Limits that nobody tells."""
        if any(bucket.limit and not bucket.is_guess for bucket in self._buckets.values()):
            return  # The limit that it reached is known.
        self._forget(now_s)
        sent: dict[Kind, float] = {"requests": float(len(self._last_minute))}
        sent["tokens"] = sum(tokens for _, tokens in self._last_minute)
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
            waiter.leave = self._take(waiter.tokens)
            waiter.granted.set()

    def _wait_s(self, tokens: float, ahead: tuple[int, float] = (0, 0.0)) -> float:
        """Until a call of `tokens` may go, once as many calls of so many tokens `ahead` went."""
        now_s = self._clock.now_s()
        for bucket in self._buckets.values():
            bucket.fill(now_s)
        requests_s = self._buckets["requests"].wait_s(1.0, ahead[0])
        tokens_s = self._buckets["tokens"].wait_s(tokens, ahead[1])
        return max(self._not_before_s - now_s, requests_s, tokens_s)

    def _expected_s(self, waiter: _Waiter) -> float:
        """As things stand: who comes later and is due sooner goes first as well."""
        ahead = [
            other.tokens
            for other in self._waiting
            if (other.urgency, other.due_s) <= (waiter.urgency, waiter.due_s) and not other.is_gone
        ]
        return self._wait_s(waiter.tokens, (len(ahead), sum(ahead)))

    def _slack_s(self, tokens: float) -> float:
        """What a call takes of the limits, each second of it counted so many times."""
        costs_s = (self._buckets["requests"].cost_s(1.0), self._buckets["tokens"].cost_s(tokens))
        return min(_SLACK * max(costs_s), _SLACK_S_MAX)

    def _take(self, tokens: float) -> Leave:
        now_s = self._clock.now_s()
        self._forget(now_s)
        self._last_minute.append((now_s, tokens))
        amounts: dict[Kind, float] = {"requests": 1.0, "tokens": tokens}
        levels: dict[Kind, float] = {}
        for kind, bucket in self._buckets.items():
            if bucket.limit is not None:
                bucket.level -= amounts[kind]
                levels[kind] = bucket.level
        return Leave(amounts=amounts, levels=levels)

    def _forget(self, now_s: float) -> None:
        while self._last_minute and self._last_minute[0][0] < now_s - MINUTE_S:
            self._last_minute.popleft()

    def _say(self) -> str:
        known = {kind: bucket.limit for kind, bucket in self._buckets.items()}
        said = [f"{limit:.0f} {kind} a minute" for kind, limit in known.items() if limit]
        return " and ".join(said) or "as its last refusal says"
