"""Sagas: who decides them, and the undoing of what was done, in reverse order and across crashes.

A compensation is no call of the process: the process may be gone, and its record must not grow by
calls that it never made.  It has an intent and an outcome of its own in the journal, and one key
for all of its attempts.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.effects import EffectSettled
from orlop.abi.errors import (
    BadCall,
    Conflict,
    Denied,
    EffectUnknown,
    Exhausted,
    JournalStopped,
    KernelError,
    NotFound,
    ResultWrong,
)
from orlop.abi.events import CallEntered, CallReturned
from orlop.abi.ids import DEFAULT_TENANT, CallId, Nanoseconds, Seq, TenantId
from orlop.abi.limits import (
    NAME_CHARS_MAX,
    SAGA_RETRY_DELAY_S,
    SAGA_STEPS_MAX,
    SAGA_TRIES_MAX,
    SAGAS_OPEN_MAX,
)
from orlop.abi.replies import ToolResult
from orlop.abi.sagas import (
    OpenSaga,
    SagaClosed,
    SagaDecided,
    SagaOpened,
    SagaOrder,
    SagaRetried,
    SagaState,
    SagaStep,
    SagaStuck,
    SagaUndoing,
    SagaUndone,
    SagaVerdict,
    SagaView,
)
from orlop.devices.device import Tool
from orlop.machine.clock import NS_PER_S
from orlop.machine.faults import point
from orlop.people import asking
from orlop.sched.work import Work
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.record import is_unknown
from orlop.state.saga_table import OVER, newest
from orlop.subsystems import external, history, lifecycle, saga_questions, seating
from orlop.tools import template

log = logging.getLogger(__name__)

UNDO_WAIT_S: Final = 600.0
"""How long a compensation waits for its turn at a system, each time."""

REPEATABLE: Final = ("pure", "idempotent")


def find(kernel: Kernel, id: str, tenant: TenantId | None = None) -> SagaView:
    """The tenant's; None: the kernel itself asks.  Raises `NotFound`."""
    row = kernel.tables.sagas.rows.get(id)
    if row is None or tenant not in (None, row.tenant):
        raise NotFound(f"no saga {id[:NAME_CHARS_MAX]!r}; `orlop sagas --all` lists all")
    return row


def own(kernel: Kernel, process: Process, id: str) -> SagaView:
    """A saga is its process's own.  Raises `NotFound`, `Denied`."""
    row = find(kernel, id, process.row.tenant)
    if row.process != process.id:
        raise Denied(f"saga {id} is another process's")
    return row


def require_step(kernel: Kernel, process: Process, call: CallTool, card: ToolCard) -> None:
    """Whether the call may be a step of its saga.  Raises `NotFound`, `Denied`, `Conflict`."""
    row = own(kernel, process, call.saga)
    if row.state != "open":
        why = f": {row.reason}" if row.reason else ""
        raise Conflict(f"saga {row.id} is {row.state}{why}; nothing can be added to it")
    if len(row.steps) >= SAGA_STEPS_MAX:
        raise Exhausted(f"saga {row.id} has {SAGA_STEPS_MAX} steps (SAGA_STEPS_MAX)")
    if card.effect != "pure" and not card.compensate:
        raise BadCall(
            f"{card.name} is {card.effect} and its card names no `compensate`, so a saga could not "
            "undo it; call it after the commit"
        )


def begin(kernel: Kernel, process: Process, id: str, call: OpenSaga) -> None:
    """Raises `Exhausted`."""
    count = kernel.tables.sagas.still_open()
    if count >= SAGAS_OPEN_MAX:
        raise Exhausted(f"{count} sagas are open (SAGAS_OPEN_MAX)", retry_after_s=60.0)
    # From here on only the journal can fail.
    expires_ns = Nanoseconds(kernel.clock.wall_ns() + round(call.expires_s * NS_PER_S))
    event = SagaOpened(saga=id, name=call.name, expires_ns=expires_ns)
    kernel.emit(process.id, process.row.tenant, event)
    attend(kernel, id)


