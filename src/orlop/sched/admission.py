"""Who is let on, and where: the decision that everything else is made for.

Invariant: no seat is free while a call waits that could take it, but for seats kept for interactive
calls, for memory that is kept for programs that will be back, and for the time until a prompt has
been read: what waits in an engine for that can't be put into another order any more.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Final

from orlop.abi.limits import LOOK_AHEAD
from orlop.sched import placement
from orlop.sched.books import Books
from orlop.sched.config import SchedulerConfig
from orlop.sched.line import Ahead
from orlop.sched.opening import Opening
from orlop.sched.placement import Choice
from orlop.sched.places import Places
from orlop.sched.program import Context, ProgramTable
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom, first_impatient
from orlop.sched.work import Grant, Work

PROMOTE_EVERY: Final = 16
"""Of the grants while somebody has waited too long, one in so many is his."""


def _ignore_grant(work: Work, grant: Grant) -> None: ...


class Admission:
    """`promoted`: calls that were let on before their turn.  `room_s`: when places that fade may
    make room for a call that waits for it, or prompts will have been read."""

    def __init__(
        self,
        config: SchedulerConfig,
        programs: ProgramTable,
        stations: dict[str, Station],
        waiting: WaitingRoom,
        places: Places,
        books: Books,
    ) -> None:
        self.on_grant: Callable[[Work, Grant], None] = _ignore_grant
        self.promoted = 0
        self.room_s = math.inf
        self.config = config
        self.programs = programs
        self.stations = stations
        self.waiting = waiting
        self.places = places
        self.books = books

    def choice(
        self, work: Work, context: Context, stations: Sequence[Station], now_s: float
    ) -> Choice | None:
        """Where it should run now; None if nowhere, or if waiting for another engine is better."""
        free = [one for one in stations if self._fits(work, context, one, now_s)]
        if not free:
            return None
        for station in stations:
            station.shelf.expire(now_s)
        if len(stations) == 1:
            return placement.only(work, context, stations[0])
        choice = placement.best(work, context, stations, now_s)
        return choice if choice.station in free else None

    def _fits(self, work: Work, context: Context, station: Station, now_s: float) -> bool:
        opening = Opening(station, self.config, now_s)
        fits = opening.takes(work, context)
        self.room_s = min(self.room_s, opening.room_s)
        return fits

    def let_on(self, station: Station, now_s: float) -> None:
        """Fill its seats."""
        while station.gate.has_seat() and station.is_wanted:
            if not self._let_one_on(station, now_s):
                return

    def _let_one_on(self, station: Station, now_s: float) -> bool:
        overdue = None
        if station.grants % PROMOTE_EVERY == 0:
            overdue = first_impatient(station.pools, now_s)
        if overdue is not None and Opening(station, self.config, now_s).has_seat(overdue):
            self.promoted += not overdue.is_promoted
            overdue.is_promoted = True
            if self._try(overdue, station, now_s):
                return True
            if self._is_here(overdue, station, now_s):
                return False  # It does not fit yet: the engine makes room, nobody is let on.
        return self._try_in_order(station, now_s)

    def _is_here(self, work: Work, station: Station, now_s: float) -> bool:
        """Whether this is the engine on which it should run."""
        stations = self.waiting.stations_of(work)
        choice = placement.best(work, self.programs.context(work), stations, now_s)
        return choice.station is station

    def _try_in_order(self, station: Station, now_s: float) -> bool:
        """Let the first on that fits; in a better band than his nobody waits for memory."""
        opening = Opening(station, self.config, now_s)
        unfit, band = 0, math.inf
        found = False
        for _, line, work, program in self._in_order(station):
            if unfit == line.policy.look_ahead or line.band > band:
                break
            if opening.must_wait_to_read(work):
                break  # And so must all behind it.
            context = program.context(work)
            if not opening.takes(work, context):
                unfit, band = unfit + 1, line.band
            elif self._take(work, context, now_s):
                found = True
                break
            # Else it fits, and waits for another engine.
        self.room_s = min(self.room_s, opening.room_s)
        return found

    def _in_order(self, station: Station) -> Iterator[Ahead]:
        """The first of those who wait for it."""
        lines = [
            line.ahead(LOOK_AHEAD)
            for pool in station.pools
            if pool.waiting and station in self.waiting.stations(pool)
            for line in pool.lines.values()
            if line.count
        ]
        calls = lines[0] if len(lines) == 1 else merge(*lines, key=itemgetter(0))
        return islice(calls, LOOK_AHEAD)

    def _try(self, work: Work, station: Station, now_s: float) -> bool:
        context = self.programs.context(work)
        return self._fits(work, context, station, now_s) and self._take(work, context, now_s)

    def _take(self, work: Work, context: Context, now_s: float) -> bool:
        """Let it on where it should run, if it can now."""
        choice = self.choice(work, context, self.waiting.stations_of(work), now_s)
        if choice is None:
            return False
        self.waiting.remove(work, context)
        self.grant(work, context, choice, now_s)
        return True

    def grant(self, work: Work, context: Context, choice: Choice, now_s: float) -> None:
        """Let it on there; it waits nowhere any more."""
        station, home = choice.station, context.engine
        if work.is_model_call:
            self.places.take(work, context, station, now_s)
            station.reads(work, choice.cached_tokens, now_s)
        self.books.begin(work, context, station, now_s)
        work.grant = Grant(
            engine=station.name,
            why=choice.why,
            cached_tokens=choice.cached_tokens,
            urgency=self.waiting.band(work.latency_class),
        )
        self.on_grant(work, work.grant)
        if home != context.engine and home in self.stations:
            self.let_on(self.stations[home], now_s)  # The context has left room there.
