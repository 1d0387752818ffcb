"""What external systems bear: how often and how many at once, shared by all agents, and learned.

A rate is kept by giving each call a time to begin, one interval after the one before; a short burst
may come at once.  A system that says "too often" is left alone as long as it asks, and is then
asked at half the rate that it had; from there the rate grows again, a tenth a minute.

Invariants: 1. no two calls begin nearer to each other than the rate allows, but for the burst;
2. who can't begin in time is refused at once, with the time to come back.
"""

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from msgspec import Meta

from orlop.abi.errors import Misconfigured, RateReached
from orlop.abi.limits import SYSTEM_WAITING_MAX
from orlop.abi.tools import SystemView

RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|second|min|minute|h|hour)")
SECONDS: Final = {"s": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}
OBSERVED_S: Final = 10.0
"""Over so long is measured how often a system was asked before it complained."""

GROWTH: Final = 1.1
"""A minute, of a learned rate."""

FORGOTTEN: Final = 4.0
"""A learned rate that has grown so often is none any more."""

PAUSE_S: Final = 1.0
"""After a complaint that names no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemConfig:
    """One `[systems.NAME]` table of orlop.toml: an external system that several tools reach."""

    rate: str = ""
    """How often it may be called, as in `10/s`, `100/min` or `1000/h`; empty: what is learned."""
    burst: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """Calls that may begin at once after a rest."""
    concurrency: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Calls that may run at once, of all tools together; 0: as many as the tools allow."""

    def calls_s(self, name: str) -> float:
        """Calls a second; infinite where nothing is said.  Raises `Misconfigured`."""
        if not self.rate:
            return math.inf
        match = RATE.fullmatch(self.rate)
        if match is None or float(match[1]) <= 0:
            raise Misconfigured(f"[systems.{name}] rate: write 10/s, 100/min or 1000/h")
        return float(match[1]) / SECONDS[match[2]]


@dataclass(eq=False, slots=True)
class System:
    name: str
    allowed_s: float = math.inf
    """Calls a second, as configured."""
    burst: int = 1
    concurrency: int = 0
    learned_s: float = math.inf
    """Calls a second, as it bore at `learned_at_s`."""
    learned_at_s: float = 0.0
    next_s: float = -math.inf
    """When the next call may begin, had nobody rested."""
    paused_s: float = -math.inf
    waiting: int = 0
    begun: deque[float] = field(default_factory=deque)

    def rate_s(self, now_s: float) -> float:
        """Calls a second that it bears now."""
        if self.learned_s < math.inf:
            grown: float = GROWTH ** ((now_s - self.learned_at_s) / 60.0)
            if grown >= FORGOTTEN:
                self.learned_s = math.inf
            return min(self.allowed_s, self.learned_s * grown)
        return self.allowed_s

    def turn(self, now_s: float, left_s: float) -> float:
        """When a call may begin; its place is taken.  Raises `RateReached` where that is too late
        for it; then nothing has changed."""
        rate_s = self.rate_s(now_s)
        gap_s = 1.0 / rate_s if rate_s < math.inf else 0.0
        earliest_s = max(self.next_s, now_s - gap_s * (self.burst - 1))
        begin_s = max(now_s, earliest_s, self.paused_s)
        wait_s = begin_s - now_s
        if wait_s > left_s or self.waiting >= SYSTEM_WAITING_MAX:
            raise RateReached(self._why(rate_s, wait_s), retry_after_s=wait_s)
        # From here on nothing can fail.
        self.next_s = max(earliest_s, self.paused_s) + gap_s
        self.begun.append(begin_s)
        while self.begun and self.begun[0] < now_s - OBSERVED_S:
            self.begun.popleft()
        return begin_s

    def _why(self, rate_s: float, wait_s: float) -> str:
        says = "it has asked for a rest" if self.paused_s > self.next_s else f"{rate_s:g} calls/s"
        return (
            f"system {self.name} is at its limit ({says}; {self.waiting} calls wait): none is left "
            f"now, and the next in {wait_s:.1f} s ([systems.{self.name}])"
        )

    def complained(self, now_s: float, retry_after_s: float | None) -> None:
        """It was asked too often."""
        recent = sum(1 for begun_s in self.begun if now_s - OBSERVED_S <= begun_s <= now_s)
        seen_s = max(recent, 1) / OBSERVED_S
        self.learned_s = min(self.rate_s(now_s), seen_s) / 2.0
        self.learned_at_s = now_s
        self.paused_s = max(self.paused_s, now_s + (retry_after_s or PAUSE_S))

    def view(self, now_s: float) -> SystemView:
        rate_s = self.rate_s(now_s)
        return SystemView(
            name=self.name,
            rate_s=None if rate_s == math.inf else rate_s,
            is_learned=self.learned_s < math.inf,
            concurrency=self.concurrency,
            waiting=self.waiting,
            paused_s=max(0.0, self.paused_s - now_s),
        )


class Systems:
    """By name; one that nobody has configured is there from its first complaint on."""

    def __init__(self, configs: Mapping[str, SystemConfig] | None = None) -> None:
        self._systems = {
            name: System(name, config.calls_s(name), config.burst, config.concurrency)
            for name, config in (configs or {}).items()
        }

    def find(self, name: str) -> System:
        if name not in self._systems:
            self._systems[name] = System(name)
        return self._systems[name]

    def concurrency(self, name: str) -> int:
        """Calls that may run at once; 0: as many as the tools allow."""
        known = self._systems.get(name)
        return known.concurrency if known is not None else 0

    def views(self, now_s: float) -> list[SystemView]:
        return [system.view(now_s) for _, system in sorted(self._systems.items())]
