"""The whole system at one look: `orlop top`."""

from msgspec import Struct

from orlop.abi.admin import ProcessView, SchedulerView
from orlop.abi.ids import Nanoseconds
from orlop.abi.residency import ResidencyView


class Overview(Struct, frozen=True, kw_only=True):
    """Counters count from the kernel's start; two looks make a rate."""

    version: str
    started_ns: Nanoseconds
    wall_ns: Nanoseconds
    now_s: float
    """Monotonic: for the time between two looks."""
    calls_in_flight: int
    calls_parked: int
    scheduler: SchedulerView
    residency: ResidencyView
    states: dict[str, int]
    """Processes by state."""
    processes: tuple[ProcessView, ...]
    """Those that have not ended, the ones with most calls in flight first; at most
    `PROCESSES_SHOWN_MAX`."""
