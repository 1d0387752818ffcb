"""What an engine says that tells nothing of its load and whose contexts and models stay put."""

from orlop.abi.calls import Infer
from orlop.devices.device import Contexts, EngineLoad, Holdings, Residence


class Plain:
    """Drivers begin here and say otherwise where they know better."""

    def load(self) -> EngineLoad | None:
        return None

    def goes_on(self, call: Infer) -> bool:
        return True

    def holdings(self) -> Holdings | None:
        return None

    @property
    def contexts(self) -> Contexts | None:
        return None

    @property
    def residence(self) -> Residence | None:
        return None
