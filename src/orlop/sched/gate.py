"""How many calls an engine runs at once: seats and tokens, learned within bounds.

The kernel owns the queue, so that order can still change; an engine's own queue is kept nearly
empty.  Own counters decide; what the engine says of itself corrects them (both failure modes, of
counting alone and of polling alone, are in llm-d's documentation).  How long a token takes is
no sign of overload by itself: prompts that are read among answers slow these as well, and cutting
seats for it made jobs of bench A 10 to 20 % longer.

Invariants:
1. 1 <= seats <= slots, whatever the engine says;
2. an engine that runs nothing takes any call: what is too large is for the engine to refuse.
"""

from typing import Final

from orlop.devices.device import Capacity, EngineLoad

QUEUE_MAX: Final = 2
"""Calls in an engine's own queue: more, and it has too many."""

SHRINK: Final = 0.75
REST_S: Final = 2.0
"""Between two cuts: the last one must be able to show."""

STALE_S: Final = 5.0
"""What an engine said longer ago says nothing any more."""


class Gate:
    def __init__(self, capacity: Capacity) -> None:
        self.running = 0
        self.kv_used = 0
        self.offered = 0
        """Seats' bound, by the engine's last word."""
        self._seats = float(capacity.slots)
        self._cut_s = float("-inf")
        self._preemptions: int | None = None
        self.change(capacity)

    def change(self, capacity: Capacity) -> None:
        """The engine has more or less than before."""
        if capacity.slots != self.offered:
            self._seats = float(capacity.slots)
        self.offered = capacity.slots
        self.kv_tokens = capacity.kv_tokens

    @property
    def seats(self) -> int:
        return max(1, int(self._seats))

    def has_seat(self, spare: int = 0) -> bool:
        """spare: seats to leave free."""
        return self.running + spare < self.seats

    def has_room(self, tokens: int) -> bool:
        """Of the device's memory, beside what the running calls take."""
        if self.kv_tokens is None or self.running == 0:
            return True
        return self.kv_used + tokens <= self.kv_tokens

    def take(self, tokens: int) -> None:
        self.running += 1
        self.kv_used += tokens

    def give(self, tokens: int) -> None:
        """Whoever leaves while all seats are taken lets the engine try one more, little by little:
        additive increase."""
        if self.running >= self.seats and self._seats < self.offered:
            self._seats = min(float(self.offered), self._seats + 1.0 / self._seats)
        self.running -= 1
        self.kv_used -= tokens

    def strained(self, now_s: float) -> None:
        """The engine has too much: multiplicative decrease, of what it really ran."""
        if now_s - self._cut_s < REST_S:
            return
        self._cut_s = now_s
        self._seats = max(1.0, min(self._seats, float(self.running)) * SHRINK)

    def heard(self, load: EngineLoad, now_s: float) -> None:
        """What the engine says of itself."""
        before, self._preemptions = self._preemptions, load.preemptions
        if now_s - load.seen_s > STALE_S:
            return
        if load.waiting > QUEUE_MAX or (before is not None and load.preemptions > before):
            self.strained(now_s)
