"""The clock of all that waits for people: escalations, ends, and who is told by webhook.

One task looks at what is pending, takes the steps that are due, and sleeps until the next.  Steps
and tellings are events, so a kernel that starts again goes on where the last one was.  A telling
whose event was lost is sent again under the same id, so that its receiver knows it.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import msgspec

from orlop.abi.errors import KernelError
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import WEBHOOK_TRIES_MAX, WEBHOOKS_AT_ONCE_MAX
from orlop.abi.questions import Question, QuestionEscalated, QuestionNotified
from orlop.machine.clock import NS_PER_S
from orlop.people.asking import abandon, as_of_now, ends_at
from orlop.people.chains import due
from orlop.people.house import House
from orlop.wire import webhook

log = logging.getLogger(__name__)

WAKE_S_MAX: Final = 3_600.0
"""The longest single sleep: a wall clock that was set is noticed within the hour."""

PAUSE_S: Final = 0.2
"""The least between two looks, so that a thousand questions at once are one look."""

REST: Final = 20
"""Times that a look took, before the next: ten thousand questions take a tenth of a second."""

RETRY_S: Final = 1.0
"""Before a telling that failed is tried again; doubles with each."""


async def run(house: House) -> None:
    """Until power off."""
    for row in tuple(house.office.questions.rows.values()):
        if row.form == "elicitation":
            abandon(house, row.id, "the call that asked was cut off")
    while house.journal.stopped is None:
        house.desk.stirred.clear()
        began_s = house.clock.now_s()
        try:
            upcoming = look(house)
        except KernelError as error:  # The journal has stopped in the middle of it.
            log.warning("no more escalations: %s", error.message)
            return
        pause_s = max(PAUSE_S, REST * (house.clock.now_s() - began_s))
        left_s = (min(upcoming) - house.clock.wall_ns()) / NS_PER_S if upcoming else WAKE_S_MAX
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(pause_s, left_s), WAKE_S_MAX)):
                await house.desk.stirred.wait()
                await house.clock.sleep(pause_s)


def look(house: House) -> list[Nanoseconds]:
    """Do all that is due; when the next of it is, for each question that waits."""
    questions = house.office.questions
    pending = [row for row in questions.rows.values() if row.state in ("pending", "approved")]
    upcoming = []
    for old in pending:
        row = as_of_now(house, old)
        if row.state not in ("pending", "approved"):
            continue
        next_ns = escalate(house, row) if row.state == "pending" else None
        end_ns = ends_at(house, row)
        upcoming.append(end_ns if next_ns is None else min(end_ns, next_ns))
        tell(house, house.office.questions.rows[row.id])
    return upcoming


def escalate(house: House, row: Question) -> Nanoseconds | None:
    """Take the steps that are due; when the next one is."""
    chain = house.desk.chains.get(row.chain)
    if chain is None:
        return None
    step = row.step
    while (due_ns := due(chain, step, row.asked_ns)) is not None:
        if due_ns > house.clock.wall_ns():
            return due_ns
        to = tuple(name for name in chain.steps[step].to if name not in row.asked_of)
        step += 1
        house.emit(row.process, row.tenant, QuestionEscalated(question=row.id, step=step, to=to))
        row = house.office.questions.rows[row.id]
    return None


def tell(house: House, row: Question) -> None:
    """Start the telling of what nobody was told yet."""
    desk = house.desk
    wanted = row.state == "pending" and desk.post is not None and desk.config.webhook_url
    if not wanted or row.notified >= row.step or row.id in desk.sending:
        return
    if len(desk.sending) >= WEBHOOKS_AT_ONCE_MAX:
        return  # One of those that are on their way looks again when it is done.
    desk.sending.add(row.id)
    house.tasks.start(telling(house, row), f"tell of {row.id}")


async def telling(house: House, row: Question) -> None:
    """Until the receiver has it, or nobody needs it any more, or it is given up."""
    failed = ""
    try:
        await house.journal.flush()
        for attempt in range(WEBHOOK_TRIES_MAX):
            failed = await post(house, row)
            now = house.office.questions.rows.get(row.id)
            if not failed or now is None or now.state != "pending":
                break
            log.warning("nobody was told of %s: %s", row.id, failed)
            await house.clock.sleep(RETRY_S * 2.0**attempt)
        told = QuestionNotified(question=row.id, step=row.step, failed=failed)
        await house.journal.durable(house.emit(row.process, row.tenant, told).seq)
    finally:
        house.desk.sending.discard(row.id)
        house.desk.stirred.set()


async def post(house: House, row: Question) -> str:
    """Send it once; why that failed, or nothing."""
    desk = house.desk
    assert desk.post is not None
    body = message(row, desk.url)
    now_s = house.clock.wall_ns() // NS_PER_S
    fields = webhook.headers(desk.secret, f"{row.id}_{row.step}", now_s, body)
    try:
        status = await desk.post(desk.config.webhook_url, fields, body)
    except KernelError as error:
        return error.message
    return "" if 200 <= status < 300 else f"{desk.config.webhook_url} answered {status}"


def message(row: Question, url: str) -> bytes:
    """The body: what a person sees, whom it is for, and where the answer goes."""
    said = {
        "type": "question.escalated" if row.step else "question.asked",
        "data": {
            "question": row,
            "to": row.asked_of,
            "answer_url": f"{url}/orlop/v1/webhooks/answers",
        },
    }
    return msgspec.json.encode(said)
