"""What waits at the door for a person's word, and the agents' own questions.

Whoever waits holds no slot.  A call that needs a person's word waits before its intent: after a
restart it is made again by its client, finds its question and waits on.  Where the client was told
to come back for the answer, the kernel makes it again by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Ask, Call, CallTool, call_name
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, Exhausted, KernelError, NotAnswered, NotApproved, Observed
from orlop.abi.hints import Hints
from orlop.abi.ids import NanoDollars
from orlop.abi.limits import (
    APPROVAL_S,
    PARKED_CALLS_MAX,
    PREVIEW_CHARS_MAX,
    PREVIEW_S,
    QUESTION_CHARS_MAX,
)
from orlop.abi.questions import CallParked, CallRefused, Form, Question, QuestionAsked, asked_in
from orlop.devices.device import Previewing
from orlop.machine.chance import mint
from orlop.machine.clock import deadline
from orlop.people import asking, trust
from orlop.people.chains import chain_for
from orlop.people.changes import changes
from orlop.people.office import UNSEEN
from orlop.people.question_table import OPEN
from orlop.people.trust import Ruling
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running, Taken
from orlop.subsystems import seating, token_budgets
from orlop.wire import mcp


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a person is to be asked, and which rules want that."""

    form: Form
    what: str
    arguments: dict[str, object]
    effect: str
    approval_s: float
    asked_by: str
    said: str = ""
    cost: NanoDollars = NanoDollars(0)
    level: str = ""
    task: str = ""


async def cleared(kernel: Kernel, process: Process, running: Running) -> bool:
    """Return once the call may begin: whether it has waited for that.

    Nothing may wait between this and its intent.  Raises `NotApproved`, `Observed`, and
    `DeadlineMissed` where the call has a deadline of its own.
    """
    running.cleared_by, running.taken, running.edited = "", None, None
    seconds = running.call.hints.deadline_s
    has_waited = False
    while True:
        row = kernel.office.questions.about(process.id, running.digest)
        row = asking.as_of_now(kernel, row) if row is not None else None
        if row is None or row.state not in OPEN or row.state == "executing":
            need = needed(kernel, process, running, was_denied=_was_denied(row))
            if need is None:
                return has_waited
            row = await put(kernel, process, running, need)
        if row.state == "pending":
            has_waited = True
            with parked(kernel, process, running, row):
                if seconds is None:
                    row = await asking.decided(kernel, row.id)
                else:
                    async with deadline(seconds, f"the approval of {row.tool}"):
                        row = await asking.decided(kernel, row.id)
        if row.state in ("denied", "expired"):
            raise refusal(row)
        if row.state in ("approved", "unknown"):
            follow(running, row)
            return has_waited
        # A grant lets it through by now, or another call with the same arguments was faster: then
        # this one is asked about by itself.


def follow(running: Running, row: Question) -> None:
    """Make the call as the person wants it."""
    running.cleared_by = row.id
    if row.taken:
        running.taken = Taken(row.result, row.person)
    if row.edited is not None and isinstance(running.call, CallTool):
        running.call = replace(running.call, arguments=row.edited)
        running.edited = row.edited


def refusal(row: Question) -> NotApproved:
    said = f": {row.answer}" if row.answer else ""
    who = f" by {row.person}" if row.person else ""
    return NotApproved(f"{row.tool} with these arguments was {row.state}{who}{said} ({row.id})")


def _was_denied(row: Question | None) -> bool:
    return row is not None and row.state == "denied"


def needed(kernel: Kernel, process: Process, running: Running, *, was_denied: bool) -> Need | None:
    """What a person must say first; None: nothing, and `running.cleared_by` says why not."""
    call, decision = running.call, running.decision
    card = kernel.tools.find(call.tool).card if isinstance(call, CallTool) else None
    by_card = card is not None and card.approval != "never"
    by_rule = decision is not None and decision.verdict == "ask"
    if not by_card and not by_rule and not kernel.desk.rules:
        return None
    if isinstance(call, CallTool) and kernel.wrong_arguments(call.tool, call.arguments):
        return None  # Its handler refuses it, so that the journal has the refusal.
    if cut_off := kernel.tables.calls.unknown.get((process.id, running.digest)):
        # It was let through before and cut off: this is the same effect, and may have happened.
        running.cleared_by = f"effect {cut_off[0].effect}"
        return None
    ruled = ruling(kernel, process, call, card, was_denied=was_denied)
    if ruled is not None and ruled.row.level in ("observe", "suggest"):
        form: Form = "observation" if ruled.row.level == "observe" else "suggestion"
        return _need(form, call, card, [f"autonomy: level {ruled.row.level}"], ruled)
    wanted = [f"the card of {card.name}"] if card is not None and by_card else []
    said = ""
    if decision is not None and by_rule:
        wanted += [f"rule {rule}" for rule in decision.rules]
        said = decision.reason
    if ruled is not None and ruled.is_asked:
        wanted.append(ruled.reason)
    if not wanted:
        running.cleared_by = f"{UNSEEN}{ruled.row.level}" if ruled is not None else ""
        return None
    if is_granted(kernel, process, running):
        return None
    level = ruled if ruled is not None and ruled.is_asked else None
    return _need("approval", call, card, wanted, level, said)