def recover(kernel: Kernel) -> None:
    """After a boot: what was open is watched, what was being undone goes on."""
    for row in tuple(kernel.tables.sagas.rows.values()):
        if row.state not in OVER:
            attend(kernel, row.id)


def attend(kernel: Kernel, id: str) -> None:
    """One task a saga, until it is over or stuck."""
    task = kernel.sagas.get(id)
    if task is None or task.done():
        kernel.sagas[id] = kernel.tasks.start(_attended(kernel, id), f"saga {id}")


async def _attended(kernel: Kernel, id: str) -> None:
    try:
        row = kernel.tables.sagas.rows[id]
        if row.state == "open":
            await _decided(kernel, row)
        while (row := find(kernel, id)).state not in OVER:
            if row.state == "stuck":
                await _put_to_people(kernel, row)
            else:
                await _compensate(kernel, id)
    except JournalStopped:
        log.warning("saga %s waits for the next kernel", id)
    except KernelError as error:
        log.warning("saga %s is left as it is: %s", id, error.message)
    finally:
        kernel.sagas.pop(id, None)


async def _decided(kernel: Kernel, row: SagaView) -> None:
    """By its program; by the end of its process; by its time."""
    process, changed = kernel.processes.get(row.process), kernel.saga_changes(row.id)
    left_s = (row.expires_ns - kernel.clock.wall_ns()) / NS_PER_S
    over = asyncio.ensure_future(_over(kernel, process))
    told = asyncio.ensure_future(changed.wait())
    try:
        done, _ = await asyncio.wait(
            (over, told), timeout=max(0.0, left_s), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        over.cancel()
        told.cancel()
    if kernel.tables.sagas.rows[row.id].state == "open" and not kernel.closing:
        reason = "its process ended without a commit" if done else "its time was over"
        decide(kernel, row, "abort", reason)


async def _over(kernel: Kernel, process: Process | None) -> None:
    if process is not None:
        await lifecycle.ended(kernel, process)


def decide(kernel: Kernel, row: SagaView, verdict: SagaVerdict, reason: str) -> None:
    """Of an open one."""
    decided = SagaDecided(saga=row.id, verdict=verdict, reason=reason)
    kernel.emit(row.process, row.tenant, decided)
    moved(kernel, row.id)


def moved(kernel: Kernel, id: str) -> None:
    """Wake who waits for it to be over."""
    if (changed := kernel.sagas_changed.pop(id, None)) is not None:
        changed.set()


async def ended(kernel: Kernel, id: str, states: frozenset[SagaState] = OVER) -> SagaView:
    """The saga, once it is over."""
    while (row := find(kernel, id)).state not in states:
        await kernel.saga_changes(id).wait()
    await kernel.journal.flush()
    return row


async def _compensate(kernel: Kernel, id: str) -> None:
    """Undo the steps, the last first, until all are settled or one needs a person."""
    while (row := kernel.tables.sagas.rows[id]).state == "compensating":
        step = newest(row)
        if step is None:
            kernel.emit(row.process, row.tenant, SagaClosed(saga=id))
            log.info("saga %s (%s) is undone: %s", id, row.name, row.reason)
            break
        await _undo(kernel, row, step)
    moved(kernel, id)
    await kernel.journal.flush()


async def _put_to_people(kernel: Kernel, row: SagaView) -> None:
    """Ask, and wait until somebody has said what became of the step that is stuck: as an answer, or
    by `orlop sagas settle` or `orlop effects settle`."""
    step, changed = newest(row), kernel.saga_changes(row.id)
    if step is None:
        return
    question = saga_questions.put(kernel, row, step)
    if question is None:
        await changed.wait()
        return
    answered = asyncio.ensure_future(asking.decided(kernel, question))
    told = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait((answered, told), return_when=asyncio.FIRST_COMPLETED)
    finally:
        answered.cancel()
        told.cancel()
    said = kernel.office.questions.rows.get(question)
    if changed.is_set() or said is None:
        asking.abandon(kernel, question, "it was settled in another way")
    elif (event := saga_questions.word(row, step, said)) is not None:
        by_call = isinstance(event, EffectSettled)
        call, digest = (step.call, digest_of(kernel, step)) if by_call else (None, None)
        kernel.emit(row.process, row.tenant, event, call=call, args_digest=digest)
    else:  # Nobody has answered in time: it can still be settled by hand.
        await changed.wait()


def digest_of(kernel: Kernel, step: SagaStep) -> bytes | None:
    """Of the step's call, where it is among those that nobody knows of."""
    unknown = kernel.tables.calls.unknown_effects()
    return next((one.digest for one in unknown if one.call == step.call), None)


async def _undo(kernel: Kernel, row: SagaView, step: SagaStep) -> None:
    """One step; when this returns it is settled or stuck, or another thing is known of it."""
    if step.state == "begun":
        await _until_ended(kernel, row, step)
        return
    in_doubt = step.state == "undoing"
    tries = 0
    while True:
        try:
            await _once(kernel, row, step, in_doubt=in_doubt, attempt=step.attempts + tries + 1)
            return
        except JournalStopped:
            raise
        except EffectUnknown as error:
            _stick(kernel, row, step, error.message, is_unknown=True)
            return
        except KernelError as error:
            tries += 1
            in_doubt = in_doubt or is_unknown(error.code)
            if tries >= SAGA_TRIES_MAX:
                said = f"{step.tool} could not be undone in {tries} attempts: {error.message}"
                _stick(kernel, row, step, said, is_unknown=in_doubt)
                return
            log.info("saga %s, %s: %s", row.id, step.tool, error.message)
        await kernel.clock.sleep(SAGA_RETRY_DELAY_S * 2.0 ** (tries - 1))


async def _until_ended(kernel: Kernel, row: SagaView, step: SagaStep) -> None:
    process = kernel.processes.get(row.process)
    running = process.running.get(step.call) if process is not None else None
    if running is not None:
        await running.ended.wait()
    still = next(s for s in find(kernel, row.id).steps if s.call == step.call)
    if still.state == "begun":  # Its outcome was never written: the journal has stopped.
        raise kernel.journal.stopped or Conflict(f"call {step.call} has no outcome")


def _stick(kernel: Kernel, row: SagaView, step: SagaStep, reason: str, *, is_unknown: bool) -> None:
    event = SagaStuck(saga=row.id, step=step.seq, reason=reason[:1_000], is_unknown=is_unknown)
    kernel.emit(row.process, row.tenant, event)
    log.warning("saga %s needs a person (`orlop sagas show`): %s", row.id, reason)


async def _once(
    kernel: Kernel, row: SagaView, step: SagaStep, *, in_doubt: bool, attempt: int
) -> None:
    """Find out what there is to undo, and undo it.

    in_doubt: an earlier attempt may have acted.  Raises `EffectUnknown` where only a person can
    know; any other error may be better next time.
    """
    tool = kernel.tools.find(step.tool)
    if not tool.card.compensate:
        if step.state == "done" and tool.card.effect == "pure":
            _settle(kernel, row, step, SagaUndone(saga=row.id, step=step.seq, state="kept"))
            return
        if tool.card.effect != "pure":
            raise NotFound(f"the card of {step.tool} names no `compensate` any more")
    if step.state == "unknown" and not tool.card.compensate_unknown:
        await _learn(kernel, row, step, tool)
        return
    undoing = kernel.tools.find(tool.card.compensate)
    arguments = await _arguments(kernel, tool.card, step)
    schemas = kernel.tools.schemas(undoing.card.name)
    if wrong := schemas.arguments.wrong(arguments):
        raise BadCall(f"arguments of {undoing.card.name}: {wrong}")
    key = f"{step.effect}.undo"
    if in_doubt and await _was_undone(undoing, key):
        _settle(kernel, row, step, SagaUndone(saga=row.id, step=step.seq))
        return
    header = kernel.emit(
        row.process,
        row.tenant,
        SagaUndoing(
            saga=row.id,
            step=step.seq,
            tool=undoing.card.name,
            arguments=dict(arguments),
            key=key,
            attempt=attempt,
        ),
    )
    point("saga.entered")
    await kernel.journal.durable(header.seq)
    value = await _act(kernel, row, undoing, arguments, key)
    point("saga.done")
    if wrong := schemas.results.wrong(value):
        raise ResultWrong(f"{undoing.card.name} has run, and its result breaks its schema: {wrong}")
    _settle(kernel, row, step, SagaUndone(saga=row.id, step=step.seq, value=value))
    await kernel.journal.flush()
    point("saga.outcome")


def _settle(kernel: Kernel, row: SagaView, step: SagaStep, event: SagaUndone) -> None:
    kernel.emit(row.process, row.tenant, event)


async def _learn(kernel: Kernel, row: SagaView, step: SagaStep, tool: Tool) -> None:
    """What became of the step, from its tool: one that can tell is asked, and one that does nothing
    twice under one key is called again.  Raises `EffectUnknown` where only a person can know."""
    happened: bool | None = None
    value: object = None
    match tool.card.effect:
        case "pure":
            happened = False
        case "queryable":
            happened = await tool.happened(step.effect)
            value = {"happened": True, "key": step.effect} if happened else None
        case "idempotent":
            value = await _act(kernel, row, tool, await _given(kernel, step), step.effect)
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


async def _arguments(kernel: Kernel, card: ToolCard, step: SagaStep) -> Mapping[str, object]:
    """Of the compensation, by the card's template.  Raises `BadCall`."""
    given: dict[str, object] = {"arguments": await _given(kernel, step), "key": step.effect}
    if step.outcome is not None and step.state != "unknown":
        given["result"] = await _result(kernel, step.outcome)
    made = template.filled(card.compensate_with or "{arguments}", given)
    if not isinstance(made, dict):
        raise BadCall(f"compensate_with of {card.name} gives no object")
    return made


async def _given(kernel: Kernel, step: SagaStep) -> Mapping[str, object]:
    """The arguments of the step's own call."""
    await kernel.journal.flush()
    entered = codec.decode(await history.event(kernel, step.seq))
    assert isinstance(entered, CallEntered) and isinstance(entered.body, CallTool)
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


async def settle(
    kernel: Kernel, id: str, order: SagaOrder, tenant: TenantId = DEFAULT_TENANT
) -> SagaView:
    """A person's word on the step that is stuck.  Raises `NotFound`, `BadCall`, `Conflict`."""
    row = find(kernel, id, tenant)
    if not order.person.strip() or not order.person.isprintable():
        raise BadCall("person: who says so?")
    step = newest(row)
    if row.state != "stuck" or step is None:
        raise Conflict(f"saga {id} is {row.state}: nothing waits for a person")
    if step.state == "unknown" and order.verdict == "undone":
        raise Conflict(
            f"it is not known whether {step.tool} happened at all: `orlop effects settle "
            f"{step.call}` says so"
        )
    # From here on only the journal can fail.
    if order.verdict == "undone":
        event: SagaUndone | SagaRetried = SagaUndone(saga=id, step=step.seq, person=order.person)
    else:
        event = SagaRetried(saga=id, step=step.seq, person=order.person)
    kernel.emit(row.process, row.tenant, event)
    moved(kernel, id)
    attend(kernel, id)
    await kernel.journal.flush()
    return find(kernel, id)


def told(kernel: Kernel, call: CallId) -> None:
    """An unknown effect is settled: a saga that waited for that goes on."""
    for row in tuple(kernel.tables.sagas.rows.values()):
        if row.state == "compensating" and any(step.call == call for step in row.steps):
            moved(kernel, row.id)
            attend(kernel, row.id)


def listed(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT, *, over: bool) -> list[SagaView]:
    """Those that are not over, or all that are known, oldest first."""
    rows = kernel.tables.sagas.rows.values()
    return [row for row in rows if row.tenant == tenant and (over or row.state not in OVER)]
