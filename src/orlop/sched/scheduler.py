"""Who runs next, and where.  A synchronous core: it knows no clock, no tasks and no tokens.

Whoever drives it, the kernel or a benchmark in virtual time, does this:

    scheduler = Scheduler(SchedulerConfig())
    scheduler.on_grant = lambda work, grant: ...      # start it on grant.engine
    scheduler.on_order = lambda order: ...            # an engine that `moves_contexts`: do it
    scheduler.on_yield = lambda work: ...             # an engine that `continues`: ask it to stop
    scheduler.attach("gpu0", capacity)
    scheduler.enter(work, now_s)                      # `on_grant` comes now or later, once
    scheduler.offer(work, candidates, now_s)          # other engines can serve it now
    scheduler.leave(work, now_s, Used(...))           # done, failed, cancelled while it waited, ...
    scheduler.end(program, now_s)                     # nothing more will come of it
    scheduler.wake(now_s)                             # no later than at `next_s()`: one timer

Callbacks come from inside `enter`, `leave`, `detach` and `wake`; they must not call back in, but
for starting something that does so later.  `now_s` never goes back.  A call that was preempted
leaves with `preempted=True` and enters again as it is (the same `Work`, more `input_tokens`).

Invariants:
1. an engine never runs more calls than it has seats;
2. no seat is free while a call waits that could take it, but for seats kept for interactive calls,
   for memory that is kept for programs that will be back, and until a prompt has been read;
3. whatever enters leaves, and gives back what it held;
4. a call that waits is let on after a bounded number of others (policies that are `patient`).
"""

import math
from collections.abc import Callable, Sequence

from orlop.abi.limits import PROGRAMS_KNOWN_MAX
from orlop.devices.device import Capacity, EngineLoad, Holdings
from orlop.sched.admission import Admission
from orlop.sched.books import Books
from orlop.sched.config import SchedulerConfig
from orlop.sched.forecast import Forecasts
from orlop.sched.gaps import Gaps
from orlop.sched.gate import Gate
from orlop.sched.history import History
from orlop.sched.places import Places
from orlop.sched.policy import POLICIES
from orlop.sched.preemption import Preemption
from orlop.sched.program import ProgramTable
from orlop.sched.residency import Shelf
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom
from orlop.sched.work import UNKNOWN, Grant, Order, Phase, Used, Work

__all__ = ["Scheduler", "SchedulerConfig"]


