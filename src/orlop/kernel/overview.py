"""The whole system at one look, from the kernel's own tables; nothing is counted twice."""

from msgspec.structs import replace

import orlop
from orlop.abi.admin import EngineLoadView
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import PROCESSES_SHOWN_MAX
from orlop.abi.overview import Overview
from orlop.kernel import operator
from orlop.sched import view
from orlop.state.core import Kernel
from orlop.state.process_table import OVER, Row, State
from orlop.subsystems import models


def overview(kernel: Kernel, started_ns: Nanoseconds) -> Overview:
    """started_ns: when the kernel came up."""
    rows = list(kernel.tables.rows.values())

    def busy(row: Row) -> tuple[int, int, int]:
        live = kernel.processes.get(row.id)
        return (len(live.running) if live is not None else 0, row.calls, row.pid)

    alive = [row for row in rows if row.state not in OVER]
    shown = sorted(alive, key=busy, reverse=True)[:PROCESSES_SHOWN_MAX]
    seen = view.view(kernel.scheduler, kernel.clock.now_s())
    return Overview(
        version=orlop.__version__,
        started_ns=started_ns,
        wall_ns=kernel.clock.wall_ns(),
        now_s=kernel.clock.now_s(),
        calls_in_flight=kernel.calls_in_flight,
        calls_parked=kernel.calls_parked,
        scheduler=replace(seen, engines=engines(kernel, seen.engines)),
        residency=models.view(kernel),
        states={state.value: sum(row.state is state for row in rows) for state in State},
        processes=tuple(operator.view(kernel, row) for row in shown),
    )


def engines(kernel: Kernel, seen: tuple[EngineLoadView, ...]) -> tuple[EngineLoadView, ...]:
    """seen: those that the scheduler knows; it meets an engine with the first call for it."""
    known = {view.name for view in seen}
    unknown = [
        EngineLoadView(
            name=name,
            attached=engine.card().health == "ready",
            seats=engine.slots,
            slots=engine.slots,
            running=0,
            waiting=0,
            kv_used=0,
            kv_tokens=engine.capacity().kv_tokens,
            retained=0,
            budget=None,
            resident=0,
            host=0,
            call_s=0.0,
            input_tokens=0,
            cached_tokens=0,
            output_tokens=0,
            wasted_tokens=0,
            preempted=0,
            calls=0,
        )
        for name, engine in kernel.registry.engines.items()
        if name not in known
    ]
    return (*seen, *unknown)