def ruling(
    kernel: Kernel, process: Process, call: Call, card: ToolCard | None, *, was_denied: bool
) -> Ruling | None:
    """What progressive autonomy says of the call."""
    if not kernel.desk.rules or card is None or not isinstance(call, CallTool):
        return None
    row = process.row
    return trust.ruling(
        kernel, row.id, row.tenant, row.name, row.version, call, card, was_denied=was_denied
    )


def is_granted(kernel: Kernel, process: Process, running: Running) -> bool:
    """Whether somebody has approved the call in advance."""
    call, row = running.call, process.row
    if not isinstance(call, CallTool):
        return False
    now_ns = kernel.clock.wall_ns()
    grant = kernel.office.grants.covering(row.tenant, row.name, call.tool, call.arguments, now_ns)
    if grant is None:
        return False
    running.cleared_by = grant.id
    return True


def _need(
    form: Form,
    call: Call,
    card: ToolCard | None,
    wanted: list[str],
    ruled: Ruling | None,
    said: str = "",
) -> Need:
    return Need(
        form=form,
        what=card.name if card is not None else call_name(call),
        arguments=call.arguments if isinstance(call, CallTool) else shown(call),
        effect=card.effect if card is not None else "",
        approval_s=_patience_s(form, card, ruled),
        asked_by=", ".join(wanted),
        said=said,
        cost=NanoDollars(card.price * (1 + card.retries)) if card is not None else NanoDollars(0),
        level=ruled.row.level if ruled is not None else "",
        task=ruled.row.key.task if ruled is not None else "",
    )


def _patience_s(form: Form, card: ToolCard | None, ruled: Ruling | None) -> float:
    if form == "observation" and ruled is not None:
        return ruled.rule.judge_s
    return card.approval_s if card is not None else APPROVAL_S


def shown(call: Call) -> dict[str, object]:
    """A call that is no tool's, as a person is shown it."""
    plain = msgspec.to_builtins(codec.plain(replace(call, hints=Hints())))
    assert isinstance(plain, dict)
    return plain


async def put(kernel: Kernel, process: Process, running: Running, need: Need) -> Question:
    """Ask, unless somebody has asked meanwhile.  Raises `Observed` where nothing more follows."""
    preview = await previewed(kernel, running.call)
    row = kernel.office.questions.about(process.id, running.digest)
    if row is not None and row.state in OPEN and row.state != "executing":
        return row
    asked = question_of(kernel, process, need, preview)
    if need.form == "observation":
        raise await observed(kernel, process, running, asked)
    return asking.ask(
        kernel, process.id, process.row.tenant, asked, digest=running.digest, call=running.id
    )


def question_of(kernel: Kernel, process: Process, need: Need, preview: str) -> QuestionAsked:
    """All that a person needs to decide, as of now."""
    row, what, said = process.row, need.what, f" {need.said}" if need.said else ""
    before = kernel.office.questions.shown.get((row.tenant, row.name, what))
    return QuestionAsked(
        question=mint("qst", kernel.chance, kernel.clock.wall_ns()),
        text=f"may {row.name} (pid {row.pid}) call {what}?{said}",
        tool=what,
        arguments=need.arguments,
        effect=need.effect,
        expires_ns=asking.after(kernel, need.approval_s),
        form=need.form,
        asked_by=need.asked_by,
        cost=need.cost,
        compared=before.call if before is not None else None,
        changes=changes(before.arguments, need.arguments) if before is not None else (),
        preview=preview,
        chain=chain_for(kernel.desk.chains, what, row.name),
        task=need.task,
        level=need.level,
    )


async def observed(
    kernel: Kernel, process: Process, running: Running, asked: QuestionAsked
) -> Observed:
    """Write down what the call would have done; what its process is told."""
    why = only_observed(process, asked.tool).message
    try:
        row = asking.ask(
            kernel, process.id, process.row.tenant, asked, digest=running.digest, call=running.id
        )
    except Exhausted as full:
        return Observed(f"{why}. It is not written down either: {full.message}")
    await kernel.journal.flush()
    return Observed(f"{why}. What it would have done is written down as {row.id}, to be judged")


