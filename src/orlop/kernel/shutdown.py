"""Power off, in order: no new calls, no running ones, programs interrupted, engines let go."""

from orlop.abi.errors import Interrupted
from orlop.abi.limits import KILL_GRACE_S
from orlop.state.core import Kernel
from orlop.state.process_table import ALIVE
from orlop.subsystems import lifecycle

LOOK_S = 0.05
"""Between two looks at programs that have been asked to end."""


async def shut_down(kernel: Kernel, *, leaves_programs: bool = False) -> None:
    """End all that runs.  Programs may be resumed later; those with a restart rule are, at boot.

    leaves_programs: they run on, and the next kernel finds them as after a crash of this one.
    """
    kernel.closing = True
    for process in tuple(kernel.processes.values()):
        for running in tuple(process.running.values()):
            running.cancel(Interrupted("the kernel is stopping"))
    for process in tuple(kernel.processes.values()):
        for running in tuple(process.running.values()):
            await running.ended.wait()
    if not leaves_programs:
        await end_programs(kernel)
    kernel.turns.close()
    await kernel.tasks.close()
    for engine in kernel.registry.engines.values():
        await engine.close()


async def end_programs(kernel: Kernel) -> None:
    """SIGTERM to all, SIGKILL to those that have not ended within the grace."""
    alive = [
        process
        for process in kernel.processes.values()
        if process.row.state in ALIVE and not process.row.is_client
    ]
    if kernel.journal.stopped is None:
        for process in alive:
            lifecycle.interrupt(kernel, process, "the system was shut down")
    for process in alive:
        kernel.launcher.signal(process.row, "term")
        kernel.launcher.signal(process.row, "cont")
    give_up_s = kernel.clock.now_s() + KILL_GRACE_S
    while any(kernel.launcher.alive(process.row) for process in alive):
        if kernel.clock.now_s() > give_up_s:
            for process in alive:
                kernel.launcher.signal(process.row, "kill")
            break
        await kernel.clock.sleep(LOOK_S)
