"""Which share of what a process did passed the door: that much of it, resume and replay cover.

Through the door is what the journal holds.  Beside it is what its sandbox saw: connections that no
one looked into, files that were changed, programs that were started.  Of a process without a
sandbox nobody saw anything, and no share is told.
"""

from collections import Counter
from typing import Final

from orlop.abi.calls import CallTool, Embed, Infer, Spawn
from orlop.abi.egress import Coverage, CoveredKind, EffectKind, Fetch
from orlop.abi.events import CallEntered
from orlop.abi.files import FileCall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process

KINDS: Final[tuple[EffectKind, ...]] = ("model", "tool", "http", "file", "program")

NOTES: Final[dict[EffectKind, str]] = {
    "model": "any other way to a model is a connection, and counted there",
    "http": "beside: connections that a rule lets through unread, each counted once",
    "file": "beside: openings for writing, removals and renamings outside its scratch folder",
    "program": "beside: programs that it started by itself",
}
"""For people: what is counted beside the door."""


async def of(kernel: Kernel, process: Process) -> Coverage:
    """Over all of its incarnations."""
    through = await _through(kernel, process)
    row = process.row
    if row.sandbox is None:
        kinds = tuple(CoveredKind(kind=kind, through=through[kind], beside=None) for kind in KINDS)
        return Coverage(
            process=row.id,
            pid=row.pid,
            sandboxed=False,
            kinds=kinds,
            share=None,
            reason="unknown: it runs without a sandbox, so nobody sees what it does by itself",
        )
    beside = _beside(kernel, process)
    kinds = tuple(
        CoveredKind(kind=kind, through=through[kind], beside=beside[kind], note=NOTES.get(kind, ""))
        for kind in KINDS
    )
    done, seen = through.total(), through.total() + beside.total()
    return Coverage(
        process=row.id,
        pid=row.pid,
        sandboxed=True,
        tier=kernel.cells.tier or "" if kernel.cells is not None else "",
        kinds=kinds,
        share=done / seen if seen else 1.0,
        reason="" if seen else "it has done nothing yet",
    )


async def _through(kernel: Kernel, process: Process) -> Counter[EffectKind]:
    """Calls by kind."""
    counted: Counter[EffectKind] = Counter()
    await kernel.journal.flush()
    for stored in await kernel.journal.of_process(process.id, kinds=("call.entered",)):
        event = codec.decode(stored)
        if isinstance(event, CallEntered) and (kind := kind_of(event)) is not None:
            counted[kind] += 1
    return counted


def kind_of(event: CallEntered) -> EffectKind | None:
    """None: it concerns the process alone."""
    match event.body:
        case Infer() | Embed():
            return "model"
        case CallTool():
            return "tool"
        case Fetch():
            return "http"
        case Spawn():
            return "program"
        case _:
            return "file" if isinstance(event.body, FileCall) else None


def _beside(kernel: Kernel, process: Process) -> Counter[EffectKind]:
    """As its sandboxes and the proxy have counted."""
    tally = kernel.launcher.tally(process.row)
    counted: Counter[EffectKind] = Counter()
    counted["http"] = kernel.tables.egress.of(process.id).tunnels
    counted["file"] = tally.get("files", 0)
    counted["program"] = tally.get("programs", 0)
    return counted
