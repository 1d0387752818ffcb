"""How many refusals of one process are told in a minute.

Who asks for what it may not in a loop must not fill the journal.
"""

from dataclasses import dataclass
from typing import Final

from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import REFUSALS_JOURNALED_MAX
from orlop.machine.clock import NS_PER_S

MINUTE_NS: Final = 60 * NS_PER_S


@dataclass(eq=False, slots=True)
class Refusals:
    minute: int = 0
    told: int = 0
    """In that minute."""
    untold: int = 0
    """Since whoever tells of them has last said how many."""

    def tell(self, wall_ns: Nanoseconds, *, is_writable: bool) -> bool:
        """Count one more; whether it is to be journaled."""
        minute = wall_ns // MINUTE_NS
        if minute != self.minute:
            self.minute, self.told = minute, 0
        if self.told >= REFUSALS_JOURNALED_MAX or not is_writable:
            self.untold += 1
            return False
        self.told += 1
        return True
