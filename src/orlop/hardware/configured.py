"""What `orlop.toml` says of devices: more of those that are here, and all of those elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Final, TypeAlias

from msgspec import Meta
from msgspec.structs import replace

from orlop.abi.devices import DeviceCard, DeviceClass, DeviceHealth, DeviceName, Reading, Value
from orlop.abi.errors import Misconfigured
from orlop.abi.ids import TenantId

Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """One `[devices.NAME]` table of orlop.toml.  What is left out is not known, and not guessed.

    NAME is a device of this machine, as `orlop devices` calls it, or one behind an engine.
    """

    kind: DeviceClass | None = None
    """Of a device elsewhere: cpu, gpu, npu, tpu, or remote if nothing is known of it."""
    members: tuple[str, ...] = ()
    """Of a group (an engine that is spread over several devices): their names."""
    model: str = ""
    """What its maker calls it."""
    memory_gb: Amount | None = None
    """Its memory, in 1e9 bytes."""
    bandwidth_gb_s: Amount | None = None
    """Of that memory."""
    interconnect: str = ""
    """How it reaches its siblings: nvlink, pcie, infiniband."""
    numa_node: int | None = None
    """The node of its machine's memory that is nearest to it."""
    host_ram_gb: Amount | None = None
    """RAM of the machine it is in."""
    host_disk_gb: Amount | None = None
    """Disk of that machine."""
    driver: str = ""
    """Version of its driver."""
    firmware: str = ""
    """Version of its firmware."""
    region: str = ""
    """Where it stands; calls may ask for a region."""
    preemptible: bool | None = None
    """Its owner may take it back (a spot machine)."""
    notice_s: Amount | None = None
    """How long before that its owner says so."""
    price_dollars_hour: Amount | None = None
    """What it costs while it is there."""
    round_trip_s: dict[str, float] = field(default_factory=dict)
    """Seconds to `kernel`, and to stores by name."""
    egress_dollars_gb: dict[str, float] = field(default_factory=dict)
    """What 1e9 bytes cost on their way from it to those."""
    labels: dict[str, str] = field(default_factory=dict)
    """Whatever else claims should be able to ask for, as `labels.NAME`."""
    tenant: str = ""
    """The only tenant that may use it."""


_APART: Final = frozenset(
    {"kind", "members", "round_trip_s", "egress_dollars_gb", "labels", "tenant"}
)
"""Fields that are no attribute as they are."""

_WORST: Final[Mapping[DeviceHealth, int]] = {"ready": 0, "degraded": 1, "drained": 2, "lost": 3}


def check(devices: Mapping[str, DeviceConfig]) -> None:
    """What makes no sense.  Raises `Misconfigured`."""
    for name, config in devices.items():
        if config.members and name in config.members:
            raise Misconfigured(f"devices.{name}: members: it can't be a member of itself")
        for member in config.members:
            if devices.get(member, DeviceConfig()).members:
                raise Misconfigured(f"devices.{name}: members: {member} is a group itself")
        for key in ("round_trip_s", "egress_dollars_gb"):
            bad = [place for place, value in getattr(config, key).items() if not 0 <= value < 1e9]
            if bad:
                raise Misconfigured(f"devices.{name}: {key}: {bad[0]}: should be 0 or more")


def described(devices: Mapping[str, DeviceConfig], seen: Sequence[DeviceCard]) -> list[DeviceCard]:
    """What is here, with what is said of it; then what is said to be elsewhere; then groups.

    A device that is said to be here (it has neither class nor members) and is not comes as `lost`.
    """
    known = {card.name: card for card in seen}
    for name, config in devices.items():
        if not config.members:
            known[DeviceName(name)] = _described(DeviceName(name), config, known)
    for name, config in devices.items():
        if config.members:
            known[DeviceName(name)] = _group(DeviceName(name), config, known)
    return list(known.values())


def _described(
    name: DeviceName, config: DeviceConfig, known: Mapping[DeviceName, DeviceCard]
) -> DeviceCard:
    card = known.get(name)
    if card is None and config.kind is None:
        card = DeviceCard(
            name=name,
            kind="remote",
            health="lost",
            share=0.0,
            reason="it is in orlop.toml, and not in this machine",
            source="orlop.toml",
        )
    elif card is None:
        card = DeviceCard(name=name, kind=config.kind or "remote", source="orlop.toml")
    attributes = {**card.attributes, **_attributes(config)}
    if config.memory_gb is not None and card.kind not in ("cpu", "remote"):
        attributes["hbm_gb"] = config.memory_gb
    reading = card.reading
    if config.memory_gb is not None and reading.memory_total_bytes is None:
        reading = replace(reading, memory_total_bytes=int(config.memory_gb * 1e9))
    tenant = TenantId(config.tenant) if config.tenant else card.tenant
    return replace(card, attributes=attributes, reading=reading, tenant=tenant)


def _attributes(config: DeviceConfig) -> dict[str, Value]:
    said: dict[str, Value] = {
        entry.name: getattr(config, entry.name)
        for entry in fields(config)
        if entry.name not in _APART and getattr(config, entry.name) not in (None, "")
    }
    for key in ("round_trip_s", "egress_dollars_gb", "labels"):
        said |= {f"{key}.{place}": value for place, value in getattr(config, key).items()}
    return said


def _group(
    name: DeviceName, config: DeviceConfig, known: Mapping[DeviceName, DeviceCard]
) -> DeviceCard:
    """As good as its worst member; its memory is all of theirs."""
    members = [known[DeviceName(member)] for member in config.members if member in known]
    missing = [member for member in config.members if member not in known]
    if missing or not members:
        reason = f"{', '.join(missing)} of this group is not in this machine"
        return DeviceCard(
            name=name, kind="remote", health="lost", share=0.0, reason=reason, source="orlop.toml"
        )
    worst = max(members, key=lambda card: _WORST[card.health])
    attributes: dict[str, Value] = {
        **_shared(card.attributes for card in members),
        "members": config.members,
        "count": len(members),
    }
    for key in ("memory_gb", "hbm_gb"):
        amounts = [card.attributes.get(key) for card in members]
        numbers = [amount for amount in amounts if isinstance(amount, int | float)]
        if len(numbers) == len(members):
            attributes[key] = sum(numbers)
    totals = [card.reading.memory_total_bytes for card in members]
    return DeviceCard(
        name=name,
        kind=members[0].kind,
        attributes={**attributes, **_attributes(config)},
        health=worst.health,
        reason=f"{worst.name}: {worst.reason}" if worst.reason else "",
        share=min(card.share for card in members),
        tenant=TenantId(config.tenant) if config.tenant else None,
        reading=Reading(memory_total_bytes=sum(total or 0 for total in totals) or None),
        source="orlop.toml",
    )


def as_good_as(card: DeviceCard, other: DeviceCard) -> DeviceCard:
    """The card, no healthier than `other`: the whole that it is a part of, or what befell it."""
    if _WORST[other.health] < _WORST[card.health] or other.health == "ready":
        return replace(card, share=min(card.share, other.share))
    why = other.reason if other.name == card.name else f"{other.name}: {other.reason}"
    return replace(card, health=other.health, share=min(card.share, other.share), reason=why)


def _shared(attributes: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    """What all members have in common."""
    first, *others = attributes
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }
