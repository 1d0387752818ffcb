"""Keeping what programs and the kernel itself print within bounds."""

import logging
from pathlib import Path
from typing import Final

from orlop.abi.ids import ProcessId
from orlop.machine.offload import ThreadOffload
from orlop.machine.output import turn_over
from orlop.state.core import Kernel
from orlop.state.process_table import ALIVE
from orlop.store.output import OutputConfig, Trimmer

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""Between two looks at how long the files are."""
SWEEP_S: Final = 3_600.0
"""Between two looks for folders of processes that are in no table any more."""


async def run(kernel: Kernel, home: Path, config: OutputConfig) -> None:
    """Until cancelled."""
    offload = ThreadOffload("output")
    trimmer = Trimmer(home / "run", config.stream_bytes)
    processes = frozenset(kernel.tables.rows)
    swept_s: float | None = None
    while True:
        turn_over(home / "log" / "kernel.log", config.log_bytes)
        if swept_s is None or kernel.clock.now_s() - swept_s > SWEEP_S:
            swept_s = kernel.clock.now_s()
            await offload(trimmer.remove_others, frozenset(kernel.tables.rows))
        try:
            await offload(trimmer.trim, processes | running(kernel))
        except OSError as error:
            log.warning("what programs print is not kept within bounds: %s", error)
            return
        # Those that run now are looked at once more when they have ended.
        processes = running(kernel)
        await kernel.clock.sleep(LOOK_S)


def running(kernel: Kernel) -> frozenset[ProcessId]:
    """Processes with a program that prints."""
    return frozenset(
        id
        for id, row in kernel.tables.rows.items()
        if row.os_pid is not None and row.state in ALIVE
    )
