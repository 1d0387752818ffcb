"""`fleet.toml`: engines that may not have been bought yet, read as strictly as orlop.toml."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from orlop.abi.errors import Misconfigured
from orlop.devices.calibration import speed_of
from orlop.devices.device import Capacity
from orlop.devices.speed import Linear, Speed
from orlop.machine.ranges import Chances, Count, Limit, Many, Seconds
from orlop.machine.settings import load
from orlop.operate.plan.replay import Host
from orlop.sched.config import SchedulerConfig

GB: Final = 1e9
COPIES_MAX: Final = 1_000
Copies = Annotated[int, Meta(ge=1, le=COPIES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One `[engines.NAME]` table: a model on a device, and how many of them."""

    copies: Copies = 1
    """Engines like this."""
    model: str = ""
    """Its name, for the report."""
    calibration: str = ""
    """A file of step times, from where fleet.toml lies: `orlop calibrate` writes one."""
    entry: str = ""
    """The name in that file; empty: its only one."""
    decode_ms: Seconds = 0.0
    """Without a calibration: of one token."""
    prefill_tokens_s: Seconds = 0.0
    """Without a calibration: prompt tokens computed in a second."""
    memory_gb: Limit
    """Of the device (of all of them, where the model is spread over several), 10^9 bytes."""
    model_gb: Limit
    """What the weights take of it."""
    utilisation: Chances = 0.92
    """Share of the memory that the engine uses."""
    kv_bytes_per_token: Many
    """Of context, as the model's architecture has it."""
    window_tokens: Many = 131_072
    """The longest context that the model takes."""
    host_gb: Seconds = 0.0
    """Host RAM that keeps contexts beside the device; 0: none."""
    restore_gb_s: Limit = 25.0
    """From there to the device."""
    slots: Many = 256
    """Calls served at once."""
    continues: bool = True
    """Goes on with an answer that was cut, so that calls may be preempted."""
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
    room = spec.memory_gb * GB * spec.utilisation - spec.model_gb * GB
    kv_tokens = int(room / spec.kv_bytes_per_token)
    what = spec.model or "its model"
    if kv_tokens <= 0:
        raise Misconfigured(
            f"{path}: engines.{name}: {what} takes {spec.model_gb:g} GB, and the engine has"
            f" {spec.memory_gb * spec.utilisation:.1f} GB ({spec.utilisation:.0%} of"
            f" {spec.memory_gb:g}): use a larger device, more of them, or a smaller artefact"
        )
    if spec.tier_min > spec.tier:
        raise Misconfigured(f"{path}: engines.{name}: tier_min is above tier")
    capacity = Capacity(
        slots=spec.slots,
        kv_tokens=kv_tokens,
        host_tokens=int(spec.host_gb * GB / spec.kv_bytes_per_token),
        kv_bytes_per_token=spec.kv_bytes_per_token,
        restore_bytes_s=spec.restore_gb_s * GB,
        speed=_speed(path, name, spec),
        continues=spec.continues,
    )
    names = [name] if spec.copies == 1 else [f"{name}-{n}" for n in range(spec.copies)]
    return [
        Host(
            name=one,
            capacity=capacity,
            tier=spec.tier,
            tier_min=spec.tier_min,
            window_tokens=spec.window_tokens,
        )
        for one in names
    ]


def _speed(path: Path, name: str, spec: EngineSpec) -> Speed:
    if spec.calibration:
        return speed_of(path.parent / Path(spec.calibration).expanduser(), spec.entry)
    if spec.decode_ms <= 0 or spec.prefill_tokens_s <= 0:
        raise Misconfigured(
            f"{path}: engines.{name}: needs a calibration, or decode_ms and prefill_tokens_s"
        )
    return Linear(
        decode_a_s=spec.decode_ms / 1e3,
        decode_c_s=spec.kv_bytes_per_token / 3e12,
        prefill_b_s=1 / spec.prefill_tokens_s,
    )
