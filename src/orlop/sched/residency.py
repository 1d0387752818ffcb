"""What an engine holds for programs that will come back, and what becomes of it.

A program that is away using a tool has its tokens on the engine for nothing; without them it comes
back to a prefill that costs as much as all its earlier ones together.  So each engine has a budget
of tokens that may be in use and retained together: its device, and its host tier as far as bringing
back is cheaper than computing again.  What is retained fades by half each `fade_s`, since who is
away for long is likely away for longer (ThunderAgent, 2602.13692).

Invariants:
1. `in_use` is the sum of `held` over this engine's REASONING contexts, and of the beginnings that
   they share, each once;
2. `retained` never exceeds the same sum over its ACTING ones;
3. what is believed to lie on device and host never exceeds what fits there.
"""

import math
from heapq import heappop, heappush
from typing import Final, Literal

from orlop.devices.device import Capacity
from orlop.sched.beginnings import Beginnings
from orlop.sched.gaps import Gap
from orlop.sched.layer import Layer
from orlop.sched.program import Context, State

Fate = Literal["keep", "save", "drop"]

TYPICAL: Final = 8_192
"""Tokens of a context, to weigh bringing back against computing again."""


def restore_s(capacity: Capacity, tokens: int) -> float:
    """From host to device; infinite where there is no way back."""
    if capacity.host_tokens <= 0 or capacity.restore_bytes_s <= 0:
        return math.inf
    return tokens * capacity.kv_bytes_per_token / capacity.restore_bytes_s


def host_worth(capacity: Capacity) -> float:
    """How much a token of the host tier is worth one on the device, 0 to 1."""
    again_s = capacity.speed.prefill_s(TYPICAL, 0)
    return max(0.0, 1.0 - restore_s(capacity, TYPICAL) / again_s) if again_s > 0 else 0.0


def waste_s(capacity: Capacity, tokens: int, away_s: float, back: float) -> dict[Fate, float]:
    """Engine seconds that each fate of an idle context is expected to waste.

    away_s: E[min(gap, limit)].  back: the chance that it comes back within the limit.  To keep it
    holds its share of the device all the while; to save it costs a copy out and one in; to drop it
    costs its prefill.  Source: InferCept's waste (2402.01869) with Continuum's gaps (2511.02230).
    """
    kv_tokens = capacity.kv_tokens or 0
    share = tokens / kv_tokens if kv_tokens else 0.0
    copy_s = restore_s(capacity, tokens)
    return {
        "keep": share * away_s,
        "save": copy_s * (1.0 + back),
        "drop": capacity.speed.prefill_s(tokens, 0) * back,
    }


def fate(capacity: Capacity, tokens: int, gap: Gap, limit_s: float, pressure: float) -> Fate:
    """The least expected waste.  pressure: 0 to 1, how much others want the room."""
    waste = waste_s(capacity, tokens, gap.expected_s(0.0, limit_s), gap.returns(limit_s))
    waste["keep"] *= pressure
    return min(waste, key=lambda one: waste[one])


