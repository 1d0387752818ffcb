"""How many calls an engine runs at once: seats and tokens, learned within bounds.

The kernel owns the queue, so that order can still change; an engine's own queue is kept nearly
empty.  Own counters decide; what the engine says of itself corrects them (both failure modes, of
counting alone and of polling alone, are in llm-d's documentation).  How long a token takes is
no sign of overload by itself: prompts that are read among answers slow these as well, and cutting
seats for it made jobs of coding agents (`bench/programs_simulated.py`) 10 to 20 % longer.

Invariants:
1. 1 <= seats <= slots, whatever the engine says;
2. an engine that runs nothing takes any call: what is too large is for the engine to refuse.
"""

import math
from typing import Final

from orlop.devices.device import Capacity, EngineLoad
from orlop.sched.work import Work

QUEUE_MAX: Final = 2
"""Calls in an engine's own queue: more, and it has too many."""

SHRINK: Final = 0.75
"""Of the seats, those that an engine keeps which has too much."""

REST_S: Final = 2.0
"""Between two cuts: the last one must be able to show."""

STALE_S: Final = 5.0
"""What an engine said longer ago says nothing any more."""


class Gate:
    def __init__(self, capacity: Capacity) -> None:
        self.running = 0
        self.kv_used = 0
        """Tokens of the calls that run, each counted whole."""
        self.kv_common = 0
        """Of those, what is counted more than once, since calls begin alike."""
        self.offered = 0
        """Seats' bound, by the engine's last word."""
        self._seats = float(capacity.slots)
        """Grown by fractions: whole seats are used."""
        self._cut_s = float("-inf")
        self._heard_s = float("-inf")
        """When what was heard last was so."""
        self._preemptions: int | None = None
        self._heads: dict[int, list[int]] = {}
        """Beginnings that running calls have in common: how many calls, and its tokens."""
        self.change(capacity)

    def change(self, capacity: Capacity) -> None:
        """The engine has more or less than before."""
        if capacity.slots != self.offered:
            self._seats = float(capacity.slots)
        self.offered = capacity.slots
        self.kv_tokens = capacity.kv_tokens
        self.shares = capacity.prefix_cache

    @property
    def seats(self) -> int:
        return max(1, int(self._seats))

    def has_seat(self, spare: int = 0) -> bool:
        """spare: seats to leave free."""
        return self.running + spare < self.seats

    def room(self) -> float:
        """Tokens of the device's memory beside what the running calls take."""
        if self.kv_tokens is None or self.running == 0:
            return math.inf
        return self.kv_tokens - self.kv_used + self.kv_common

    def common(self, head: int) -> int:
        """Tokens of a beginning that a running call has there already."""
        found = self._heads.get(head)
        return found[1] if found is not None else 0

    def has_room(self, work: Work) -> bool:
        return work.tokens - self.common(work.head) <= self.room()

    def take(self, work: Work) -> None:
        self.running += 1
        self.kv_used += work.tokens
        if work.head and self.shares:
            found = self._heads.setdefault(work.head, [0, work.head_tokens])
            self.kv_common += found[1] if found[0] else 0
            found[0] += 1

    def give(self, work: Work) -> None:
        """Whoever leaves while all seats are taken lets the engine try one more, little by little:
        additive increase."""
        if self.running >= self.seats and self._seats < self.offered:
            self._seats = min(float(self.offered), self._seats + 1.0 / self._seats)
        self.running -= 1
        self.kv_used -= work.tokens
        if (found := self._heads.get(work.head)) is not None:
            found[0] -= 1
            self.kv_common -= found[1] if found[0] else 0
            if not found[0]:
                del self._heads[work.head]

    def strained(self, now_s: float, ran: int) -> None:
        """The engine has too much: multiplicative decrease, of what it really ran."""
        if now_s - self._cut_s < REST_S:
            return
        self._cut_s = now_s
        self._seats = max(1.0, min(self._seats, float(ran)) * SHRINK)

    def heard(self, load: EngineLoad, now_s: float) -> None:
        """What the engine says of itself.  It is asked from time to time and heard with each call:
        what it says is news once, and is of the calls that ran then."""
        before, self._preemptions = self._preemptions, load.preemptions
        if now_s - load.seen_s > STALE_S or load.seen_s <= self._heard_s:
            return
        self._heard_s = load.seen_s
        if load.waiting > QUEUE_MAX or (before is not None and load.preemptions > before):
            self.strained(now_s, max(self.running, load.running))
