"""`fleet.toml`: engines that may not have been bought yet, read as strictly as orlop.toml."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from orlop.abi.errors import Misconfigured
from orlop.drivers.modelled_config import ModelledConfig, capacity
from orlop.machine.ranges import Count, Limit, Many, Seconds
from orlop.machine.settings import load
from orlop.operate.plan.replay import Host
from orlop.sched.config import SchedulerConfig

COPIES_MAX: Final = 1_000
Copies = Annotated[int, Meta(ge=1, le=COPIES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec(ModelledConfig):
    """One `[engines.NAME]` table: a model on a device, and how many of them.  A calibration's path
    begins where fleet.toml lies."""

    memory_gb: Limit
    model_gb: Limit
    kv_bytes_per_token: Many
    copies: Copies = 1
    """Engines like this."""
    model: str = ""
    """Its name, for the report."""
    tier: Count = 2
    """It serves tasks of tiers `tier_min` to `tier`: 0 micro, 1 small, 2 large."""
    tier_min: Count = 0
    price_hour: Seconds = 0.0
    """Dollars for one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """The `[slo]` table: what counts as served well."""

    first_token_s: Limit = 10.0
    """A call's first token comes within."""
    slowdown: Limit = 3.0
    """A task takes at most so many times what it would take with the fleet to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """All of `fleet.toml`."""

    engines: dict[str, EngineSpec]
    """At least one."""
    slo: Goals = field(default_factory=Goals)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    """As in orlop.toml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A fleet file made sense of."""

    hosts: tuple[Host, ...]
    goals: Goals
    scheduler: SchedulerConfig
    price_hour: float
    """Of the whole fleet, dollars."""


def read(path: Path) -> Plan:
    """Raises `Misconfigured` with file, line where there is one, and what to do."""
    fleet = load(path, FleetFile)
    if not fleet.engines:
        raise Misconfigured(f"{path}: engines: name at least one")
    hosts: list[Host] = []
    price_hour = 0.0
    for name, spec in fleet.engines.items():
        hosts += _hosts(path, name, spec)
        price_hour += spec.price_hour * spec.copies
    return Plan(
        hosts=tuple(hosts),
        goals=fleet.slo,
        scheduler=fleet.scheduler,
        price_hour=price_hour,
    )


def _hosts(path: Path, name: str, spec: EngineSpec) -> Sequence[Host]:
    where = f"{path}: engines.{name}"
    holds = capacity(spec, where, path.parent, spec.model)
    if spec.tier_min > spec.tier:
        raise Misconfigured(f"{where}: tier_min is above tier")
    names = [name] if spec.copies == 1 else [f"{name}-{n}" for n in range(spec.copies)]
    return [
        Host(
            name=one,
            capacity=holds,
            tier=spec.tier,
            tier_min=spec.tier_min,
            window_tokens=spec.window_tokens,
        )
        for one in names
    ]