class Shelf:
    """One engine's contexts: those that have their place, and where tokens are believed to lie."""

    def __init__(self, engine: str, capacity: Capacity, fade_s: float) -> None:
        self._engine = engine
        self.in_use = 0
        self._fade_s = fade_s
        self._retained = 0.0
        """Tokens as of `_at_s`."""
        self._at_s = 0.0
        self._acting: list[tuple[int, int, float, Context]] = []
        """A heap of those that rest here: tokens, a number of its own, since when, which.  Who has
        moved on stays in it until it is met."""
        self._acting_count = 0
        self._pushes = 0
        self._shared = Beginnings(fade_s)
        self._device = Layer()
        self._host = Layer()
        self.is_told = False
        """The engine itself says what it forgets: nobody guesses it."""
        self.change(capacity)

    @property
    def device_tokens(self) -> int:
        return self._device.tokens

    @property
    def host_tokens(self) -> int:
        return self._host.tokens

    def change(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.keeps_host = capacity.host_tokens > 0
        self.budget: int | None = None
        if capacity.kv_tokens is not None:
            self.budget = capacity.kv_tokens + int(capacity.host_tokens * host_worth(capacity))

    # Places.

    def retained(self, now_s: float) -> float:
        """Tokens of ACTING contexts, faded."""
        if self._acting_count == 0:
            self._retained = 0.0
        if self._retained and now_s > self._at_s:
            self._retained *= 0.5 ** ((now_s - self._at_s) / self._fade_s)
        self._at_s = max(now_s, self._at_s)
        return self._retained

    def own(self, context: Context, now_s: float) -> float:
        """Of what is retained, the context's own part."""
        if context.state is not State.ACTING:
            return 0.0
        faded: float = 0.5 ** ((now_s - context.since_s) / self._fade_s)
        return context.held * faded

    def counted(self, context: Context, head: int, now_s: float) -> float:
        """What is counted here already of a context that rests or runs here, and of its
        beginning."""
        own = context.held if context.state is State.REASONING else self.own(context, now_s)
        return own + self.shared(head, now_s)

    def shared(self, head: int, now_s: float) -> float:
        """What is counted here already of a beginning, whoever brought it."""
        return self._shared.counted(head, now_s)

    def room(self, share: float) -> float:
        """Tokens that `share` of the budget leaves for what is retained and what comes."""
        return math.inf if self.budget is None else share * self.budget - self.in_use

    def faded_s(self, times: float, now_s: float) -> float:
        """When what is retained now will be so many times less, > 0, if nothing else happens."""
        # A little later than exact, so that rounding does not make it wake for nothing.
        return now_s + self._fade_s * max(0.0, math.log2(times)) + 0.001

    def excess(self, share: float, now_s: float) -> float:
        """Tokens above `share` of the budget; negative below."""
        if self.budget is None:
            return -math.inf
        return self.in_use + self.retained(now_s) - share * self.budget

    def use(self, context: Context, tokens: int, now_s: float) -> None:
        """The context has, or gets, its place and a call in it."""
        if context.state is State.ACTING:
            self._unretain(context, now_s)
        elif context.state is State.REASONING:
            self._unuse(context, now_s, rests=False)
        if context.state is not State.REASONING:
            context.step("admit", now_s)
        context.held, context.shares = tokens, None
        if context.head and context.head_tokens <= tokens and self.capacity.prefix_cache:
            self.retained(now_s)
            one, used, retained = self._shared.use(context.head, context.head_tokens, now_s)
            context.shares, context.held = one, max(0, tokens - one.tokens)
            self.in_use += used
            self._retained = max(0.0, self._retained + retained)
        self.in_use += context.held

    def rest(self, context: Context, now_s: float) -> None:
        """Its last call is over: its place fades from here on."""
        self.retained(now_s)
        self._unuse(context, now_s, rests=True)
        context.step("rest", now_s)
        common = context.shares.tokens if context.shares is not None else 0
        context.held, context.rests_on = max(0, context.tokens - common), self
        self._retained += context.held
        self._acting_count += 1
        self._pushes += 1
        heappush(self._acting, (context.held, self._pushes, now_s, context))
        if len(self._acting) > 2 * self._acting_count + 64:
            self._acting = [entry for entry in self._acting if self._is_acting(entry)]
            self._acting.sort()

    def pause(self, context: Context, now_s: float) -> None:
        """Take its place away."""
        self._unretain(context, now_s)
        context.held = 0
        context.step("pause", now_s)

    def smallest(self) -> Context | None:
        """The ACTING context with the fewest tokens: what it loses is soonest made good."""
        while self._acting:
            if self._is_acting(self._acting[0]):
                return self._acting[0][3]
            heappop(self._acting)
        return None

    def _is_acting(self, entry: tuple[int, int, float, Context]) -> bool:
        _, _, since_s, context = entry
        is_here = context.rests_on is self and context.since_s == since_s
        return context.state is State.ACTING and is_here

    def _unuse(self, context: Context, now_s: float, *, rests: bool) -> None:
        self.in_use -= context.held
        if context.shares is not None:
            self.retained(now_s)
            used, retained = self._shared.leave(context.shares, now_s, rests=rests)
            self.in_use += used
            self._retained += retained

    def _unretain(self, context: Context, now_s: float) -> None:
        left = self.retained(now_s) - self.own(context, now_s)
        if context.shares is not None:
            left += self._shared.pause(context.shares, now_s)
            context.shares = None
        self._retained = max(0.0, left)
        self._acting_count -= 1

    def totals(self, now_s: float) -> tuple[int, float]:
        """Of beginnings that are shared: in use, and retained; for `check`."""
        return self._shared.totals(now_s)

    # Beliefs.

    def lies(self, context: Context) -> tuple[int, int]:
        """Tokens of it on the device, and on the host."""
        return self._device.of(context), self._host.of(context)

    def finds(self, context: Context, head: int) -> tuple[int, int]:
        """Tokens that a call of it finds on the device, and on the host: where it does not lie
        itself, those of a beginning that another has left."""
        device, host = self.lies(context)
        return device or self._device.shared(head), host or self._host.shared(head)

    def expire(self, now_s: float) -> None:
        """Some engines forget what was not used for a while (a cloud's prompt cache)."""
        kept_s = self.capacity.prefix_cache_s
        if kept_s is None:
            return
        while self._device:
            oldest = self._device.oldest()
            if oldest.running or oldest.rested_s + kept_s > now_s:
                return
            self.move(oldest, "drop")

    def touch(self, context: Context, tokens: int) -> list[Context]:
        """It has `tokens` on the device now; returns those that had to make room, oldest first."""
        self._device.put(context, self._fitting(tokens))
        self._host.pop(context)
        self._tell(context)
        return self.fit(context)

    def correct(self, context: Context, device: int, anywhere: int) -> None:
        """So many of its tokens lie there, says the engine itself: on the device, and on any
        medium.  `fit` makes room where that can't be true of all."""
        self._device.put(context, self._fitting(device))
        self._host.put(context, anywhere if self.keeps_host and anywhere > device else 0)
        self._tell(context)

    def fit(self, guest: Context | None = None) -> list[Context]:
        """Those that must have made room by now, oldest first; nobody where the engine tells."""
        if self.is_told:
            return []
        limit = self.capacity.kv_tokens
        gone: list[Context] = []
        if limit is not None and self.device_tokens > limit:
            for context in self._device:
                if self.device_tokens <= limit:
                    break
                runs_here = context.running > 0 and context.engine == self._engine
                if context is not guest and not runs_here:
                    self.move(context, "save")
                    gone.append(context)
        self._fit_host()
        return gone

    def _fitting(self, tokens: int) -> int:
        limit = self.capacity.kv_tokens
        return tokens if limit is None else min(tokens, limit)

    def _fit_host(self) -> None:
        while self.host_tokens > self.capacity.host_tokens:
            oldest = self._host.oldest()
            self._host.pop(oldest)
            self._tell(oldest)

    def move(self, context: Context, action: Fate) -> None:
        """Off the device: to the host where there is one, or nowhere."""
        if action == "keep":
            return
        tokens = self._device.pop(context)
        if action == "drop" or not self.keeps_host:
            self._host.pop(context)
        elif tokens:
            self._host.put(context, tokens)
            self._fit_host()
        self._tell(context)

    def lose(self, now_s: float) -> None:
        """The engine is gone, with all that lay there."""
        for context in {*self._device, *(entry[3] for entry in self._acting)}:
            if context.state is State.ACTING and context.engine and self._is_ours(context):
                self.pause(context, now_s)
        lost = (*self._device, *self._host)
        self._device.clear()
        self._host.clear()
        for context in lost:
            self._tell(context)

    def _tell(self, context: Context) -> None:
        """What lies here of it may be more or less than before."""
        if context.engine == self._engine:
            context.lies(max(self.lies(context)))

    def _is_ours(self, context: Context) -> bool:
        return any(entry[3] is context and self._is_acting(entry) for entry in self._acting)
