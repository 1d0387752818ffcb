"""The undoing of one step of a saga: what there is to undo, its compensation, and its outcome."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from orlop.abi.calls import CallTool
from orlop.abi.effects import EffectSettled
from orlop.abi.errors import BadCall, EffectUnknown, NotFound, ResultWrong
from orlop.abi.events import CallEntered, CallReturned
from orlop.abi.ids import Nanoseconds, Seq
from orlop.abi.replies import ToolResult
from orlop.abi.sagas import SagaStep, SagaUndoing, SagaUndone, SagaView, UndoPlan
from orlop.devices.device import Tool
from orlop.machine.clock import NS_PER_S
from orlop.machine.faults import point
from orlop.sched.work import Work
from orlop.state import codec, saga_holds
from orlop.state.core import Kernel
from orlop.subsystems import external, history, saga_plan, seating
from orlop.tools import template

UNDO_WAIT_S: Final = 600.0
"""How long a compensation waits for its turn at a system, each time."""

REPEATABLE: Final = ("pure", "idempotent")


@dataclass(eq=False, slots=True)
class Undoing:
    """The attempts of this kernel at one step.  in_doubt: one of them, or of a kernel before it,
    may have acted."""

    in_doubt: bool
    tries: int = 0
    ran_ns: Nanoseconds = Nanoseconds(0)


def digest_of(kernel: Kernel, step: SagaStep) -> bytes | None:
    """Of the step's call, where it is among those that nobody knows of."""
    unknown = kernel.tables.calls.unknown_effects()
    return next((one.digest for one in unknown if one.call == step.call), None)


async def once(kernel: Kernel, row: SagaView, step: SagaStep, undoing: Undoing) -> None:
    """Find out what there is to undo, and undo it.

    Raises `EffectUnknown` where only a person can know, `RuleForbids` and `NotApproved` where one
    has to agree; any other error may be better next time.
    """
    plan = saga_plan.of(kernel, step)
    if not plan.tool:
        if step.state == "done" and plan.effect == "pure":
            kernel.emit(
                row.process, row.tenant, SagaUndone(saga=row.id, step=step.seq, state="kept")
            )
            return
        if plan.effect != "pure":
            raise NotFound(f"the card of {step.tool} names no `compensate` any more")
    if step.state == "unknown" and not plan.unknown:
        await _learn(kernel, row, step, plan)
        return
    tool = kernel.tools.find(plan.tool)
    entered = await _entered(kernel, step)
    arguments = await _arguments(kernel, step, plan, entered)
    if wrong := kernel.tools.schemas(plan.tool).arguments.wrong(arguments):
        raise BadCall(f"arguments of {plan.tool}: {wrong}")
    key = saga_holds.undoing(step.effect)
    if undoing.in_doubt and await _was_undone(tool, key):
        kernel.emit(
            row.process, row.tenant, SagaUndone(saga=row.id, step=step.seq, ran_ns=undoing.ran_ns)
        )
        return
    labels = frozenset(entered.labels)
    said = saga_plan.permitted(kernel, row, step, tool.card, arguments, labels)
    intent = SagaUndoing(
        saga=row.id,
        step=step.seq,
        tool=plan.tool,
        arguments=dict(arguments),
        key=key,
        attempt=step.attempts + undoing.tries + 1,
        rules=said.rules,
        cleared_by=step.cleared_by,
        verdict="permit" if said.verdict == "permit" else "ask",
        labels=entered.labels,
    )
    await _undone(kernel, row, tool, intent, undoing)


async def _undone(
    kernel: Kernel, row: SagaView, tool: Tool, intent: SagaUndoing, undoing: Undoing
) -> None:
    """The compensation itself: intent, act, outcome."""
    header = kernel.emit(row.process, row.tenant, intent)
    point("saga.entered")
    await kernel.journal.durable(header.seq)
    begun_s = kernel.clock.now_s()
    try:
        value = await _act(kernel, row, tool, intent.arguments, intent.key)
    finally:
        took_ns = round((kernel.clock.now_s() - begun_s) * NS_PER_S)
        undoing.ran_ns = Nanoseconds(undoing.ran_ns + took_ns)
    point("saga.done")
    if wrong := kernel.tools.schemas(intent.tool).results.wrong(value):
        raise ResultWrong(f"{intent.tool} has run, and its result breaks its schema: {wrong}")
    done = SagaUndone(saga=row.id, step=intent.step, value=value, ran_ns=undoing.ran_ns)
    kernel.emit(row.process, row.tenant, done)
    await kernel.journal.flush()
    point("saga.outcome")


