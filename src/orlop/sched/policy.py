"""Who goes next.  Pure functions of plain data; which one rules is a setting.

A policy orders programs by a key, the smallest first; ties go to the program with the fewest calls
running, then to the oldest call.  Around that it may have strict bands by latency class, turns of
tenants by the engine time that they had, and patience: whoever has waited too long goes first.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from orlop.abi.hints import LatencyClass
from orlop.abi.limits import LOOK_AHEAD
from orlop.sched.history import History
from orlop.sched.program import Program
from orlop.sched.work import Work

PolicyName = Literal["programs", "fifo", "rr", "priority", "las", "predicted", "fair", "deadline"]

BAND: Final[Mapping[LatencyClass, int]] = {"interactive": 0, "standard": 1, "batch": 2}

Key: TypeAlias = Callable[[Work, Program, History, float], float]
"""Of a program whose oldest waiting call is `Work`; the last argument is `quantum_s` > 0."""


def arrival(work: Work, program: Program, history: History, quantum_s: float) -> float:
    return work.order


def priority(work: Work, program: Program, history: History, quantum_s: float) -> float:
    return work.priority


def deadline(work: Work, program: Program, history: History, quantum_s: float) -> float:
    """Earliest deadline first."""
    return work.deadline_s


def level(engine_s: float, quantum_s: float) -> int:
    """The queue of a multi-level feedback queue whose quanta double: 0, 1, 2, ..."""
    return int(engine_s / quantum_s).bit_length()


def attained_s(work: Work, program: Program) -> float:
    """Engine seconds along the program's critical path, with what it is being served now."""
    return max(work.path_s, program.attained_s) + program.running_s


def least_attained(work: Work, program: Program, history: History, quantum_s: float) -> float:
    """Autellix (2502.13965): sizes are heavy-tailed, so who has had little will need little."""
    return level(attained_s(work, program), quantum_s)


def remaining_s(work: Work, program: Program, history: History) -> float:
    """As predicted from programs of its kind; what it has had where nothing is known."""
    had_s = program.work_s + program.running_s
    found = history.remaining_s(program.agent, had_s, program.head)
    return had_s if found is None else found


def predicted(work: Work, program: Program, history: History, quantum_s: float) -> float:
    """Shortest predicted remaining work first."""
    return level(remaining_s(work, program, history), quantum_s)


def blended(work: Work, program: Program, history: History, quantum_s: float) -> float:
    """Least attained service, and what an end costs among programs of its kind, as far as
    forecasts of kinds rank well.  Prices have no steps: of two kinds' programs one goes first.

    What this call will take counts as had: it must be paid before anything can end, and of programs
    that begin it is all that is known."""
    had = level(attained_s(work, program) + work.isolated_s, quantum_s)
    trust = history.quality
    if trust <= 0:
        return had
    price_s = history.price_s(program.agent, program.work_s + program.running_s, program.head)
    if price_s is None:
        return had
    return (1 - trust) * had + trust * math.log2(1 + price_s / quantum_s)


def fewest(work: Work, program: Program, history: History, quantum_s: float) -> float:
    """All alike: only how many calls of the program run already decides."""
    return 0.0


AWAY: Final = 3
"""One eighth, as each level is twice as long.  2 to 4 do alike (`bench/programs_simulated.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    key: Key
    bands: bool = False
    """Strict bands by latency class."""
    shares: bool = False
    """Tenants take turns by virtual time: token-seconds of engine memory over their weight."""
    levels_away: int = 0
    """A program whose context must be computed again stands so many levels further back: it takes
    the place of one that is there only if it has had much less.  Otherwise equals would throw each
    other out call by call, and all would be computed again and again."""
    look_ahead: int = 4
    """Calls that are tried where the first do not fit: more makes better use of the memory, fewer
    keeps closer to the order."""
    patient: bool = False
    """Calls are promoted when they have waited too long."""
    slices: bool = False
    """A call that has had its slice gives its seat to who waits, where its engine can."""


POLICIES: Final[Mapping[PolicyName, Policy]] = {
    "programs": Policy(key=blended, bands=True, levels_away=AWAY, shares=True, patient=True),
    "fifo": Policy(key=arrival, look_ahead=1),
    "rr": Policy(key=arrival, look_ahead=1, slices=True),
    "priority": Policy(key=priority, bands=True),
    "las": Policy(key=least_attained, levels_away=AWAY, look_ahead=LOOK_AHEAD),
    "predicted": Policy(key=predicted, levels_away=AWAY, look_ahead=LOOK_AHEAD),
    "fair": Policy(key=fewest, bands=True, shares=True, patient=True),
    "deadline": Policy(key=deadline, bands=True),
}


def patience_s(isolated_s: float, waited_s: float, factor: float, least_s: float) -> float:
    """How long a call may wait before it is promoted.

    isolated_s: what its program has had and this call will take, alone on the engine; waited_s: for
    its earlier calls.  So a program's slowdown is bounded by about 1 + factor while the promoted
    can be served at all.
    """
    if factor <= 0:
        return math.inf
    return max(least_s, factor * isolated_s - waited_s)
