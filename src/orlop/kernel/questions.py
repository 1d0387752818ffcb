"""Asking people, and waiting for them: durable, by id, answered once.

Whoever waits holds no slot.  A call of a tool that needs an approval waits at the door, before its
intent: after a restart it is made again by its client, finds its question and waits on.
"""

import asyncio
import math

from orlop.abi.calls import Ask, CallTool
from orlop.abi.errors import BadCall, Conflict, Exhausted, NotAnswered, NotApproved, NotFound
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import ANSWER_CHARS_MAX, QUESTIONS_OPEN_MAX
from orlop.abi.questions import (
    AnswerOrder,
    Question,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
)
from orlop.kernel.core import Kernel
from orlop.kernel.process import Process
from orlop.people.question_table import OPEN, TRANSITIONS, allows
from orlop.kernel.running import Running
from orlop.machine.chance import mint
from orlop.machine.clock import NS_PER_S, deadline


async def cleared(kernel: Kernel, process: Process, running: Running) -> None:
    """Return once the call may begin; nothing may wait between this and its intent.

    Raises `NotApproved`; `DeadlineMissed` where the call has a deadline of its own.
    """
    call = running.call
    if not isinstance(call, CallTool):
        return
    card = kernel.tools.find(call.tool).card
    if card.approval == "never":
        return
    row = kernel.tables.people.questions.about(process.id, running.digest)
    row = _as_of_now(kernel, row) if row is not None else None
    if row is None or row.state not in OPEN or row.state == "executing":
        row = _ask(
            kernel,
            process,
            QuestionAsked(
                question=mint("qst", kernel.chance, kernel.clock.wall_ns()),
                text=f"may {process.row.name} (pid {process.row.pid}) call {call.tool}?",
                tool=call.tool,
                arguments=call.arguments,
                effect=card.effect,
                expires_ns=_after(kernel, card.approval_s),
            ),
            running.digest,
        )
    if call.hints.deadline_s is None:
        row = await decided(kernel, row.id)
    else:
        async with deadline(call.hints.deadline_s, f"the approval of {call.tool}"):
            row = await decided(kernel, row.id)
    if row.state in ("denied", "expired"):
        said = f": {row.answer}" if row.answer else ""
        who = f" by {row.person}" if row.person else ""
        raise NotApproved(f"{call.tool} with these arguments was {row.state}{who}{said} ({row.id})")
    if row.state not in ("approved", "unknown"):
        # Another call with the same arguments was faster: this one is asked about by itself.
        await cleared(kernel, process, running)


async def ask(kernel: Kernel, process: Process, running: Running, call: Ask) -> Question:
    """A question's answer.  Asked once, however often the kernel starts.  Raises `NotAnswered`."""
    id = f"qst_{running.id.removeprefix('cal_')}"
    if id not in kernel.tables.people.questions.rows:
        asked = QuestionAsked(
            question=id,
            text=call.text,
            choices=call.choices,
            expires_ns=_after(kernel, call.expires_s),
        )
        _ask(kernel, process, asked, b"")
    row = await decided(kernel, id)
    if row.state != "answered":
        raise NotAnswered(f"nobody answered {call.text[:200]!r} in time ({id})")
    return row


def _after(kernel: Kernel, seconds: float) -> Nanoseconds:
    return Nanoseconds(kernel.clock.wall_ns() + round(seconds * NS_PER_S))


def _ask(kernel: Kernel, process: Process, asked: QuestionAsked, digest: bytes) -> Question:
    pending = len(kernel.tables.people.questions.rows) - len(kernel.tables.people.questions.closed)
    if pending >= QUESTIONS_OPEN_MAX:
        raise Exhausted(
            f"{pending} questions wait for people (QUESTIONS_OPEN_MAX)", retry_after_s=60.0
        )
    # From here on only the journal can fail.
    kernel.emit(process.id, process.row.tenant, asked, args_digest=digest or None)
    return kernel.tables.people.questions.rows[asked.question]


async def decided(kernel: Kernel, id: str) -> Question:
    """The question once it is pending no more; what is due expires here."""
    await kernel.journal.flush()
    while (row := kernel.tables.people.questions.rows[id]).state == "pending":
        left_s = (row.expires_ns - kernel.clock.wall_ns()) / NS_PER_S
        if left_s <= 0:
            _expire(kernel, row, "nobody answered in time")
            continue
        woken = kernel.answers.setdefault(id, asyncio.Event())
        try:
            async with asyncio.timeout(left_s):
                await woken.wait()
        except TimeoutError:
            pass
    return row


async def answer(kernel: Kernel, id: str, order: AnswerOrder) -> Question:
    """A person's word.  Raises `NotFound`, `BadCall`, and `Conflict` where it is not open."""
    row = find(kernel, id)
    if not order.person.strip() or not order.person.isprintable():
        raise BadCall("person: who says so?")
    if len(order.answer) > ANSWER_CHARS_MAX or not 0 <= order.minutes < math.inf:
        raise BadCall(f"answer: at most {ANSWER_CHARS_MAX} characters; minutes: 0 or more")
    if row.state != "pending":
        who = f" by {row.person}" if row.person else ""
        raise Conflict(f"{id} is {row.state}{who}; it can't be answered twice")
    if not allows(row, order.verdict):
        kind = "an approval: approve or deny it" if row.tool else "a question: answer it"
        raise BadCall(f"{id} is {kind}")
    if row.choices and order.answer not in row.choices:
        raise BadCall(f"answer: one of {', '.join(row.choices)}")
    # From here on only the journal can fail.
    kernel.emit(
        row.process,
        row.tenant,
        QuestionAnswered(
            question=id,
            verdict=order.verdict,
            person=order.person,
            answer=order.answer,
            minutes=order.minutes,
        ),
    )
    _wake(kernel, id)
    await kernel.journal.flush()
    return kernel.tables.people.questions.rows[id]


def find(kernel: Kernel, id: str) -> Question:
    """Raises `NotFound`.  What is overdue, or whose process has ended, expires here."""
    row = kernel.tables.people.questions.rows.get(id)
    if row is None:
        raise NotFound(f"no question {id[:100]!r}; `orlop approvals` lists those that wait")
    return _as_of_now(kernel, row)


def listed(kernel: Kernel, *, closed: bool) -> list[Question]:
    """Those that wait for a person, or all that are known, oldest first."""
    rows = [_as_of_now(kernel, row) for row in tuple(kernel.tables.people.questions.rows.values())]
    return [row for row in rows if closed or row.state == "pending"]


def _as_of_now(kernel: Kernel, row: Question) -> Question:
    if (row.state, "expire") not in TRANSITIONS or kernel.journal.stopped is not None:
        return row
    if kernel.is_over(row.process):
        return _expire(kernel, row, "its process has ended")
    if row.expires_ns <= kernel.clock.wall_ns():
        return _expire(kernel, row, "nobody answered in time")
    return row


def _expire(kernel: Kernel, row: Question, reason: str) -> Question:
    kernel.emit(row.process, row.tenant, QuestionExpired(question=row.id, reason=reason))
    _wake(kernel, row.id)
    return kernel.tables.people.questions.rows[row.id]


def _wake(kernel: Kernel, id: str) -> None:
    if (woken := kernel.answers.pop(id, None)) is not None:
        woken.set()
