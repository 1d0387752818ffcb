"""Effects that nobody knows of: what there is, and a person's word on each."""

import msgspec

from orlop.abi.calls import CallTool
from orlop.abi.cards import Effect
from orlop.abi.effects import (
    EffectSettled,
    EffectView,
    SettledEffect,
    SettleOrder,
    UnknownEffect,
)
from orlop.abi.errors import BadCall, NotFound, TooLarge
from orlop.abi.events import CallEntered
from orlop.abi.ids import DEFAULT_TENANT, CallId, Pid, ProcessId, TenantId
from orlop.abi.limits import ANSWER_CHARS_MAX, NAME_CHARS_MAX, SETTLED_BYTES_MAX
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import history, saga

HARMLESS: tuple[Effect, ...] = ("pure", "idempotent")
"""Classes whose calls are simply made again: nobody has to be asked."""


def class_of(kernel: Kernel, tool: str) -> Effect:
    """By its card of today; of a tool that is gone nothing can be said, so the worst."""
    if (card := kernel.tools.card(tool)) is not None:
        return card.effect
    owner, _, name = tool.rpartition(".")
    offered = kernel.tables.offers.get(ProcessId(owner))
    functions = offered.functions if offered is not None else ()
    return next((one.effect for one in functions if one.name == name), "irreversible")


def settled(kernel: Kernel, process: Process, running: Running) -> SettledEffect | None:
    """What a person has said of this very call, where no other call is being answered with it."""
    found = kernel.tables.calls.settled.get((process.id, running.digest), [])
    taken = {call.effect for call in kernel.tables.calls.open.values()} if found else set()
    return next((one for one in found if one.effect not in taken), None)


async def result(kernel: Kernel, known: SettledEffect) -> object:
    """That the person gave."""
    await kernel.journal.flush()
    event = codec.decode(await history.event(kernel, known.seq))
    return event.result if isinstance(event, EffectSettled) else None


async def listed(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT) -> list[EffectView]:
    """Those that need a person, the longest unknown first."""
    await kernel.journal.flush()
    found = sorted(_of(kernel, tenant), key=lambda one: one.seq)
    return [await _view(kernel, one) for one in found if class_of(kernel, one.tool) not in HARMLESS]


async def _view(kernel: Kernel, unknown: UnknownEffect) -> EffectView:
    row = kernel.tables.rows.get(unknown.process)
    return EffectView(
        id=unknown.call or CallId(unknown.effect),
        tool=unknown.tool,
        class_=class_of(kernel, unknown.tool),
        process=unknown.process,
        pid=row.pid if row is not None else Pid(0),
        name=row.name if row is not None else "",
        arguments=await _arguments(kernel, unknown),
        key=unknown.effect,
        since_ns=unknown.wall_ns,
        code=unknown.code,
        saga=unknown.saga,
    )


async def _arguments(kernel: Kernel, unknown: UnknownEffect) -> dict[str, object]:
    """Empty where the journal holds them no more."""
    try:
        event = codec.decode(await history.event(kernel, unknown.seq))
    except NotFound:
        return {}
    body = event.body if isinstance(event, CallEntered) else None
    return body.arguments if isinstance(body, CallTool) else {}


def _of(kernel: Kernel, tenant: TenantId) -> list[UnknownEffect]:
    rows, all = kernel.tables.rows, kernel.tables.calls.unknown_effects()
    own = [(one, rows.get(one.process)) for one in all]
    return [one for one, row in own if row is not None and row.tenant == tenant]


def find(kernel: Kernel, id: str, tenant: TenantId) -> UnknownEffect:
    """Raises `NotFound`."""
    for one in _of(kernel, tenant):
        if id in (one.call, one.effect):
            return one
    raise NotFound(
        f"no unknown effect {id[:NAME_CHARS_MAX]!r}; it may be settled: `orlop effects` lists all"
    )


async def settle(
    kernel: Kernel, id: str, order: SettleOrder, tenant: TenantId = DEFAULT_TENANT
) -> EffectView:
    """A person has looked.  Raises `NotFound`, `BadCall`."""
    unknown = find(kernel, id, tenant)
    if not order.person.strip() or not order.person.isprintable():
        raise BadCall("person: who says so?")
    if len(order.note) > ANSWER_CHARS_MAX:
        raise BadCall(f"note: at most {ANSWER_CHARS_MAX} characters")
    if len(msgspec.json.encode(order.result)) > SETTLED_BYTES_MAX:
        raise TooLarge(f"result: at most {SETTLED_BYTES_MAX} bytes (SETTLED_BYTES_MAX)")
    if order.result is not None and not order.happened:
        raise BadCall("result: what did not happen has none")
    wrong = _breaks_schema(kernel, unknown.tool, order)
    if wrong:
        raise BadCall(f"result: {wrong}; the program would not get it from {unknown.tool}")
    view = await _view(kernel, unknown)
    # From here on only the journal can fail.
    kernel.emit(
        unknown.process,
        tenant,
        EffectSettled(
            effect=unknown.effect,
            tool=unknown.tool,
            happened=order.happened,
            result=order.result,
            person=order.person,
            note=order.note,
        ),
        call=unknown.call or None,
        args_digest=unknown.digest,
    )
    saga.told(kernel, view.id)
    await kernel.journal.flush()
    return view


def _breaks_schema(kernel: Kernel, tool: str, order: SettleOrder) -> str:
    if not order.happened or kernel.tools.card(tool) is None:
        return ""
    return kernel.tools.schemas(tool).results.wrong(order.result)
