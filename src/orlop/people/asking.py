"""Asking people, and waiting for them: durable, by id, answered once."""

import asyncio

from orlop.abi.errors import Exhausted, NotFound
from orlop.abi.ids import DEFAULT_TENANT, CallId, Nanoseconds, ProcessId, TenantId
from orlop.abi.limits import QUESTIONS_OPEN_MAX, QUESTIONS_PER_PROCESS_MAX
from orlop.abi.questions import Question, QuestionAnswered, QuestionAsked, QuestionExpired
from orlop.machine.clock import NS_PER_S
from orlop.people.chains import ends
from orlop.people.house import House
from orlop.people.question_table import TRANSITIONS

LATE: str = "nobody answered in time"


def after(house: House, seconds: float) -> Nanoseconds:
    """The moment so far from now."""
    return Nanoseconds(house.clock.wall_ns() + round(seconds * NS_PER_S))


def ask(
    house: House,
    process: ProcessId,
    tenant: TenantId,
    asked: QuestionAsked,
    *,
    digest: bytes = b"",
    call: CallId | None = None,
) -> Question:
    """Put a question to people.  Raises `Exhausted`."""
    questions = house.office.questions
    pending = len(questions.rows) - len(questions.closed)
    if pending >= QUESTIONS_OPEN_MAX:
        raise Exhausted(
            f"{pending} questions wait for people (QUESTIONS_OPEN_MAX)", retry_after_s=60.0
        )
    if questions.open_of[process] >= QUESTIONS_PER_PROCESS_MAX:
        raise Exhausted(
            f"{QUESTIONS_PER_PROCESS_MAX} questions of this process wait for people "
            "(QUESTIONS_PER_PROCESS_MAX)",
            retry_after_s=60.0,
        )
    # From here on only the journal can fail.
    house.emit(process, tenant, asked, call=call, args_digest=digest or None)
    house.desk.stir(asked.question)
    return questions.rows[asked.question]


async def decided(house: House, id: str) -> Question:
    """The question once it is pending no more; what is due expires here."""
    await house.journal.flush()
    while (row := house.office.questions.rows[id]).state == "pending":
        left_s = (ends_at(house, row) - house.clock.wall_ns()) / NS_PER_S
        if left_s <= 0:
            close(house, row)
            continue
        woken = house.desk.woken.setdefault(id, asyncio.Event())
        try:
            async with asyncio.timeout(left_s):
                await woken.wait()
        except TimeoutError:
            pass
    return row


def find(house: House, id: str, tenant: TenantId = DEFAULT_TENANT) -> Question:
    """The tenant's; what is overdue, or whose process has ended, expires here.

    Raises `NotFound`.
    """
    row = house.office.questions.rows.get(id)
    if row is None or row.tenant != tenant:
        raise NotFound(f"no question {id[:100]!r}; `orlop approvals` lists those that wait")
    return as_of_now(house, row)


def listed(house: House, tenant: TenantId = DEFAULT_TENANT, *, closed: bool) -> list[Question]:
    """Those that wait for a person, or all that are known, oldest first."""
    rows = tuple(house.office.questions.rows.values())
    rows = tuple(as_of_now(house, row) for row in rows if row.tenant == tenant)
    return [row for row in rows if closed or row.state == "pending"]


def as_of_now(house: House, row: Question) -> Question:
    if (row.state, "expire") not in TRANSITIONS or house.journal.stopped is not None:
        return row
    if row.form != "observation" and not row.lasting and house.is_over(row.process):
        return expire(house, row, "its process has ended")
    if ends_at(house, row) <= house.clock.wall_ns():
        return close(house, row)
    return row


def ends_at(house: House, row: Question) -> Nanoseconds:
    """When it is over; what is approved has until its expiry to be used."""
    chain = house.desk.chains.get(row.chain) if row.state == "pending" else None
    return ends(chain, row.asked_ns, row.expires_ns)


def close(house: House, row: Question) -> Question:
    """Nobody has answered: what the escalation's end says.  Nothing is approved by silence."""
    chain = house.desk.chains.get(row.chain)
    if row.state != "pending" or chain is None or chain.end == "expire":
        return expire(house, row, LATE)
    if row.form == "observation":
        return expire(house, row, LATE)
    denied = QuestionAnswered(
        question=row.id,
        verdict="deny",
        person="",
        answer=f"{LATE}; the escalation {row.chain} ends so",
        proof="chain",
    )
    house.emit(row.process, row.tenant, denied)
    house.desk.wake(row.id)
    return house.office.questions.rows[row.id]


def abandon(house: House, id: str, reason: str) -> None:
    """Nobody waits for its answer any more."""
    row = house.office.questions.rows.get(id)
    if row is not None and row.state == "pending" and house.journal.stopped is None:
        expire(house, row, reason)


def expire(house: House, row: Question, reason: str) -> Question:
    house.emit(row.process, row.tenant, QuestionExpired(question=row.id, reason=reason))
    house.desk.wake(row.id)
    return house.office.questions.rows[row.id]
