"""Who runs next, and where.  A synchronous core: it knows no clock, no tasks and no tokens.

Whoever drives it, the kernel or a benchmark in virtual time, does this:

    scheduler = Scheduler(SchedulerConfig())
    scheduler.on_grant = lambda work, grant: ...      # start it on grant.engine
    scheduler.on_order = lambda order: ...            # an engine that `moves_contexts`: do it
    scheduler.on_yield = lambda work: ...             # an engine that `continues`: ask it to stop
    scheduler.attach("gpu0", capacity)
    scheduler.enter(work, now_s)                      # `on_grant` comes now or later, once
    scheduler.leave(work, now_s, Used(...))           # done, failed, cancelled while it waited, ...
    scheduler.end(program, now_s)                     # nothing more will come of it
    scheduler.wake(now_s)                             # no later than at `next_s()`: one timer

Callbacks come from inside `enter`, `leave`, `detach` and `wake`; they must not call back in, but
for starting something that does so later.  `now_s` never goes back.  A call that was preempted
leaves with `preempted=True` and enters again as it is (the same `Work`, more `input_tokens`).

Invariants:
1. an engine never runs more calls than it has seats;
2. no seat is free while a call waits that could take it, but for seats kept for interactive calls
   and for memory that is kept for programs that will be back;
3. whatever enters leaves, and gives back what it held;
4. a call that waits is let on after a bounded number of others (policies that are `patient`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from orlop.abi.errors import Exhausted
from orlop.abi.hints import LatencyClass
from orlop.abi.limits import LOOK_AHEAD, PROGRAMS_KNOWN_MAX
from orlop.devices.device import Capacity, EngineLoad, Holdings
from orlop.sched import placement
from orlop.sched.config import SchedulerConfig
from orlop.sched.gaps import Gaps
from orlop.sched.gate import Gate
from orlop.sched.history import History
from orlop.sched.line import Line, Pool
from orlop.sched.placement import Choice
from orlop.sched.places import Places
from orlop.sched.policy import POLICIES
from orlop.sched.preemption import Preemption
from orlop.sched.program import Context, Program, ProgramTable
from orlop.sched.residency import Shelf
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom, first_impatient
from orlop.sched.work import UNKNOWN, Grant, Order, Phase, Used, Work

__all__ = ["Scheduler", "SchedulerConfig"]

PROMOTE_EVERY: Final = 16
"""Of the grants while somebody has waited too long, one in so many is his."""

EVIDENCE: Final = 8
"""Calls that an engine has served before its pace is held against a deadline."""

RESERVED_FOR_S: Final = 60.0
"""After the last interactive call an engine's reserved seats are for all."""


def _ignore_grant(work: Work, grant: Grant) -> None: ...


