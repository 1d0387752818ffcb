"""Contexts on engines: who takes a place, who rests on it, who loses it.

The only file that gives orders to engines that `moves_contexts`.  Others keep what was used last by
themselves; of those, the same bookkeeping is a belief, and it says whom to admit.

Losing an engine, or a wrong belief, makes a call slower, never wrong: a context that is not there
is computed again.
"""

import math
from collections import OrderedDict
from collections.abc import Callable

from orlop.abi.limits import CONTEXTS_PER_PROGRAM_MAX
from orlop.devices.device import Holdings
from orlop.sched.config import SchedulerConfig
from orlop.sched.gaps import PRIORS, Gap, Gaps
from orlop.sched.program import Context, Program, ProgramTable, State
from orlop.sched.residency import Fate, fate
from orlop.sched.station import Station
from orlop.sched.work import Order, Used, Work


def _ignore(order: Order) -> None: ...


class Places:
    def __init__(
        self,
        config: SchedulerConfig,
        gaps: Gaps,
        programs: ProgramTable,
        stations: dict[str, Station],
    ) -> None:
        self.on_order: Callable[[Order], None] = _ignore
        self.paused = 0
        """Contexts that have lost their place, in all."""
        self._config = config
        self._gaps = gaps
        self._programs = programs
        self._stations = stations
        self._resting: OrderedDict[Context, float] = OrderedDict()
        """When each will have been away for too long, the soonest first."""

    def back(self, context: Context, now_s: float) -> None:
        """Its program is back from its tool: how long it took is learned."""
        if context.is_away:
            self._gaps.of(context.tool).observe(now_s - context.rested_s)
            context.is_away = False

    def take(self, work: Work, context: Context, station: Station, now_s: float) -> None:
        """A call of the context begins on `station`."""
        if context.engine != station.name and context.running == 0:
            self._leave(context, now_s)
            context.engine = station.name
        if context.engine == station.name:
            station.shelf.use(context, max(work.tokens, context.held_now), now_s)
            if station.capacity.moves_contexts:  # What was ordered before is not wanted any more.
                self._tell(station, context, "keep", "it is in use")
        self._lay(station, context, work.tokens, now_s)

    def rest(self, work: Work, context: Context, now_s: float, used: Used, pressure: float) -> None:
        """A call of the context is over, or has stopped waiting.

        pressure: 0 to 1, how much others want the room.
        """
        if used.input_tokens or used.output_tokens:
            context.tokens = used.input_tokens + used.output_tokens
            if context.engine and not used.lost:
                self._lay(self._stations[context.engine], context, context.tokens, now_s)
        if context.running or context.state is not State.REASONING:
            return
        station = self._stations[context.engine]
        station.shelf.rest(context, now_s)
        context.rested_s, context.tool, context.gap_hint_s = now_s, used.tool, work.tool_gap_s
        context.is_away = not (used.preempted or used.lost or context.waiting)
        self._resting[context] = now_s + self._config.hibernate_s
        self._resting.move_to_end(context)
        if used.lost or not station.attached:
            station.shelf.move(context, "drop")
            self._pause(station, context, now_s)
        elif used.preempted:
            return
        elif station.capacity.moves_contexts:
            wanted = self._fate(station, context, pressure)
            self._order(station, context, wanted, "least expected waste", now_s)
        elif not station.capacity.prefix_cache:
            station.shelf.move(context, "drop")

    def squeeze(self, station: Station, now_s: float) -> None:
        """Too much is in use and retained: the smallest of those that are away lose their place."""
        shelf = station.shelf
        if shelf.excess(self._config.pause_at, now_s) <= 0:
            return
        while shelf.excess(self._config.pause_to, now_s) > 0:
            context = shelf.smallest()
            if context is None:
                return
            if station.capacity.moves_contexts:
                found = self._fate(station, context, 1.0)
                wanted: Fate = "save" if found == "keep" and shelf.keeps_host else found
                why = "the engine's memory is over its budget"
                self._order(station, context, "drop" if wanted == "keep" else wanted, why, now_s)
            if context.state is State.ACTING:
                self._pause(station, context, now_s)

    def next_s(self) -> float:
        """When the next context may have been away for too long."""
        return next(iter(self._resting.values()), math.inf)

    def hibernate(self, now_s: float) -> None:
        """Whoever has been away for too long has nothing kept on any device."""
        while self.next_s() <= now_s:
            context, _ = self._resting.popitem(last=False)
            if context.state in (State.ACTING, State.PAUSED):
                self._leave(context, now_s)
                self._forget(context, "away for too long", now_s)
                context.step("hibernate", now_s)

    def bury(self, program: Program, now_s: float) -> None:
        """Nothing more will come of it: its places are free at once."""
        for context in program.contexts.values():
            self._leave(context, now_s)
            self._forget(context, "its program has ended", now_s)
            self._resting.pop(context, None)
        self._programs.forget(program)

    def thin(self, program: Program, now_s: float) -> None:
        """Of a program with too many conversations, the longest idle are forgotten."""
        while len(program.contexts) > CONTEXTS_PER_PROGRAM_MAX:
            idle = [one for one in program.contexts.values() if not one.running + one.waiting]
            if not idle:
                return
            oldest = min(idle, key=lambda one: one.rested_s)
            self._leave(oldest, now_s)
            self._forget(oldest, "its program has too many conversations", now_s)
            self._resting.pop(oldest, None)
            self._programs.drop(oldest)

    def told(self, station: Station, holdings: Holdings, now_s: float) -> None:
        """The engine itself says what it holds: beliefs give way."""
        shelf = station.shelf
        if holdings.is_cleared:
            shelf.lose(now_s)
        shelf.is_told = holdings.is_whole
        for name, (device, anywhere) in holdings.contexts.items():
            context = self._programs.named(name)
            if context is None:
                continue
            shelf.correct(context, device, anywhere)
        for evicted in shelf.fit():
            self._moved(station, evicted, "the engine holds others", now_s)

    def _lay(self, station: Station, context: Context, tokens: int, now_s: float) -> None:
        """Its tokens are on the device now, and others may have had to make room."""
        for evicted in station.shelf.touch(context, tokens):
            self._moved(station, evicted, "another context needs the room", now_s)

    def _leave(self, context: Context, now_s: float) -> None:
        """Give up the place on its present engine; what lies there fades by itself."""
        station = self._stations.get(context.engine)
        if station is None:
            return
        if context.state is State.REASONING:
            station.shelf.rest(context, now_s)
        if context.state is State.ACTING:
            station.shelf.pause(context, now_s)

    def _forget(self, context: Context, why: str, now_s: float) -> None:
        station = self._stations.get(context.engine)
        if station is None:
            return
        was_there = any(station.shelf.lies(context))
        station.shelf.move(context, "drop")
        if was_there and station.capacity.moves_contexts:
            self._tell(station, context, "drop", why)

    def _fate(self, station: Station, context: Context, pressure: float) -> Fate:
        gap = self._gaps.of(context.tool)
        if context.gap_hint_s is not None:
            gap = Gap([0.0] * len(PRIORS[True]))
            gap.observe(context.gap_hint_s)
        limit_s = self._config.hibernate_s
        return fate(station.capacity, context.tokens, gap, limit_s, pressure)

    def _order(
        self, station: Station, context: Context, action: Fate, why: str, now_s: float
    ) -> None:
        station.shelf.move(context, action)
        self._tell(station, context, action, why)
        if action == "drop" and context.state is State.ACTING:
            self._pause(station, context, now_s)

    def _moved(self, station: Station, context: Context, why: str, now_s: float) -> None:
        """The shelf has sent it off the device to make room."""
        saved = station.shelf.lies(context)[1] > 0
        if station.capacity.moves_contexts:
            action: Fate = "save" if saved else "drop"
            self._tell(station, context, action, why)
        if not saved and context.state is State.ACTING and context.engine == station.name:
            self._pause(station, context, now_s)

    def _tell(self, station: Station, context: Context, action: Fate, why: str) -> None:
        order = Order(engine=station.name, context=context.name, action=action, why=why)
        self.on_order(order)

    def _pause(self, station: Station, context: Context, now_s: float) -> None:
        station.shelf.pause(context, now_s)
        self.paused += 1
