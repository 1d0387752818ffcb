"""What was last said of each device, and who holds it: a fold of the journal."""

from dataclasses import dataclass, field

from orlop.abi.devices import (
    ClaimId,
    DeviceChanged,
    DeviceClaimed,
    DeviceErased,
    DeviceName,
    DeviceReleased,
)
from orlop.abi.ids import TenantId


@dataclass(eq=False, slots=True)
class Claims:
    devices: dict[DeviceName, DeviceChanged] = field(default_factory=dict)
    """What was last said of each."""
    held: dict[ClaimId, DeviceClaimed] = field(default_factory=dict)
    unerased: dict[DeviceName, TenantId] = field(default_factory=dict)
    """Devices that a tenant had alone, and that are not erased since."""

    def fold(self, event: DeviceChanged | DeviceClaimed | DeviceReleased | DeviceErased) -> None:
        match event:
            case DeviceChanged():
                self.devices[event.device] = event
            case DeviceClaimed():
                self.held[event.claim.id] = event
            case DeviceReleased():
                self._released(event)
            case DeviceErased():
                self.unerased.pop(event.device, None)

    def _released(self, event: DeviceReleased) -> None:
        row = self.held.pop(event.claim, None)
        alone = {left.claim.device for left in self.held.values() if left.claim.exclusive}
        if row is not None and row.claim.exclusive and event.device not in alone:
            self.unerased[event.device] = row.claim.tenant
