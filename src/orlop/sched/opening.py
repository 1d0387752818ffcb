"""What an engine has left at one moment: whether a call fits is asked of it many times over.

A call needs a seat, room in the device's memory, its turn to have its prompt read, and a place
beside what is kept for programs that will be back.
"""

import math
from typing import Final

from orlop.sched.config import SchedulerConfig
from orlop.sched.program import Context
from orlop.sched.station import Station
from orlop.sched.work import Work

READ_AHEAD_S: Final = 0.05
"""Of prompts that are on an engine and not yet read: so much is there for it to go on with."""

RESERVED_FOR_S: Final = 60.0
"""After the last interactive call an engine's reserved seats are for all."""


class Opening:
    """True until a call is let on there, or leaves."""

    def __init__(self, station: Station, config: SchedulerConfig, now_s: float) -> None:
        gate, shelf = station.gate, station.shelf
        self._now_s = now_s
        self._name, self._gate, self._shelf = station.name, gate, shelf
        self._is_idle = gate.running == 0
        seats = gate.seats - gate.running
        self._has_seat = seats > 0
        self._has_lesser = seats > (0 if self._is_idle else _kept_seats(station, config, now_s))
        self._memory = gate.room()
        self._read_s = -math.inf
        if gate.running >= station.useful:
            self._read_s = math.inf
        elif not self._is_idle:
            self._read_s = station.read_s - READ_AHEAD_S
        self._is_read = now_s >= self._read_s
        self._must_be_read = False
        self._places = shelf.room(config.admit_to)
        self._retained = shelf.retained(now_s)
        self._times = math.inf

    @property
    def room_s(self) -> float:
        """When places that fade may make room for one of those that did not fit, or prompts will
        have been read."""
        room_s = self._shelf.faded_s(self._times, self._now_s)
        return min(room_s, self._read_s) if self._must_be_read else room_s

    def takes(self, work: Work, context: Context) -> bool:
        if not self.has_seat(work):
            return False
        if self._is_idle:
            return True  # Else it would serve nobody.
        tokens = work.input_tokens + work.output_tokens
        if tokens - self._gate.common(work.head) > self._memory:
            return False
        if work.is_promoted or not tokens:
            return True  # It has waited for too long, or no model runs.
        if self.must_wait_to_read(work):
            return False
        if context.engine == self._name:
            own = self._shelf.counted(context, work.head, self._now_s)
        else:
            own = self._shelf.shared(work.head, self._now_s)
        left, others = self._places - tokens, self._retained - own
        if others <= left:
            return True
        if left > 0:
            self._times = min(self._times, others / left)
        return False

    def has_seat(self, work: Work) -> bool:
        """One that it may have: those that are kept are not even for who has waited too long."""
        return self._has_lesser or (self._has_seat and work.latency_class == "interactive")

    def must_wait_to_read(self, work: Work) -> bool:
        """Its prompt would only wait in the engine for others', or hold up answers."""
        if self._is_read or work.latency_class == "interactive":
            return False
        if work.is_promoted or not work.is_model_call:
            return False
        self._must_be_read = True
        return True


def _kept_seats(station: Station, config: SchedulerConfig, now_s: float) -> int:
    """For interactive calls; never the only one."""
    if now_s - station.interactive_s > RESERVED_FOR_S:
        return 0
    return min(station.gate.seats - 1, math.ceil(station.gate.seats * config.reserved))
