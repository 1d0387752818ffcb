"""Devices: what computes, in the shape of Kubernetes' dynamic resource allocation.

A device has a class, attributes (what it is), capacity (what it has), health, and what its sensors
say now.  Work claims devices with predicates over all of that (`hardware.predicate`).  What nobody
has told is absent, never guessed: `resource.k8s.io/v1` (ResourceSlice, ResourceClaim).
"""

from collections.abc import Mapping
from typing import Final, Literal, NewType, TypeAlias

from msgspec import Struct, field

from orlop.abi.hints import LatencyClass
from orlop.abi.ids import DEFAULT_TENANT, EngineName, ProcessId, TenantId

DeviceName = NewType("DeviceName", str)
"""`cpu0`, `nvidia1`, `nvidia1.mig0`, or what `[devices.NAME]` calls it."""

ClaimId = NewType("ClaimId", str)
"""`clm_…`: one claim, from its grant to its end."""

DeviceClass = Literal["cpu", "gpu", "npu", "tpu", "remote"]
"""`remote`: something behind an address, of which we know what its owner has told us."""

DeviceHealth = Literal["ready", "degraded", "drained", "lost"]
"""`degraded`: gets less work.  `drained`: gets none until an operator says so.  `lost`: gets none
until it is seen again."""

Value: TypeAlias = bool | int | float | str | tuple[str, ...]

ATTRIBUTES: Final[Mapping[str, str]] = {
    "name": "its name in this table",
    "class": "cpu, gpu, npu, tpu or remote",
    "health": "ready, degraded, drained or lost",
    "model": "what its maker calls it",
    "vendor": "its maker: nvidia, amd, intel, …",
    "memory_gb": "its own memory, in 1e9 bytes; a CPU's is the machine's RAM",
    "hbm_gb": "the same, of a device with memory of its own (HBM or GDDR); no CPU has it",
    "bandwidth_gb_s": "of that memory, 1e9 bytes a second",
    "features": "what engines compute with (a list): avx512f, amx_int8, sm_90, gfx942, …",
    "cores": "of a CPU: logical processors",
    "numa_node": "the node of the machine's memory that is nearest to it",
    "numa_nodes": "of a CPU: how many such nodes there are",
    "interconnect": "how it reaches its siblings: nvlink, pcie, …",
    "links": "of that interconnect: how many work",
    "pcie_generation": "of its slot, at most",
    "pcie_width": "lanes of its slot, at most",
    "host_ram_gb": "RAM of the machine it is in",
    "host_disk_gb": "free on the disk where models lie, when the kernel started",
    "driver": "version of its driver",
    "firmware": "version of its firmware",
    "uuid": "its maker's name for this very device",
    "parent": "of a part of a device (a MIG slice): the whole",
    "slices": "of such a part: slices of the whole that it is made of",
    "divided": "it is cut into slices, which are claimed in its stead",
    "members": "of a group: its devices (a list)",
    "count": "of a group: how many",
    "preemptible": "its owner may take it back at short notice",
    "notice_s": "how short that notice is",
    "region": "where it stands",
    "price_dollars_hour": "what it costs while it is there",
    "round_trip_s.PLACE": "to `kernel`, or to a store of that name",
    "egress_dollars_gb.PLACE": "what 1e9 bytes cost on their way from it to that place",
    "labels.NAME": "whatever its owner says of it",
}
"""What is told of devices, where it is known."""


