"""What people are asked about a step of a saga that is stuck, and what their answer means."""

from orlop.abi.effects import EffectSettled
from orlop.abi.errors import DeviceFailed, Exhausted, NotFound
from orlop.abi.limits import PARKED_S_MAX
from orlop.abi.questions import Question, QuestionAsked
from orlop.abi.sagas import SagaRetried, SagaStep, SagaUndone, SagaView
from orlop.people import asking
from orlop.people.chains import chain_for
from orlop.state.core import Kernel
from orlop.subsystems import saga_plan
from orlop.tools import template

UNDONE, AGAIN = "it is undone", "try it again"
HAPPENED, NOT_HAPPENED = "it happened", "it did not happen"


def put(kernel: Kernel, row: SagaView, step: SagaStep) -> str | None:
    """The question's id; None where no more can be asked now.  Asked each time that it sticks."""
    again = f"_{step.sticks}" if step.sticks > 1 else ""
    id = f"qst_{row.id.removeprefix('sag_')}_{step.seq}_{step.attempts}{again}"
    if id in kernel.office.questions.rows:
        return id
    asked = QuestionAsked(
        question=id,
        text=_text(row, step),
        choices=_choices(kernel, step),
        expires_ns=asking.after(kernel, PARKED_S_MAX),
        form="question",
        lasting=True,
        asked_by="a saga",
        chain=chain_for(kernel.desk.chains, step.tool, row.name),
    )
    try:
        asking.ask(kernel, row.process, row.tenant, asked, call=step.call)
    except Exhausted:
        return None
    return id


def _text(row: SagaView, step: SagaStep) -> str:
    if step.state == "unknown":
        what = f"did {step.tool} happen (its call is {step.call}, its key {step.effect})?"
    else:
        what = f"{step.tool} (call {step.call}) could not be undone: is it, or shall it be tried?"
    return f"saga {row.id} {row.name!r} of pid {row.pid} is given up; {what} {step.reason}"


def _choices(kernel: Kernel, step: SagaStep) -> tuple[str, ...]:
    """That it happened can be said here only where its compensation does without its result."""
    if step.state != "unknown":
        return (UNDONE, AGAIN)
    try:
        plan = saga_plan.of(kernel, step)
    except (NotFound, DeviceFailed):
        return (NOT_HAPPENED,)
    is_needed = "result" in template.roots(plan.arguments)
    return (NOT_HAPPENED,) if is_needed else (HAPPENED, NOT_HAPPENED)


def word(
    row: SagaView, step: SagaStep, said: Question
) -> SagaUndone | SagaRetried | EffectSettled | None:
    """What the answer says of the step; None: nobody has answered."""
    if said.state != "answered":
        return None
    match said.answer:
        case "it is undone":
            return SagaUndone(saga=row.id, step=step.seq, person=said.person)
        case "try it again":
            return SagaRetried(saga=row.id, step=step.seq, person=said.person)
        case "it happened" | "it did not happen":
            happened = said.answer == HAPPENED
            return EffectSettled(
                effect=step.effect, tool=step.tool, happened=happened, person=said.person
            )
        case _:
            return None