class Scheduler:
    def __init__(self, config: SchedulerConfig) -> None:
        self.config = config
        self.policy = POLICIES[config.policy]
        self.on_grant: Callable[[Work, Grant], None] = _ignore_grant
        self.programs = ProgramTable(PROGRAMS_KNOWN_MAX)
        self.gaps = Gaps()
        self.history = History()
        self.stations: dict[str, Station] = {}
        self.waiting = WaitingRoom(config, self.history, self.stations)
        self.places = Places(config, self.gaps, self.programs, self.stations)
        self.preemption = Preemption(config, self.waiting)
        self.grants = self.refused = self.promoted = 0
        self._now_s = -math.inf
        """Of the last `wake`: what was due by then has been looked at."""
        self._room_s = math.inf
        """When places that fade may make room for a call that waits for it."""

    @property
    def on_order(self) -> Callable[[Order], None]:
        return self.places.on_order

    @on_order.setter
    def on_order(self, act: Callable[[Order], None]) -> None:
        self.places.on_order = act

    @property
    def on_yield(self) -> Callable[[Work], None]:
        return self.preemption.on_yield

    @on_yield.setter
    def on_yield(self, act: Callable[[Work], None]) -> None:
        self.preemption.on_yield = act

    # Engines.

    def attach(self, name: str, capacity: Capacity) -> None:
        """An engine (or a tool) is there, or is there again, or has changed: `next_s` is now."""
        station = self.stations.get(name)
        if station is None:
            shelf = Shelf(name, capacity, self.config.fade_s)
            self.stations[name] = Station(name, capacity, Gate(capacity), shelf)
            return
        station.attached = True
        self._room_s = -math.inf
        if station.capacity != capacity:
            station.capacity = capacity
            station.gate.change(capacity)
            station.shelf.change(capacity)

    update = attach

    def detach(self, name: str, now_s: float) -> None:
        """It is lost, with every context on it.  What only it can serve goes there still, and is
        told so by its driver; the rest goes elsewhere."""
        station = self.stations.get(name)
        if station is None or not station.attached:
            return
        station.attached = False
        station.shelf.lose(now_s)
        for other in sorted({other for pool in station.pools for other in pool.engines}):
            self._let_on(self.stations[other], now_s)

    def heard(self, name: str, load: EngineLoad, now_s: float) -> None:
        """What an engine says of itself."""
        if (station := self.stations.get(name)) is not None:
            station.gate.heard(load, now_s)

    def told(self, name: str, holdings: Holdings, now_s: float) -> None:
        """What an engine says that it holds."""
        if (station := self.stations.get(name)) is not None:
            self.places.told(station, holdings, now_s)

    def load(self, name: str) -> tuple[int, int]:
        """Calls running and calls waiting."""
        station = self.stations.get(name)
        return (station.gate.running, station.waiting) if station is not None else (0, 0)

    # Calls.

    def enter(self, work: Work, now_s: float) -> None:
        """Let it on, or let it wait.  Raises `Exhausted`; then nothing has changed."""
        pool = self.waiting.pool(work.candidates)
        self._require_place(work, pool, now_s)
        # From here on nothing can fail.
        context = self.programs.take(work, now_s)
        self._describe(work, context)
        self.places.back(context, now_s)
        self._forget(context.program, now_s)
        stations = self.waiting.stations(pool)
        if work.latency_class == "interactive":
            for station in stations:
                station.interactive_s = now_s
        if not any(station.is_wanted for station in stations):
            choice = self._choice(work, context, stations, now_s)
            if choice is not None:
                self._grant(work, context, choice, now_s)
                return
        if self.waiting.add(work, context):
            for station in stations:
                self._let_on(station, now_s)
        if work.phase is Phase.WAITING:
            self.preemption.ask(work, stations, now_s)

    def leave(self, work: Work, now_s: float, used: Used = UNKNOWN) -> None:
        """Give back what it held: its place in the queue, or its seat."""
        if work.phase is Phase.WAITING:
            context = self._context(work)
            self.waiting.remove(work, context)
            stations: Sequence[Station] = self.waiting.stations(self.waiting.pool(work.candidates))
        elif work.phase is Phase.RUNNING and work.grant is not None:
            context = self._context(work)
            station = self.stations[work.grant.engine]
            self._account(work, context, station, now_s, used)
            home = self.stations.get(context.engine, station)
            stations = [station] if home is station else [station, home]
            stations += self.waiting.beside(station)
        else:
            return
        work.phase = Phase.OVER
        if work.is_model_call:
            self.places.rest(work, context, now_s, used, self._pressure(stations[0], now_s))
        for station in stations:
            self.places.squeeze(station, now_s)
            self._let_on(station, now_s)
        if context.program.is_ended and context.program.is_idle:
            self._bury(context.program, now_s)

    def end(self, name: str, now_s: float) -> None:
        """A program has ended well: its places are free, and its work is remembered."""
        program = self.programs.get(name)
        if program is not None and not program.is_ended:
            program.is_ended = True
            if program.is_idle:
                self._bury(program, now_s)

    def wake(self, now_s: float) -> None:
        """Time has passed: places have faded, calls have run out of patience or of their slice."""
        self._room_s, self._now_s = math.inf, now_s
        self.places.hibernate(now_s)
        for pool in self.waiting.crowded():
            for station in self.waiting.stations(pool):
                self._let_on(station, now_s)
                if self.policy.slices:
                    self.preemption.slice(station, now_s)

    def next_s(self) -> float:
        """When time alone could change a decision; infinite if never."""
        next_s = self.places.next_s()
        if not self.waiting:
            return next_s
        next_s = min(next_s, self._room_s)
        for pool in self.waiting.crowded():
            stations = self.waiting.stations(pool)
            if any(station.gate.has_seat() for station in stations):
                next_s = min(next_s, pool.impatient_s(self._now_s))
            if self.policy.slices:
                ends = (self.preemption.slice_s(work, s) for s in stations for work in s.running)
                next_s = min(next_s, min(ends, default=math.inf))
        return next_s

    # Entering.

    def forecast(self, work: Work, now_s: float) -> tuple[float, float] | None:
        """Seconds to the first token if it came now, and of each token; None: not known yet."""
        pool = self.waiting.pool(work.candidates)
        stations, ahead = self.waiting.stations(pool), self.waiting.ahead(work, pool)
        if not all(station.counts.calls >= EVIDENCE for station in stations):
            return None
        found = list[tuple[float, float]]()
        for station in stations:
            first_s, token_s = station.forecast_s(work.input_tokens, work.tokens)
            found.append((placement.wait_s(station, ahead) + first_s, token_s))
        return min(found, key=lambda one: one[0] + work.output_tokens * one[1])

    def wait_s(self, name: str, latency_class: LatencyClass) -> float:
        """Until a call that came now would have a seat there, as far as calls have shown; 0 where
        they have not."""
        station = self.stations.get(name)
        if station is None or station.counts.calls < EVIDENCE:
            return 0.0
        ahead = sum(self.waiting.in_band(latency_class, pool) for pool in station.pools)
        return placement.wait_s(station, ahead)

    def _require_place(self, work: Work, pool: Pool, now_s: float) -> None:
        """Raises `Exhausted` where it can't wait, or would wait for longer than it may."""
        if work.preemptions:
            return  # It was let on once already.
        if work.is_hard and work.least_tokens:
            self._require_time(work, now_s)
        if not pool.waiting:
            return
        names, stations = ", ".join(pool.engines), self.waiting.stations(pool)
        ahead = self.waiting.ahead(work, pool)
        wait_s = min(placement.wait_s(station, ahead) for station in stations) / len(stations)
        if pool.waiting >= self.config.waiting_max:
            self.refused += 1
            raise Exhausted(
                f"{pool.waiting} calls wait for {names} already (waiting_max)",
                retry_after_s=max(1.0, wait_s),
            )
        first_s = wait_s + min(one.isolated_s(work.input_tokens, 0, 0) for one in stations)
        left_s = work.deadline_s - now_s
        known = all(station.counts.calls >= EVIDENCE for station in stations)
        if work.is_hard and known and first_s > left_s:
            self.refused += 1
            raise Exhausted(
                f"its first token would come in {first_s:.1f} s, after its deadline of "
                f"{left_s:.1f} s: {ahead} calls wait before it for {names}",
                retry_after_s=max(1.0, first_s - left_s),
            )

    def _require_time(self, work: Work, now_s: float) -> None:
        """Raises `Exhausted` where its first token could come in time, and its last one can't."""
        found, left_s = self.forecast(work, now_s), work.deadline_s - now_s
        if found is None:
            return
        first_s, token_s = found
        last_s = first_s + work.least_tokens * token_s
        if first_s <= left_s < last_s:
            self.refused += 1
            raise Exhausted(
                f"an answer of {work.least_tokens} tokens would end in {last_s:.1f} s, after its "
                f"deadline of {left_s:.1f} s",
                retry_after_s=max(1.0, first_s),
            )

    def _describe(self, work: Work, context: Context) -> None:
        """What it will take, from what is known of its context."""
        program = context.program
        work.order = self.programs.next_order()
        context.head, context.head_tokens = work.head, min(work.head_tokens, work.input_tokens)
        work.grant, work.is_promoted = None, False
        home = self.stations.get(context.engine) or self.stations[work.candidates[0]]
        cached = min(context.tokens, work.input_tokens)
        work.isolated_s = home.isolated_s(work.input_tokens, cached, work.output_tokens)
        siblings = program.running - context.running
        work.path_s = context.path_s if siblings else program.attained_s
        if program.calls == 0:
            program.predicted_s = self.history.remaining_s(program.agent, 0.0)
        program.calls += 1

    # Choosing.

    def _choice(
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
        choice = placement.best(work, context, stations)
        return choice if choice.station in free else None

    def _fits(self, work: Work, context: Context, station: Station, now_s: float) -> bool:
        gate = station.gate
        if not self._has_seat(work, station, now_s) or not gate.has_room(work):
            return False
        if work.is_promoted or not gate.running:
            return True  # It has waited for too long; or an engine would idle, and serve nobody.
        if not work.is_model_call:
            return True
        shelf, limit = station.shelf, self.config.admit_to
        if context.engine == station.name:
            own = shelf.counted(context, work.head, now_s)
        else:
            own = shelf.shared(work.head, now_s)
        if shelf.has_room(work.tokens, own, limit, now_s):
            return True
        room_s = shelf.room_at_s(work.tokens, own, limit, now_s)
        self._room_s = min(self._room_s, room_s)
        return False

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

    def _let_on(self, station: Station, now_s: float) -> None:
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
            if self._is_here(overdue, station):
                return False  # It does not fit yet: the engine makes room, nobody is let on.
        return self._try_in_order(station, now_s)

    def _is_here(self, work: Work, station: Station) -> bool:
        """Whether this is the engine on which it should run."""
        stations = self.waiting.stations_of(work)
        return placement.best(work, self._context(work), stations).station is station

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
            context = self._context(work)
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
            self.waiting.put_back(work, line, self._context(work).program)
        return found

    def _try(self, work: Work, station: Station, now_s: float) -> bool:
        context = self._context(work)
        return self._fits(work, context, station, now_s) and self._take(work, context, now_s)

    def _take(self, work: Work, context: Context, now_s: float) -> bool:
        """Let it on where it should run, if it can now."""
        choice = self._choice(work, context, self.waiting.stations_of(work), now_s)
        if choice is None:
            return False
        self.waiting.remove(work, context)
        self._grant(work, context, choice, now_s)
        return True

    def _grant(self, work: Work, context: Context, choice: Choice, now_s: float) -> None:
        station, program, home = choice.station, context.program, context.engine
        if work.is_model_call:
            self.places.take(work, context, station, now_s)
            context.running += 1
        station.gate.take(work)
        station.running[work] = None
        work.phase, work.granted_s = Phase.RUNNING, now_s
        program.running += 1
        program.running_s += work.isolated_s
        program.waited_s += now_s - work.arrived_s
        program.owed_s = 0.0 if work.is_promoted else program.owed_s + now_s - work.arrived_s
        self.waiting.charge(work, work.tokens * work.isolated_s, 1)
        program.refresh()
        self.grants += 1
        station.grants += 1
        urgency = self.waiting.band(work.latency_class)
        work.grant = Grant(
            engine=station.name,
            why=choice.why,
            cached_tokens=choice.cached_tokens,
            urgency=urgency,
        )
        self.on_grant(work, work.grant)
        if home != context.engine and home in self.stations:
            self._let_on(self.stations[home], now_s)  # The context has left room there.

    # Ending.

    def _account(
        self, work: Work, context: Context, station: Station, now_s: float, used: Used
    ) -> None:
        """Seat and memory are free again, and what the call took is known."""
        program, held_s = context.program, now_s - work.granted_s
        if station.counts.cached_tokens or used.cached_tokens:
            known = min(context.tokens, used.input_tokens)
            station.counts.wasted_tokens += max(0, known - used.cached_tokens)
        took_s = station.service_s(used) if used.input_tokens or used.output_tokens else 0.0
        station.observe(used, held_s)
        station.gate.give(work)
        del station.running[work]
        station.yielding.discard(work)
        program.running -= 1
        program.running_s = max(0.0, program.running_s - work.isolated_s) if program.running else 0
        program.work_s += took_s
        program.isolated_s += work.isolated_s
        context.path_s = max(context.path_s, work.path_s + took_s)
        program.attained_s = max(program.attained_s, context.path_s)
        if work.is_model_call:
            context.running -= 1
        tokens = used.input_tokens + used.output_tokens
        charged = tokens * held_s if tokens else 0.0
        self.waiting.charge(work, charged - work.tokens * work.isolated_s, -1)
        program.refresh()

    def _bury(self, program: Program, now_s: float) -> None:
        if program.work_s > 0:
            self.history.ended(program.agent, program.work_s, program.predicted_s)
        self.places.bury(program, now_s)

    def _forget(self, program: Program, now_s: float) -> None:
        """Neither programs nor their conversations without end."""
        self.places.thin(program, now_s)
        while (overdue := self.programs.overdue()) is not None:
            self.places.bury(overdue, now_s)

    def _pressure(self, station: Station, now_s: float) -> float:
        """How much others want the room on an engine, 0 to 1."""
        if station.is_wanted:
            return 1.0
        kv_tokens = station.capacity.kv_tokens
        return min(1.0, station.shelf.device_tokens / kv_tokens) if kv_tokens else 0.0

    def _context(self, work: Work) -> Context:
        return self.programs.context(work)
