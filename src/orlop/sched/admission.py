"""Who is let on, and where: the decision that everything else is made for.

Invariant: no seat is free while a call waits that could take it, but for seats kept for interactive
calls, for memory that is kept for programs that will be back, and for the time until a prompt has
been read: what waits in an engine for that can't be put into another order any more.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from orlop.abi.limits import LOOK_AHEAD
from orlop.sched import placement
from orlop.sched.books import Books
from orlop.sched.config import SchedulerConfig
from orlop.sched.line import Line
from orlop.sched.placement import Choice
from orlop.sched.places import Places
from orlop.sched.program import Context, ProgramTable
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom, first_impatient
from orlop.sched.work import Grant, Work

PROMOTE_EVERY: Final = 16
"""Of the grants while somebody has waited too long, one in so many is his."""

READ_AHEAD_S: Final = 0.05
"""Of prompts that are on an engine and not yet read: so much is there for it to go on with."""

RESERVED_FOR_S: Final = 60.0
"""After the last interactive call an engine's reserved seats are for all."""


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
        gate = station.gate
        if not self._has_seat(work, station, now_s) or not gate.has_room(work):
            return False
        if work.is_promoted or not gate.running:
            return True  # It has waited for too long; or an engine would idle, and serve nobody.
        if not work.is_model_call:
            return True
        if self._must_wait_to_read(work, station, now_s):
            return False
        shelf, limit = station.shelf, self.config.admit_to
        if context.engine == station.name:
            own = shelf.counted(context, work.head, now_s)
        else:
            own = shelf.shared(work.head, now_s)
        if shelf.has_room(work.tokens, own, limit, now_s):
            return True
        room_s = shelf.room_at_s(work.tokens, own, limit, now_s)
        self.room_s = min(self.room_s, room_s)
        return False

    def _must_wait_to_read(self, work: Work, station: Station, now_s: float) -> bool:
        """Its prompt would only wait in the engine for others', or hold up answers."""
        if work.latency_class == "interactive" or work.is_promoted or not work.is_model_call:
            return False
        running = station.gate.running
        if not running:
            return False
        if running >= station.useful:
            return True
        read_s = station.read_s - READ_AHEAD_S
        if now_s >= read_s:
            return False
        self.room_s = min(self.room_s, read_s)
        return True

    def _has_seat(self, work: Work, station: Station, now_s: float) -> bool:
        """One that it may have: those that are kept are not even for who has waited too long."""
        gate = station.gate
        if work.latency_class == "interactive" or not gate.running:
            return gate.has_seat()
        return gate.has_seat(self._spare(station, now_s))

    def _spare(self, station: Station, now_s: float) -> int:
        """Seats to keep for interactive calls; never the only one."""
        if now_s - station.interactive_s > RESERVED_FOR_S:
            return 0
        return min(station.gate.seats - 1, math.ceil(station.gate.seats * self.config.reserved))

    def let_on(self, station: Station, now_s: float) -> None:
        """Fill its seats."""
        while station.gate.has_seat() and station.is_wanted:
            if not self._let_one_on(station, now_s):
                return

    def _let_one_on(self, station: Station, now_s: float) -> bool:
        overdue = None
        if station.grants % PROMOTE_EVERY == 0:
            overdue = first_impatient(station.pools, now_s)
        if overdue is not None and self._has_seat(overdue, station, now_s):
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
        lines = [
            line
            for pool in station.pools
            if pool.waiting and station in self.waiting.stations(pool)
            for line in pool.lines.values()
            if line.count
        ]
        aside: list[tuple[Line, Work]] = []
        found = False
        unfit, band = 0, math.inf
        while lines and unfit < lines[0].policy.look_ahead and len(aside) < LOOK_AHEAD:
            line = lines[0] if len(lines) == 1 else min(lines, key=Line.head_key)
            if line.band > band:
                break
            work = line.first()
            if self._must_wait_to_read(work, station, now_s):
                break  # And so must all behind it.
            context = self.programs.context(work)
            if not self._fits(work, context, station, now_s):
                unfit, band = unfit + 1, min(band, line.band)
            elif self._take(work, context, now_s):
                found = True
                break
            # Else it fits, and waits for another engine.
            line.remove(work, context.program)
            aside.append((line, work))
            lines = [one for one in lines if one.count]
        for line, work in reversed(aside):
            self.waiting.put_back(work, line, self.programs.context(work).program)
        return found

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
