"""Sagas: who decides them, and the undoing of what was done, in reverse order and across crashes.

A compensation is no call of the process: the process may be gone, and its record must not grow by
calls that it never made.  It has an intent and an outcome of its own in the journal, and one key
for all of its attempts.
"""

import asyncio
import logging

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
    NotApproved,
    NotFound,
    RuleForbids,
)
from orlop.abi.ids import DEFAULT_TENANT, CallId, Nanoseconds, TenantId
from orlop.abi.limits import (
    NAME_CHARS_MAX,
    SAGA_RETRY_DELAY_S,
    SAGA_STEPS_MAX,
    SAGA_TRIES_MAX,
    SAGAS_OPEN_MAX,
)
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
    SagaUndone,
    SagaVerdict,
    SagaView,
)
from orlop.machine.clock import NS_PER_S
from orlop.people import asking
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.record import is_unknown
from orlop.state.saga_table import OVER, newest
from orlop.subsystems import lifecycle, saga_questions, saga_undo

log = logging.getLogger(__name__)


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
        call, digest = (step.call, saga_undo.digest_of(kernel, step)) if by_call else (None, None)
        kernel.emit(row.process, row.tenant, event, call=call, args_digest=digest)
    else:  # Nobody has answered in time: it can still be settled by hand.
        await changed.wait()


async def _undo(kernel: Kernel, row: SagaView, step: SagaStep) -> None:
    """One step; when this returns it is settled or stuck, or another thing is known of it."""
    if step.state == "begun":
        await _until_ended(kernel, row, step)
        return
    undoing = saga_undo.Undoing(in_doubt=step.state == "undoing")
    while True:
        try:
            await saga_undo.once(kernel, row, step, undoing)
            return
        except JournalStopped:
            raise
        except (NotApproved, RuleForbids) as error:
            _stick(kernel, row, step, undoing, error.message)
            return
        except EffectUnknown as error:
            undoing.in_doubt = True
            _stick(kernel, row, step, undoing, error.message)
            return
        except KernelError as error:
            undoing.tries += 1
            undoing.in_doubt = undoing.in_doubt or is_unknown(error.code)
            if undoing.tries >= SAGA_TRIES_MAX:
                tried = f"{step.tool} could not be undone in {undoing.tries} attempts"
                _stick(kernel, row, step, undoing, f"{tried}: {error.message}")
                return
            log.info("saga %s, %s: %s", row.id, step.tool, error.message)
        await kernel.clock.sleep(SAGA_RETRY_DELAY_S * 2.0 ** (undoing.tries - 1))


async def _until_ended(kernel: Kernel, row: SagaView, step: SagaStep) -> None:
    process = kernel.processes.get(row.process)
    running = process.running.get(step.call) if process is not None else None
    if running is not None:
        await running.ended.wait()
    still = next(s for s in find(kernel, row.id).steps if s.call == step.call)
    if still.state == "begun":  # Its outcome was never written: the journal has stopped.
        raise kernel.journal.stopped or Conflict(f"call {step.call} has no outcome")


def _stick(
    kernel: Kernel, row: SagaView, step: SagaStep, undoing: saga_undo.Undoing, reason: str
) -> None:
    event = SagaStuck(
        saga=row.id,
        step=step.seq,
        reason=reason[:1_000],
        is_unknown=undoing.in_doubt,
        ran_ns=undoing.ran_ns,
    )
    kernel.emit(row.process, row.tenant, event)
    log.warning("saga %s needs a person (`orlop sagas show`): %s", row.id, reason)


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