class Reading(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the sensors said last; None: there is none, or it can't be read."""

    utilisation: float | None = None
    """0 to 1, over the last second or so."""
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    clock_share: float | None = None
    """Of its highest clock, 0 to 1."""
    throttled: tuple[str, ...] = ()
    """Why it runs slower than it could: heat, power_brake, hardware.  Idling is no reason."""
    memory_errors: int | None = None
    """That could not be corrected, since its driver was loaded."""
    memory_errors_corrected: int | None = None
    memory_broken: str = ""
    """Why its memory needs a reset or a replacement."""


class ClaimOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What work that is not a model call asks for: tuning, evaluation, an engine of one's own."""

    where: str = ""
    """A predicate over the device table; empty: any device."""
    share: float = 1.0
    """Of the device, more than 0 and at most 1.  Kept by accounting, not by the hardware."""
    cores: int = 0
    """Of a CPU: so many logical processors of its own, instead of a share."""
    memory_bytes: int = 0
    """That the device must have free of other claims."""
    exclusive: bool = False
    """No other tenant on the device, and erased before any other gets it."""
    latency_class: LatencyClass = "batch"
    notice_s: float = 0.0
    """What its holder needs to save its state: only a device with as much notice is fit."""
    purpose: str = ""
    key: str = ""
    """The holder's own name for it: who asks again with the same one has the same claim."""


class ClaimView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A claim that was granted."""

    id: ClaimId
    device: DeviceName
    process: ProcessId
    tenant: TenantId = DEFAULT_TENANT
    share: float = 0.0
    cores: tuple[int, ...] = ()
    """Numbers of the logical processors: the holder pins itself to them."""
    memory_bytes: int = 0
    exclusive: bool = False
    latency_class: LatencyClass = "batch"
    notice_s: float = 0.0
    purpose: str = ""
    key: str = ""


class Notice(Struct, frozen=True, kw_only=True):
    """A claim's device is taken back: save what there is to save, and give it back."""

    why: str = ""
    """Empty: nothing has been told yet, ask again."""
    within_s: float = 0.0
    is_over: bool = False
    """The claim is held no more."""


class DeviceCard(Struct, frozen=True, kw_only=True):
    """One device as `orlop devices` shows it."""

    name: DeviceName
    kind: DeviceClass = field(name="class")
    attributes: dict[str, Value] = {}
    """See `ATTRIBUTES`."""
    health: DeviceHealth = "ready"
    reason: str = ""
    """Why it is not ready."""
    share: float = 1.0
    """Of what it could do, what it is given to do now."""
    share_claimed: float = 0.0
    cores_claimed: int = 0
    memory_claimed_bytes: int = 0
    tenant: TenantId | None = None
    """Who has it alone, if somebody has."""
    erasing: bool = False
    """It was somebody's alone, and is not yet erased."""
    reading: Reading = Reading()
    cpus: tuple[tuple[int, ...], ...] = ()
    """Of a CPU: the logical processors that the kernel may use, by node of the memory."""
    engines: tuple[EngineName, ...] = ()
    claims: tuple[ClaimView, ...] = ()
    source: str = ""
    """Who told of it."""

    def facts(self) -> dict[str, Value]:
        """All that a predicate may ask for, by name."""
        own = {"name": self.name, "class": self.kind, "health": self.health}
        return {**self.attributes, **own}


class DrainOrder(Struct, frozen=True, kw_only=True):
    """`orlop devices drain`: no new work; holders of claims are told, and have `within_s`."""

    reason: str = "by an operator"
    within_s: float | None = None
    """None: the notice that the device's owner gives, else what each holder said that it needs."""


class ClaimPlacement(Struct, frozen=True, kw_only=True):
    """`orlop devices claim`: for which process.  `process`: a pid, an id or a name."""

    process: str
    order: ClaimOrder = ClaimOrder()


class DeviceTable(Struct, frozen=True, kw_only=True):
    """`orlop devices --json`."""

    devices: tuple[DeviceCard, ...]


class DeviceChanged(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.changed", omit_defaults=True
):
    """A device is good for more or for less than before."""

    device: DeviceName
    health: DeviceHealth
    was: DeviceHealth | None = None
    """None: it has come."""
    share: float = 1.0
    """Of what it could do, what it is given from now on."""
    reason: str = ""


class DeviceClaimed(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.claimed", omit_defaults=True
):
    claim: ClaimView
    where: str = ""


class DeviceReleased(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.released", omit_defaults=True
):
    claim: ClaimId
    device: DeviceName
    reason: str = ""


class DeviceErased(Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.erased"):
    """What a tenant that had it alone left on it is gone; `how`: in each driver's words."""

    device: DeviceName
    tenant: TenantId
    how: str