async def _learn(kernel: Kernel, row: SagaView, step: SagaStep, plan: UndoPlan) -> None:
    """What became of the step, from its tool: one that can tell is asked, and one that does nothing
    twice under one key is called again.  Raises `EffectUnknown` where only a person can know, also
    where the tool is another one now."""
    happened: bool | None = None
    value: object = None
    tool = kernel.tools.find(step.tool)
    match plan.effect if plan.effect == tool.card.effect else "irreversible":
        case "pure":
            happened = False
        case "queryable":
            happened = await tool.happened(step.effect)
            value = {"happened": True, "key": step.effect} if happened else None
        case "idempotent":
            given = _given(await _entered(kernel, step))
            value = await _act(kernel, row, tool, given, step.effect)
            happened = True
        case "compensable" | "irreversible":
            pass
    if happened is None:
        raise EffectUnknown(
            f"nobody knows whether {step.tool} happened: look, and say so with "
            f"`orlop effects settle {step.call}`"
        )
    event = EffectSettled(effect=step.effect, tool=step.tool, happened=happened, result=value)
    digest = digest_of(kernel, step)
    kernel.emit(row.process, row.tenant, event, call=step.call, args_digest=digest)


async def _was_undone(undoing: Tool, key: str) -> bool:
    """Whether an earlier attempt took place; False: it may be called (again)."""
    if undoing.card.effect in REPEATABLE:
        return False
    happened = await undoing.happened(key) if undoing.card.effect == "queryable" else None
    if happened is None:
        raise EffectUnknown(f"nobody knows whether {undoing.card.name} happened (key {key})")
    return happened


async def _arguments(
    kernel: Kernel, step: SagaStep, plan: UndoPlan, entered: CallEntered
) -> Mapping[str, object]:
    """Of the compensation, by the card's template.  Raises `BadCall`."""
    given: dict[str, object] = {"arguments": _given(entered), "key": step.effect}
    if step.outcome is not None and step.state != "unknown":
        given["result"] = await _result(kernel, step.outcome)
    made = template.filled(plan.arguments or "{arguments}", given)
    if not isinstance(made, dict):
        raise BadCall(f"compensate_with of {step.tool} gives no object")
    return made


async def _entered(kernel: Kernel, step: SagaStep) -> CallEntered:
    """The intent of the step's own call."""
    await kernel.journal.flush()
    entered = codec.decode(await history.event(kernel, step.seq))
    assert isinstance(entered, CallEntered)
    return entered


def _given(entered: CallEntered) -> dict[str, object]:
    """The arguments of the step's own call."""
    assert isinstance(entered.body, CallTool)
    return entered.body.arguments


async def _result(kernel: Kernel, outcome: Seq) -> object:
    event = codec.decode(await history.event(kernel, outcome))
    if isinstance(event, CallReturned) and isinstance(event.done, ToolResult):
        return event.done.value
    return event.result if isinstance(event, EffectSettled) else None


async def _act(
    kernel: Kernel, row: SagaView, tool: Tool, arguments: Mapping[str, object], key: str
) -> object:
    """In a seat like any call's, and within its system's limits."""
    await external.turn(kernel, tool.card, UNDO_WAIT_S)
    async with AsyncExitStack() as held:
        for name, concurrency in seating.places(kernel, tool.card):
            seating.attach_tool(kernel, name, concurrency)
            work = Work(
                process=row.process,
                candidates=(name,),
                arrived_s=kernel.clock.now_s(),
                tenant=row.tenant,
            )
            await held.enter_async_context(kernel.turns.seat(work))
        point("tool.before")
        value = await tool.call(arguments, key, tool.card.timeout_s)
        point("tool.after")
        return value
