"""Who goes next.  Pure functions of plain data; which one rules is a setting."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from orlop.abi.hints import LatencyClass
from orlop.abi.ids import ProcessId
from orlop.sched.work import Work

PolicyName = Literal["fifo", "fair"]
Policy: TypeAlias = Callable[[Sequence[Work], Mapping[ProcessId, int]], Work]

BAND: Final[Mapping[LatencyClass, int]] = {"interactive": 0, "standard": 1, "batch": 2}


def fifo(waiting: Sequence[Work], running: Mapping[ProcessId, int]) -> Work:
    """First come, first served: the baseline, and what engines do by themselves."""
    return waiting[0]


def fair(waiting: Sequence[Work], running: Mapping[ProcessId, int]) -> Work:
    """Strict bands by latency class; inside a band the process with the fewest calls running on
    this device; ties to the oldest call."""
    return min(
        waiting,
        key=lambda work: (
            BAND[work.latency_class],
            running.get(work.process, 0),
            work.arrived_s,
        ),
    )


POLICIES: Final[Mapping[PolicyName, Policy]] = {"fifo": fifo, "fair": fair}
