"""Time for programs without an event loop: apart from `clock`, since asyncio takes 25 ms to load.

`orlop ps` has 150 ms in all.
"""

import time

from orlop.abi.ids import Nanoseconds


def now_s() -> float:
    """Monotonic seconds, from an unknown start."""
    return time.monotonic()


def wall_ns() -> Nanoseconds:
    """UTC; may jump, so it orders nothing."""
    return Nanoseconds(time.time_ns())


def local_text(wall_ns: Nanoseconds) -> str:
    """A date as people read it, in the machine's time zone, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_ns // 1_000_000_000))


def pause(delay_s: float) -> None:
    """Wait, and do nothing else."""
    time.sleep(delay_s)
