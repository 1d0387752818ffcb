"""No scheduler at all: every call goes to an engine at once, in turn among those that may."""

import math

from orlop.devices.model_calls import Ended
from orlop.operate.plan.replay import Call, Fleet, Program


class Passthrough:
    """A `Dispatcher`: what a plan is compared with."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._next = 0

    def enter(self, call: Call, now_s: float) -> None:
        able = self._fleet.eligible(call.program.task)
        self._next += 1
        self._fleet.submit(call, able[self._next % len(able)], now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        """Nothing waits here."""

    def program_ended(self, program: Program, now_s: float) -> None:
        """Nothing is remembered of it."""

    def next_s(self) -> float:
        return math.inf

    def wake(self, now_s: float) -> None:
        """Never asked for."""
