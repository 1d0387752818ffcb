"""Functions that programs offer: whose they are, who may call them, and when they are gone.

A process calls its own functions, and those that its forebears share, by their plain names; in the
kernel, and in the journal, each has the name of its process in front.
"""

import re
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import Call, CallTool
from orlop.abi.errors import BadCall, Conflict, NotFound
from orlop.abi.ids import ProcessId
from orlop.abi.limits import (
    CALL_DEADLINE_S_MAX,
    FUNCTION_CALLS_MAX,
    FUNCTIONS_MAX,
    NAME_CHARS_MAX,
    TOOL_RETRIES_MAX,
)
from orlop.abi.tools import FunctionAnswer, FunctionCard, OfferOrder, ToolsOffered
from orlop.effects.functions import Offer
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import ALIVE
from orlop.tools import template

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
REPEATABLE: Final = ("pure", "idempotent")


def resolved(kernel: Kernel, process: Process, call: Call) -> Call:
    """The call with the whole name of the function that it means.

    By the journal's table, so that a program that starts again means the same, also before it has
    offered anything.  Raises `NotFound` for another process's function.
    """
    if not isinstance(call, CallTool) or not kernel.tables.offers:
        return call
    owner, _, name = call.tool.rpartition(".")
    if owner:
        if owner in kernel.tables.offers and not _sees(kernel, process.id, ProcessId(owner), name):
            raise kernel.tools.unknown(call.tool)
        return call
    for place in lineage(kernel, process.id):
        if _sees(kernel, process.id, place, name):
            return replace(call, tool=f"{place}.{name}")
    return call


def lineage(kernel: Kernel, id: ProcessId) -> list[ProcessId]:
    """The process, its parent, and so on."""
    line: list[ProcessId] = []
    place: ProcessId | None = id
    while place is not None and place not in line:
        line.append(place)
        row = kernel.tables.rows.get(place)
        place = row.parent if row is not None else None
    return line


def _sees(kernel: Kernel, id: ProcessId, owner: ProcessId, name: str) -> bool:
    offered = kernel.tables.offers.get(owner)
    if offered is None or owner not in lineage(kernel, id):
        return False
    return any(one.name == name and (owner == id or one.shared) for one in offered.functions)


def offer(kernel: Kernel, process: Process, order: OfferOrder) -> Offer:
    """Take a program's functions into use.

    Raises `BadCall`, `Conflict`; then nothing has changed.
    """
    check(order)
    if process.row.state not in ALIVE:
        raise Conflict(f"process {process.row.pid} is {process.row.state}")
    incarnation = process.row.incarnation
    known = kernel.offers.get(process.id)
    fits = known is not None and known.incarnation == incarnation and not known.is_over
    if known is None or not fits or known.functions != order.functions:
        fresh = Offer(process.id, incarnation, order.functions)
        _compiled(kernel, fresh)
        event = ToolsOffered(incarnation=incarnation, functions=order.functions)
        if kernel.tables.offers.get(process.id) != event:
            kernel.emit(process.id, process.row.tenant, event)
        if known is not None:
            _drop(kernel, known, "the program offers other functions now")
        known = _use(kernel, process, fresh)
    return known


def check(order: OfferOrder) -> None:
    """Raises `BadCall`."""
    if len(order.functions) > FUNCTIONS_MAX:
        raise BadCall(f"functions: at most {FUNCTIONS_MAX} (FUNCTIONS_MAX)")
    names = [one.name for one in order.functions]
    for one in order.functions:
        if not NAME.fullmatch(one.name) or names.count(one.name) > 1:
            raise BadCall(f"functions: {one.name[:NAME_CHARS_MAX]!r} is no name, or is there twice")
        _check_terms(one)


def _check_terms(one: FunctionCard) -> None:
    if one.effect == "queryable":
        raise BadCall(f"{one.name}: a function of a program can't be `queryable`: it may be gone")
    is_repeated = one.retries > 0 and one.effect not in REPEATABLE
    if is_repeated or not 0 <= one.retries <= TOOL_RETRIES_MAX:
        raise BadCall(f"{one.name}: retries: of `pure` and `idempotent` functions only")
    if (
        not 0 < one.timeout_s <= CALL_DEADLINE_S_MAX
        or not 0 < one.concurrency <= FUNCTION_CALLS_MAX
    ):
        raise BadCall(f"{one.name}: timeout_s and concurrency: more than 0, and within reason")
    template.roots(one.compensate_with)


def answered(kernel: Kernel, process: Process, id: str, answer: FunctionAnswer) -> None:
    """A function has ended.  Raises `NotFound` where nobody waits for that any more."""
    found = kernel.offers.get(process.id)
    if found is None or found.incarnation != process.row.incarnation:
        raise NotFound("this program offers no functions")
    found.answered(id, answer)


def recover(kernel: Kernel) -> None:
    """After a boot: programs that live on come back with their functions."""
    for id, event in tuple(kernel.tables.offers.items()):
        process = kernel.processes.get(id)
        if process is None or process.row.state not in ALIVE:
            continue
        if process.row.incarnation == event.incarnation:
            with suppress(BadCall):  # A schema that an earlier release took.
                fresh = Offer(id, event.incarnation, event.functions)
                _compiled(kernel, fresh)
                _use(kernel, process, fresh)


def disconnect(kernel: Kernel) -> None:
    """At power off: nobody is kept on the line."""
    for found in kernel.offers.values():
        found.disconnect()


def _compiled(kernel: Kernel, fresh: Offer) -> None:
    """Raises `BadCall` for a schema that is wrong."""
    for tool in fresh.tools():
        kernel.tools.check(tool)


def _use(kernel: Kernel, process: Process, fresh: Offer) -> Offer:
    kernel.offers[process.id] = fresh
    for tool in fresh.tools():
        kernel.tools.put(tool)
    kernel.tasks.start(_watched(kernel, process, fresh), f"functions of {process.row.pid}")
    return fresh


async def _watched(kernel: Kernel, process: Process, found: Offer) -> None:
    """Until its incarnation is over; then its functions are gone."""
    while process.row.incarnation == found.incarnation and process.row.state in ALIVE:
        if found.is_over:
            return
        await process.changed.wait()
    if not found.is_over:
        _drop(kernel, found, f"process {process.row.pid}, whose function this is, has ended")


def _drop(kernel: Kernel, found: Offer, reason: str) -> None:
    found.end(reason)
    if kernel.offers.get(ProcessId(found.process)) is found:
        del kernel.offers[ProcessId(found.process)]
    now_s = kernel.clock.now_s()
    for tool in found.tools():
        kernel.tools.drop(tool.card.name)
        kernel.scheduler.detach(f"tool:{tool.card.name}", now_s)