class Scheduler:
    def __init__(self, config: SchedulerConfig, history: History | None = None) -> None:
        """history: of programs that have run before; None: nothing is known."""
        self.config = config
        self.policy = POLICIES[config.policy]
        self.programs = ProgramTable(PROGRAMS_KNOWN_MAX)
        self.gaps = Gaps()
        self.history = history or History()
        self.stations: dict[str, Station] = {}
        self.waiting = WaitingRoom(config, self.history, self.stations)
        self.places = Places(config, self.gaps, self.programs, self.stations)
        self.preemption = Preemption(config, self.waiting)
        self.forecasts = Forecasts(config, self.waiting, self.stations)
        self.books = Books(self.programs, self.history, self.stations, self.waiting, self.places)
        self.admission = Admission(
            config, self.programs, self.stations, self.waiting, self.places, self.books
        )
        self._now_s = -math.inf
        """Of the last `wake`: what was due by then has been looked at."""

    @property
    def on_grant(self) -> Callable[[Work, Grant], None]:
        return self.admission.on_grant

    @on_grant.setter
    def on_grant(self, act: Callable[[Work, Grant], None]) -> None:
        self.admission.on_grant = act

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
        self.admission.room_s = -math.inf
        if station.capacity != capacity:
            station.capacity = capacity
            station.gate.change(capacity)
            station.shelf.change(capacity)

    def detach(self, name: str, now_s: float) -> None:
        """It is lost, with every context on it.  What only it can serve goes there still, and is
        told so by its driver; the rest goes elsewhere."""
        station = self.stations.get(name)
        if station is None or not station.attached:
            return
        station.attached = False
        station.shelf.lose(now_s)
        for other in sorted({other for pool in station.pools for other in pool.engines}):
            self.admission.let_on(self.stations[other], now_s)

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
        self.forecasts.require_place(work, pool, now_s)
        # From here on nothing can fail.
        context = self.programs.take(work, now_s)
        self.books.describe(work, context)
        self.places.back(context, now_s)
        self.books.thin(context.program, now_s)
        stations = self.waiting.stations(pool)
        if work.latency_class == "interactive":
            for station in stations:
                station.interactive_s = now_s
        if not any(station.is_wanted for station in stations):
            choice = self.admission.choice(work, context, stations, now_s)
            if choice is not None:
                self.admission.grant(work, context, choice, now_s)
                return
        if self.waiting.add(work, context):
            for station in stations:
                self.admission.let_on(station, now_s)
        if work.phase is Phase.WAITING:
            self.preemption.ask(work, stations, now_s)

    def offer(self, work: Work, candidates: tuple[str, ...], now_s: float) -> None:
        """Other engines can serve a call that waits, or some can't any more: it is placed anew, and
        keeps its place in the order of arrival."""
        if work.phase is not Phase.WAITING or candidates == work.candidates:
            return
        before = self.waiting.stations_of(work)
        context = self.programs.context(work)
        if not self.waiting.move(work, context, candidates):
            return
        stations = self.waiting.stations_of(work)
        if work.latency_class == "interactive":
            for station in stations:
                station.interactive_s = now_s
        for station in [*stations, *(one for one in before if one not in stations)]:
            self.admission.let_on(station, now_s)
        if work.phase is Phase.WAITING:
            self.preemption.ask(work, stations, now_s)

    def leave(self, work: Work, now_s: float, used: Used = UNKNOWN) -> None:
        """Give back what it held: its place in the queue, or its seat."""
        if work.phase is Phase.WAITING:
            context = self.programs.context(work)
            self.waiting.remove(work, context)
            stations: Sequence[Station] = self.waiting.stations(self.waiting.pool(work.candidates))
        elif work.phase is Phase.RUNNING and work.grant is not None:
            context = self.programs.context(work)
            station = self.stations[work.grant.engine]
            self.books.over(work, context, station, now_s, used)
            home = self.stations.get(context.engine, station)
            stations = [station] if home is station else [station, home]
            stations += self.waiting.beside(station)
        else:
            return
        work.phase = Phase.OVER
        if work.is_model_call:
            self.places.rest(work, context, now_s, used, self._pressure(stations[0]))
        for station in stations:
            self.places.squeeze(station, now_s)
            self.admission.let_on(station, now_s)
        if context.program.is_ended and context.program.is_idle:
            self.books.bury(context.program, now_s)

    def end(self, name: str, now_s: float) -> None:
        """A program has ended well: its places are free, and its work is remembered."""
        program = self.programs.get(name)
        if program is not None and not program.is_ended:
            program.is_ended = True
            if program.is_idle:
                self.books.bury(program, now_s)

    def wake(self, now_s: float) -> None:
        """Time has passed: places have faded, calls have run out of patience or of their slice."""
        self.admission.room_s, self._now_s = math.inf, now_s
        self.places.hibernate(now_s)
        for pool in self.waiting.crowded():
            for station in self.waiting.stations(pool):
                self.admission.let_on(station, now_s)
                if self.policy.slices:
                    self.preemption.slice(station, now_s)

    def next_s(self) -> float:
        """When time alone could change a decision; infinite if never."""
        next_s = self.places.next_s()
        if not self.waiting:
            return next_s
        next_s = min(next_s, self.admission.room_s)
        for pool in self.waiting.crowded():
            stations = self.waiting.stations(pool)
            if any(station.gate.has_seat() for station in stations):
                next_s = min(next_s, pool.impatient_s(self._now_s))
            if self.policy.slices:
                ends = (self.preemption.slice_s(work, s) for s in stations for work in s.running)
                next_s = min(next_s, min(ends, default=math.inf))
        return next_s

    def _pressure(self, station: Station) -> float:
        """How much others want the room on an engine, 0 to 1."""
        if station.is_wanted:
            return 1.0
        kv_tokens = station.capacity.kv_tokens
        return min(1.0, station.shelf.device_tokens / kv_tokens) if kv_tokens else 0.0
