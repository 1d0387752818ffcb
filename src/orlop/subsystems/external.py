"""A call's turn at an external system: waited for without a seat, and again after a complaint."""

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import DeviceBusy
from orlop.abi.limits import SYSTEM_TRIES_MAX
from orlop.abi.tools import SystemView
from orlop.state.core import Kernel
from orlop.state.running import Running
from orlop.subsystems import seating


async def turn(kernel: Kernel, card: ToolCard, left_s: float) -> None:
    """Return when the system bears one more call.  Raises `RateReached`."""
    if not card.system:
        return
    system = kernel.systems.find(card.system)
    wait_s = system.turn(kernel.clock.now_s(), left_s) - kernel.clock.now_s()
    if wait_s > 0:
        system.waiting += 1
        try:
            await kernel.clock.sleep(wait_s)
        finally:
            system.waiting -= 1


def again(
    kernel: Kernel, running: Running, call: CallTool, card: ToolCard, error: DeviceBusy
) -> bool:
    """Whether a call that its system has turned away, so that it did nothing, is made once more."""
    if not card.system:
        return False
    kernel.systems.find(card.system).complained(kernel.clock.now_s(), error.retry_after_s)
    left_s = seating.left_s(kernel, running, call)
    return running.tries < SYSTEM_TRIES_MAX and left_s > (error.retry_after_s or 0.0)


def views(kernel: Kernel) -> list[SystemView]:
    return kernel.systems.views(kernel.clock.now_s())
