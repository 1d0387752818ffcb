"""The clock of all that waits for people: escalations, ends, and who is told by webhook.

One task looks at what is new, takes the steps that are due, and sleeps until the next.  Steps
and tellings are events, so a kernel that starts again goes on where the last one was.  A telling
whose event was lost is sent again under the same id, so that its receiver knows it.
"""

import asyncio
import heapq
import logging
from contextlib import suppress
from dataclasses import dataclass, field
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

PAUSE_S: Final = 0.001
"""The shortest."""

RETRY_S: Final = 1.0
"""Before a telling that failed is tried again; doubles with each."""


@dataclass(eq=False, slots=True)
class Dues:
    """When something is to be done about which question: the earliest first, each once."""

    heap: list[tuple[int, str]] = field(default_factory=list)
    of: dict[str, int] = field(default_factory=dict)

    def put(self, id: str, due_ns: int) -> None:
        if self.of.get(id) != due_ns:
            self.of[id] = due_ns
            heapq.heappush(self.heap, (due_ns, id))

    def drop(self, id: str) -> None:
        self.of.pop(id, None)

    def by(self, now_ns: int) -> list[str]:
        """Those that are due; they are to be put again."""
        found = []
        while self.heap and self.heap[0][0] <= now_ns:
            due_ns, id = heapq.heappop(self.heap)
            if self.of.get(id) == due_ns:  # What was put again since then has another entry.
                del self.of[id]
                found.append(id)
        return found

    def next_ns(self) -> int | None:
        return self.heap[0][0] if self.heap else None


async def run(house: House) -> None:
    """Until power off."""
    dues = Dues()
    for row in tuple(house.office.questions.rows.values()):
        if row.form == "elicitation":
            abandon(house, row.id, "the call that asked was cut off")
        house.desk.stir(row.id)
    while house.journal.stopped is None:
        house.desk.stirred.clear()
        try:
            look(house, dues)
        except KernelError as error:  # The journal has stopped in the middle of it.
            log.warning("no more escalations: %s", error.message)
            return
        next_ns = dues.next_ns()
        left_s = WAKE_S_MAX
        if next_ns is not None:
            left_s = (next_ns - house.clock.wall_ns()) / NS_PER_S
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(PAUSE_S, left_s), WAKE_S_MAX)):
                await house.desk.stirred.wait()


def look(house: House, dues: Dues) -> None:
    """Attend to what is new, and to what is due."""
    fresh, house.desk.fresh = house.desk.fresh, {}
    for id in (*fresh, *dues.by(house.clock.wall_ns())):
        attend(house, dues, id)


def attend(house: House, dues: Dues, id: str) -> None:
    """Do what is due about one question, and note when the next of it is."""
    row = house.office.questions.rows.get(id)
    row = as_of_now(house, row) if row is not None else None
    if row is None or row.state not in ("pending", "approved"):
        dues.drop(id)
        return
    next_ns = escalate(house, row) if row.state == "pending" else None
    end_ns = ends_at(house, row)
    dues.put(id, end_ns if next_ns is None else min(end_ns, next_ns))
    tell(house, house.office.questions.rows[id])


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
        desk.untold[row.id] = None  # One of those that are on their way makes room.
        return
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
        desk = house.desk
        desk.sending.discard(row.id)
        for id in (row.id, *list(desk.untold)[:1]):  # It may have been escalated meanwhile.
            desk.untold.pop(id, None)
            desk.stir(id)


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
