"""How the holder of a claim hears that it must leave."""

import asyncio
from dataclasses import dataclass, field

from orlop.abi.devices import Notice


@dataclass(eq=False, slots=True)
class Bell:
    """Of one claim.  `is_heard`: its holder has listened in this life of the kernel."""

    is_heard: bool = False
    notice: Notice | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self, notice: Notice | None) -> None:
        """There is a notice, or, with None, nothing more to wait for."""
        self.notice = notice or self.notice
        self.changed.set()
        self.changed = asyncio.Event()
