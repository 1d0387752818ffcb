"""The models that the kernel moves: where each lies, who uses it, who waits for it.

Invariants: 1. a model that calls use or that is on its way is not moved; 2. who waits is woken by
each change of its model; 3. states change only as `residency.TRANSITIONS` says.  `check` asserts
what can be seen of them.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.errors import Broken, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.devices.device import Engine, Residence
from orlop.models.arrivals import Arrivals, ColdStarts
from orlop.models.residency import ON_DEVICE, TRANSITIONS, Standing, State, Terms

CPU: Final = "cpu"
"""The pool of RAM that all embedded engines share."""

ORIGINS: Final = (State.ASLEEP, State.HOST, State.DISK)
"""Where a load may begin."""

DISK_BYTES_S: Final = 500e6
HOST_BYTES_S: Final = 2e9
START_S: Final = 1.0
"""For planning only, until a load has been measured: an engine's start, and reading the weights."""


@dataclass(eq=False, slots=True, kw_only=True)
class Resident:
    """One model of one engine that the kernel moves."""

    engine: Engine
    residence: Residence
    model: ModelName
    device: str
    path: str = ""
    """The weights, where they lie on this machine."""
    state: State
    origin: State = State.DISK
    """Where it lay when its present load began."""
    bytes: int = 0
    arrivals: Arrivals = field(default_factory=Arrivals)
    starts: ColdStarts = field(default_factory=ColdStarts)
    running: int = 0
    waiting: int = 0
    waiting_since_s: float = math.inf
    used_s: float = -math.inf
    hot_since_s: float = -math.inf
    retry_s: float = -math.inf
    """After a failed load: not loaded on a forecast before this."""
    failures: int = 0
    """Loads that failed, in all."""
    failed_in_a_row: int = 0
    error: KernelError | None = None
    """How the last load failed; None once it is hot."""
    is_pinned: bool = False
    is_draining: bool = False
    loads: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        return f"{self.engine.name}/{self.model}"

    @property
    def admits(self) -> bool:
        """A call may go on now."""
        return self.state is State.HOT and not self.is_draining

    def move(self, event: str) -> None:
        """Raises `Broken` where the state has no such step."""
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise Broken(f"{self.key} is {self.state} and can't be {event}")
        self.state = after
        self.tell()

    def tell(self) -> None:
        """Wake who waits: something has changed."""
        self.changed.set()
        self.changed = asyncio.Event()

    def would_lie(self) -> State:
        """Where a load would begin: here if it lies outside, else where it would go to."""
        if self.state in ORIGINS:
            return self.state
        if self.state is State.LOADING:
            return self.origin
        return State.ASLEEP if self.residence.sleeps else State.HOST

    def cold_s(self, origin: State | None = None) -> float:
        """What a load takes: the median of those measured, else an estimate to plan with."""
        origin = origin or self.would_lie()
        measured = self.starts.median_s(origin)
        if measured is not None:
            return max(measured, 1e-3)
        return START_S + self.bytes / (DISK_BYTES_S if origin is State.DISK else HOST_BYTES_S)

    def standing(self, now_s: float) -> Standing:
        """As the policy sees it."""
        may_foresee = now_s >= self.retry_s
        return Standing(
            key=self.key,
            device=self.device,
            state=self.state,
            bytes=self.bytes,
            cold_s=self.cold_s(),
            rate=self.arrivals.rate(now_s),
            pace_s=self.arrivals.pace_s,
            next_s=self.arrivals.next_s() if may_foresee else None,
            running=self.running,
            waiting=self.waiting,
            waiting_since_s=self.waiting_since_s,
            used_s=self.used_s,
            hot_since_s=self.hot_since_s,
            is_pinned=self.is_pinned,
            is_draining=self.is_draining,
        )


@dataclass(eq=False, slots=True)
class Residents:
    """All of them, by engine and model."""

    terms: Terms = field(default_factory=Terms)
    budgets: Mapping[str, int] = field(default_factory=dict)
    """Bytes that models may take, by device; without an entry there is no limit."""
    pinned: frozenset[str] = frozenset()
    """Names of models that stay, as orlop.toml says; operators pin others."""
    rows: dict[tuple[EngineName, ModelName], Resident] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be something to decide."""
    evictions: int = 0
    """Models that have left a device, in all."""

    def __iter__(self) -> Iterator[Resident]:
        return iter(self.rows.values())

    def find(self, engine: EngineName, model: ModelName) -> Resident | None:
        return self.rows.get((engine, model))

    def held_bytes(self, device: str) -> int:
        return sum(row.bytes for row in self if row.device == device and row.state in ON_DEVICE)

    def check(self) -> None:
        """Raises `Broken` where an invariant does not hold."""
        for row in self:
            if row.running < 0 or row.waiting < 0:
                raise Broken(f"{row.key}: {row.running} calls run, {row.waiting} wait")
            if row.running and row.state is not State.HOT:
                raise Broken(f"{row.key} is {row.state} while {row.running} calls use it")
            if row.state in ON_DEVICE[1:] and row.running:
                raise Broken(f"{row.key} is on its way while calls use it")
