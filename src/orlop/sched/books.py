"""What calls are expected to take, what they took, and what is remembered of programs.

Nothing is decided here: the core says what happens, and this keeps the counts that the policies and
people read.
"""

from orlop.sched.history import History
from orlop.sched.places import Places
from orlop.sched.program import Context, Program, ProgramTable
from orlop.sched.station import Station
from orlop.sched.waiting import WaitingRoom
from orlop.sched.work import Phase, Used, Work


class Books:
    """`grants`: calls that were let on."""

    def __init__(
        self,
        programs: ProgramTable,
        history: History,
        stations: dict[str, Station],
        waiting: WaitingRoom,
        places: Places,
    ) -> None:
        self.grants = 0
        self._programs = programs
        self._history = history
        self._stations = stations
        self._waiting = waiting
        self._places = places

    def describe(self, work: Work, context: Context) -> None:
        """What it will take, from what is known of its context."""
        program = context.program
        work.order = self._programs.next_order()
        context.head, context.head_tokens = work.head, min(work.head_tokens, work.input_tokens)
        work.grant, work.is_promoted = None, False
        home = self._stations.get(context.engine) or self._stations[work.candidates[0]]
        cached = min(context.tokens, work.input_tokens)
        work.isolated_s = home.isolated_s(work.input_tokens, cached, work.output_tokens)
        siblings = program.running - context.running
        work.path_s = context.path_s if siblings else program.attained_s
        if program.calls == 0:
            program.head = work.head
            program.predicted_s = self._history.remaining_s(program.agent, 0.0, work.head)
        program.calls += 1

    def begin(self, work: Work, context: Context, station: Station, now_s: float) -> None:
        """It has its seat and its memory from now on."""
        program = context.program
        context.running += work.is_model_call
        station.gate.take(work)
        station.running[work] = None
        work.phase, work.granted_s = Phase.RUNNING, now_s
        program.running += 1
        program.running_s += work.isolated_s
        program.waited_s += now_s - work.arrived_s
        program.owed_s = 0.0 if work.is_promoted else program.owed_s + now_s - work.arrived_s
        self._waiting.charge(work, work.tokens * work.isolated_s, 1)
        program.refresh()
        self.grants += 1
        station.grants += 1

    def over(
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
        station.has_read(work, now_s)
        del station.running[work]
        station.yielding.discard(work)
        program.running -= 1
        program.running_s = max(0.0, program.running_s - work.isolated_s) if program.running else 0
        program.work_s += took_s
        program.isolated_s += work.isolated_s
        context.path_s = max(context.path_s, work.path_s + took_s)
        program.attained_s = max(program.attained_s, context.path_s)
        context.running -= work.is_model_call
        tokens = used.input_tokens + used.output_tokens
        charged = tokens * held_s if tokens else 0.0
        self._waiting.charge(work, charged - work.tokens * work.isolated_s, -1)
        program.refresh()

    def bury(self, program: Program, now_s: float) -> None:
        """It has ended: its work is remembered, and its places are free."""
        if program.work_s > 0:
            known = program.predicted_s
            self._history.ended(program.agent, program.work_s, known, program.head)
        self._places.bury(program, now_s)

    def thin(self, program: Program, now_s: float) -> None:
        """Neither programs nor their conversations without end."""
        self._places.thin(program, now_s)
        while (overdue := self._programs.overdue()) is not None:
            self._places.bury(overdue, now_s)
