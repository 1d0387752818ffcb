"""How often something was done lately: calls by account, action and resource, in sliding windows.

A call is counted when it begins, so those in flight are included.  Time is cut into slots of ten
seconds, and after an hour of five minutes; a window includes the whole slot that its edge lies in,
so that a count is never too small.
"""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from orlop.abi.limits import COUNTERS_MAX

SLOT_S: Final = 10
COARSE_S: Final = 300
"""Seconds of a slot, and of one that lies further back than `FINE_SLOTS`."""
FINE_SLOTS: Final = 3_600 // SLOT_S
DAY_SLOTS: Final = 86_400 // SLOT_S + 1
"""In slots of `SLOT_S`: the longest window, with the slot that its edge lies in."""
TIDY_SLOTS: Final = 1_024
"""A counter of more slots is made coarser, and what is older than a day is dropped."""

NEVER: Final = -1
"""The slot of a counter that has counted nothing."""

NOTHING: Final = array("q")

Key = tuple[str, str, str, str]
"""Tenant, account, action, resource."""


class CounterState(Struct, frozen=True, array_like=True):
    """In a snapshot."""

    key: Key
    slots: list[int]
    totals: list[int]


class Counter:
    """The newest slot and all calls up to and with it; `_slots` and `_totals` are those before.

    Most counters have counted in one slot only, so the arrays are made with the second.
    """

    __slots__ = ("_slot", "_slots", "_total", "_totals")

    def __init__(self, slots: Sequence[int] = (), totals: Sequence[int] = ()) -> None:
        self._slot = slots[-1] if slots else NEVER
        self._total = totals[-1] if totals else 0
        self._slots = array("q", slots[:-1]) if len(slots) > 1 else NOTHING
        self._totals = array("q", totals[:-1]) if len(totals) > 1 else NOTHING

    def add(self, slot: int) -> None:
        """A clock that is set back counts into the newest slot."""
        if self._slot < slot:
            if self._slot != NEVER:
                self._keep()
            self._slot = slot
        self._total += 1

    def within(self, slot: int, window_s: int) -> int:
        """Calls in the last `window_s` seconds, seen from `slot`."""
        first = slot - window_s // SLOT_S
        if self._slot < first:
            return 0
        place = bisect_left(self._slots, first)
        return self._total - (self._totals[place - 1] if place else 0)

    def state(self, key: Key) -> CounterState:
        if self._slot == NEVER:
            return CounterState(key, [], [])
        return CounterState(key, [*self._slots, self._slot], [*self._totals, self._total])

    def _keep(self) -> None:
        """The newest slot is over."""
        if not self._slots:
            self._slots, self._totals = array("q"), array("q")
        self._slots.append(self._slot)
        self._totals.append(self._total)
        if len(self._slots) >= TIDY_SLOTS:
            self._tidy(self._slot)

    def _tidy(self, now: int) -> None:
        coarse, kept = COARSE_S // SLOT_S, list[tuple[int, int]]()
        for slot, total in zip(self._slots, self._totals, strict=True):
            is_old = slot < now - FINE_SLOTS
            # An old slot stands at its end, so that its calls are counted for rather too long.
            moved = (slot // coarse + 1) * coarse - 1 if is_old else slot
            if kept and kept[-1][0] >= moved:
                kept[-1] = (kept[-1][0], total)
            else:
                kept.append((moved, total))
        while len(kept) > 1 and kept[1][0] < now - DAY_SLOTS:
            del kept[0]
        self._slots = array("q", [slot for slot, _ in kept])
        self._totals = array("q", [total for _, total in kept])


class Counts:
    """Counters by what they count.  The longest idle are dropped when there are too many."""

    def __init__(self) -> None:
        self._counters: OrderedDict[Key, Counter] = OrderedDict()

    def add(
        self, tenant: str, accounts: Iterable[str], action: str, resource: str, second: int
    ) -> None:
        slot, counters = second // SLOT_S, self._counters
        for account in accounts:
            key = (tenant, account, action, resource)
            counter = counters.get(key)
            if counter is None:
                counter = counters[key] = Counter()
                if len(counters) > COUNTERS_MAX:
                    counters.popitem(last=False)
            counter.add(slot)

    def within(
        self, tenant: str, account: str, action: str, resource: str, second: int, window_s: int
    ) -> int:
        counter = self._counters.get((tenant, account, action, resource))
        return counter.within(second // SLOT_S, window_s) if counter is not None else 0

    def forget(self, tenant: str) -> None:
        for key in [key for key in self._counters if key[0] == tenant]:
            del self._counters[key]

    def state(self) -> list[CounterState]:
        return [counter.state(key) for key, counter in self._counters.items()]

    def restore(self, states: Iterable[CounterState]) -> None:
        for state in states:
            self._counters[state.key] = Counter(state.slots, state.totals)