def only_observed(process: Process, what: str) -> Observed:
    return Observed(f"{what} was not called: {process.row.name} is only observed with it")


async def previewed(kernel: Kernel, call: Call) -> str:
    """What the tool says that the call would change; why it can't say, if it fails."""
    tool = kernel.tools.find(call.tool) if isinstance(call, CallTool) else None
    if tool is None or not isinstance(tool, Previewing) or not isinstance(call, CallTool):
        return ""
    try:
        said = await tool.preview(call.arguments, PREVIEW_S)
    except KernelError as error:
        said = f"(the tool's preview failed: {error.message})"
    if len(said) > PREVIEW_CHARS_MAX:
        said = f"{said[:PREVIEW_CHARS_MAX]}… ({len(said) - PREVIEW_CHARS_MAX} more characters)"
    return said


# Waiting: parked calls hold no place among those in flight.


@contextmanager
def parked(kernel: Kernel, process: Process, running: Running, row: Question) -> Iterator[None]:
    """While inside, the call waits for a person.  Raises `Exhausted`."""
    if kernel.calls_parked >= PARKED_CALLS_MAX:
        raise Exhausted(f"{PARKED_CALLS_MAX} calls are parked", retry_after_s=60.0)
    if running.detached and not running.promised and isinstance(running.call, CallTool):
        event = CallParked(
            question=row.id,
            body=running.call,
            nonce=running.nonce,
            incarnation=running.incarnation,
            token=token_budgets.used(kernel, process, running),
        )
        kernel.emit(process.id, process.row.tenant, event, call=running.id)
        running.promised = True
    running.waits_for = row.id
    kernel.calls_parked += 1
    kernel.calls_in_flight -= 1
    process.parked += 1
    try:
        yield
    finally:
        running.waits_for = ""
        kernel.calls_parked -= 1
        kernel.calls_in_flight += 1
        process.parked -= 1


def conclude(kernel: Kernel, process: Process, running: Running, error: KernelError | None) -> None:
    """A promised call that ends without an intent leaves a word for whoever asks for it."""
    if not running.promised or running.seq or error is None or kernel.closing:
        return
    if kernel.journal.stopped is None:
        refused = CallRefused(code=error.code, message=error.message)
        kernel.emit(process.id, process.row.tenant, refused, call=running.id)


# Questions of tools' servers, in the middle of a call.


async def elicit(
    kernel: Kernel, process: Process, running: Running, server: str, asked: mcp.Elicitation
) -> dict[str, object]:
    """What a person says to a server's question, as MCP's `ElicitResult`."""
    call = running.call
    assert isinstance(call, CallTool)
    try:
        kernel.wrong_by(asked.requested_schema, {})
    except BadCall:
        return {"action": "cancel"}  # A form that nobody could fill in.
    row = asking.ask(
        kernel,
        process.id,
        process.row.tenant,
        QuestionAsked(
            question=mint("qst", kernel.chance, kernel.clock.wall_ns()),
            text=f"{server} asks: {asked.message[:QUESTION_CHARS_MAX]}",
            tool=call.tool,
            arguments=call.arguments,
            expires_ns=asking.after(kernel, seating.left_s(kernel, running, call)),
            form="elicitation",
            asked_by=f"the MCP server {server}",
            chain=chain_for(kernel.desk.chains, call.tool, process.row.name),
            schema=asked.requested_schema,
        ),
        call=running.id,
    )
    try:
        row = await asking.decided(kernel, row.id)
    finally:
        asking.abandon(kernel, row.id, "its call has ended")
    if row.state == "answered":
        return {"action": "accept", "content": msgspec.json.decode(row.answer)}
    return {"action": "decline" if row.state == "denied" else "cancel"}


# The agents' own questions.


async def ask(kernel: Kernel, process: Process, running: Running, call: Ask) -> Question:
    """A question's answer.  Asked once, however often the kernel starts.  Raises `NotAnswered`."""
    id = asked_in(running.id)
    if id not in kernel.office.questions.rows:
        asked = QuestionAsked(
            question=id,
            text=call.text,
            choices=call.choices,
            expires_ns=asking.after(kernel, call.expires_s),
            form="question",
            chain=chain_for(kernel.desk.chains, "", process.row.name),
        )
        asking.ask(kernel, process.id, process.row.tenant, asked, call=running.id)
    row = await asking.decided(kernel, id)
    if row.state == "answered":
        return row
    if row.state == "denied" and row.person:
        said = f": {row.answer}" if row.answer else ""
        raise NotAnswered(f"{row.person} won't answer {call.text[:200]!r}{said} ({id})")
    raise NotAnswered(f"nobody answered {call.text[:200]!r} in time ({id})")
