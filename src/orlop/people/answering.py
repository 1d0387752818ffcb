"""A person's word: checked, journaled once, and followed at once by all that it moves."""

import msgspec

from orlop.abi.errors import BadCall, Conflict, Denied, KernelError
from orlop.abi.grants import GrantTerms
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.limits import ANSWER_CHARS_MAX, ANSWERS_PER_BATCH_MAX
from orlop.abi.questions import (
    AnswerOrder,
    BatchLine,
    BatchOrder,
    Question,
    QuestionAnswered,
    SignedAnswer,
    Touch,
)
from orlop.people import granting, staff, trust
from orlop.people.asking import find
from orlop.people.autonomy_table import key_of
from orlop.people.house import OPERATOR, House, Speaker
from orlop.people.question_table import VERDICTS, allows
from orlop.people.roster import TOUCHES


async def answer(
    house: House, id: str, order: AnswerOrder, speaker: Speaker = OPERATOR, *, delivery: str = ""
) -> Question:
    """A person's word.  Raises `NotFound`, `BadCall`, `Denied`; `Conflict` where it is not open.

    delivery: the webhook's own id; the same one again is told what became of it.
    """
    row = find(house, id, speaker.tenant)
    if delivery and row.delivery == delivery:
        return row  # Its sender has lost our answer.
    person = staff.require(house, speaker, order.person)
    check(house, row, order)
    require_reached(house, row, person, speaker)
    cost = staff.cost_of(house, person, order.minutes)
    if order.grant is not None:
        granting.require(house, order.grant)
    # From here on only the journal can fail.
    house.emit(
        row.process,
        row.tenant,
        QuestionAnswered(
            question=id,
            verdict=order.verdict,
            person=person,
            answer=order.answer,
            minutes=order.minutes,
            touch=touch_of(order),
            proof=speaker.proof,
            cost=cost,
            arguments=order.arguments,
            result=order.result,
            delivery=delivery,
        ),
    )
    _followed(house, row, order.grant, person)
    house.desk.wake(id)
    await house.journal.flush()
    return house.office.questions.rows[id]


def _followed(house: House, row: Question, terms: GrantTerms | None, person: str) -> None:
    if terms is not None:
        granting.record(house, row.process, row.tenant, row.name, row.tool, terms, person, row.id)
    if row.level:
        trust.judged(house, row.process, key_of(row))


async def together(house: House, batch: BatchOrder, speaker: Speaker) -> list[BatchLine]:
    """The same word on many, one by one: what can't be answered is told, and stops no other."""
    if not 1 <= len(batch.ids) <= ANSWERS_PER_BATCH_MAX:
        raise BadCall(f"ids: 1 to {ANSWERS_PER_BATCH_MAX} (ANSWERS_PER_BATCH_MAX)")
    if batch.order.arguments is not None or batch.order.verdict == "take":
        raise BadCall("order: arguments and results are of one question each; answer it alone")
    if batch.order.grant is not None:
        raise BadCall("order.grant: `orlop grants give` makes one grant for all")
    lines = []
    for id in dict.fromkeys(batch.ids):
        try:
            row = await answer(house, id, batch.order, speaker)
            lines.append(BatchLine(id=id, state=row.state))
        except KernelError as error:
            if house.journal.stopped is not None:
                raise
            lines.append(BatchLine(id=id, code=error.code, message=error.message))
    return lines


async def signed(house: House, said: SignedAnswer, delivery: str) -> Question:
    """What a signed webhook brings, in the name of whom it vouches for: the installation's own
    webhook is told of everybody's questions."""
    order = AnswerOrder(
        verdict=said.verdict,
        answer=said.answer,
        minutes=said.minutes,
        arguments=said.arguments,
        result=said.result,
    )
    known = house.office.questions.rows.get(said.question)
    tenant = known.tenant if known is not None else DEFAULT_TENANT
    speaker = Speaker(said.person, "webhook", tenant)
    return await answer(house, said.question, order, speaker, delivery=delivery)


def touch_of(order: AnswerOrder) -> Touch:
    is_edit = order.verdict == "approve" and order.arguments is not None
    return "edit" if is_edit else TOUCHES[order.verdict]


def check(house: House, row: Question, order: AnswerOrder) -> None:
    """Raises `Conflict` where the question is not open, `BadCall` where the word does not fit."""
    if row.state != "pending":
        who = f" by {row.person}" if row.person else ""
        raise Conflict(f"{row.id} is {row.state}{who}; it can't be answered twice")
    if not allows(row, order.verdict):
        words = " or ".join(VERDICTS[row.form])
        raise BadCall(f"{row.id} is {_an(row.form)}: {words} it")
    if len(order.answer) > ANSWER_CHARS_MAX:
        raise BadCall(f"answer: at most {ANSWER_CHARS_MAX} characters")
    if row.choices and order.verdict == "answer" and order.answer not in row.choices:
        raise BadCall(f"answer: one of {', '.join(row.choices)}")
    if row.form == "elicitation" and order.verdict == "answer":
        _check_elicited(house, row, order.answer)
    _check_arguments(house, row, order)
    if order.grant is not None and not (order.verdict == "approve" and row.form == "approval"):
        raise BadCall("grant: only an approval can be one in advance as well")
    if order.grant is not None and house.card_of(row.tool) is None:
        raise BadCall(f"grant: {row.tool} is no tool")


def _check_arguments(house: House, row: Question, order: AnswerOrder) -> None:
    if order.arguments is not None:
        if order.verdict not in ("approve", "take"):
            raise BadCall("arguments: only with approve or take")
        if house.card_of(row.tool) is None:
            raise BadCall(f"arguments: {row.tool} is no tool, so it can only be made as it is")
        if wrong := house.wrong_arguments(row.tool, order.arguments):
            raise BadCall(f"arguments of {row.tool}: {wrong}")
    if order.verdict != "take":
        if order.result is not None:
            raise BadCall("result: only with take")
        return
    if house.card_of(row.tool) is None:
        raise BadCall(f"{row.tool} is no tool that a person could use in the agent's place")
    if wrong := house.wrong_result(row.tool, order.result):
        raise BadCall(f"result: {row.tool} would not say that: {wrong}")


def _check_elicited(house: House, row: Question, text: str) -> None:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadCall(f"answer: JSON that fits the question's schema ({error})") from error
    if wrong := house.wrong_by(row.schema, value):
        raise BadCall(f"answer: {wrong}")


def require_reached(house: House, row: Question, person: str, speaker: Speaker) -> None:
    """Raises `Denied` where only those may answer whom the escalation has reached."""
    chain = house.desk.chains.get(row.chain)
    if chain is None or not chain.only or speaker.is_operator or person in row.asked_of:
        return
    names = ", ".join(row.asked_of) or "nobody yet"
    raise Denied(f"the escalation {row.chain} asks {names}; {person} is not asked (yet)")


def _an(form: str) -> str:
    return f"an {form}" if form[0] in "aeo" else f"a {form}"
