"""The questions to people: a fold of the journal.

Invariants: 1. a question is answered at most once; 2. an approval is used by at most one call at a
time, and by another one only where the first has not begun, or may be repeated; 3. what is closed
stays closed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import CallTool
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.ids import CallId, Pid, ProcessId, TenantId
from orlop.abi.limits import (
    ARGUMENTS_COMPARED_BYTES_MAX,
    ARGUMENTS_COMPARED_MAX,
    QUESTIONS_KEPT_MAX,
)
from orlop.abi.questions import (
    CallParked,
    CallRefused,
    Parked,
    Question,
    QuestionAnswered,
    QuestionAsked,
    QuestionCovered,
    QuestionEscalated,
    QuestionExpired,
    QuestionNotified,
    QuestionState,
    Verdict,
)

QuestionEvent = (
    QuestionAsked
    | QuestionAnswered
    | QuestionExpired
    | QuestionCovered
    | QuestionEscalated
    | QuestionNotified
)

TRANSITIONS: Final[Mapping[tuple[QuestionState, str], QuestionState]] = {
    ("pending", "answer"): "answered",
    ("pending", "approve"): "approved",
    ("pending", "take"): "approved",
    ("pending", "deny"): "denied",
    ("pending", "agree"): "agreed",
    ("pending", "disagree"): "disagreed",
    ("pending", "cover"): "covered",
    ("pending", "expire"): "expired",
    ("approved", "expire"): "expired",
    ("approved", "begin"): "executing",
    ("executing", "not begun"): "approved",
    ("executing", "return"): "done",
    ("executing", "fail"): "failed",
    ("executing", "lose"): "unknown",
    ("unknown", "begin"): "executing",
}

OPEN: Final[frozenset[QuestionState]] = frozenset({"pending", "approved", "executing", "unknown"})

VERDICTS: Final[Mapping[str, tuple[Verdict, ...]]] = {
    "question": ("answer", "deny"),
    "elicitation": ("answer", "deny"),
    "approval": ("approve", "deny", "take"),
    "suggestion": ("take", "deny"),
    "observation": ("agree", "disagree"),
}
"""What may be said to each form."""

GATES: Final = ("approval", "suggestion")
"""Forms that a call waits for."""


def allows(question: Question, verdict: Verdict) -> bool:
    """An agent's own question may be left to its expiry, or be turned down."""
    return verdict in VERDICTS[question.form] and (question.state, verdict) in TRANSITIONS


@dataclass(frozen=True, slots=True)
class Shown:
    """The newest arguments of a tool that an agent has called, to compare the next ones with."""

    call: CallId
    arguments: dict[str, object]


@dataclass(eq=False, slots=True)
class Questions:
    """`by_call`: the newest question about a call of a process, by the call's digest."""

    rows: dict[str, Question] = field(default_factory=dict)
    by_call: dict[tuple[ProcessId, str], str] = field(default_factory=dict)
    executing: dict[CallId, str] = field(default_factory=dict)
    """By the call that runs on an approval, which."""
    closed: dict[str, None] = field(default_factory=dict)
    """Those that stay in the table for a while, the longest closed first."""
    open_of: Counter[ProcessId] = field(default_factory=Counter)
    """How many are open, by process."""
    parked: dict[CallId, Parked] = field(default_factory=dict)
    """Calls that wait, and whose clients were told to come back."""
    shown: dict[tuple[TenantId, str, str], Shown | None] = field(default_factory=dict)
    """By tenant, agent and tool that people are asked about; the longest unused first."""

    def about(self, process: ProcessId, digest: bytes) -> Question | None:
        """What was last asked about this very call."""
        id = self.by_call.get((process, digest.hex())) if self.by_call else None
        return self.rows.get(id) if id is not None else None

    def fold(self, header: Header, event: QuestionEvent, pid: Pid, name: str) -> None:
        """pid, name: of the header's process."""
        if isinstance(event, QuestionAsked):
            self._asked(header, event, pid, name)
            return
        row = self.rows.get(event.question)
        if row is None:
            return
        match event:
            case QuestionEscalated():
                self.put(replace(row, step=event.step, asked_of=(*row.asked_of, *event.to)))
            case QuestionNotified():
                self.put(replace(row, notified=max(row.notified, event.step)))
            case QuestionExpired():
                self._move(row, "expire")
            case QuestionCovered():
                self._move(replace(row, answer=event.grant), "cover")
            case QuestionAnswered():
                self._answered(header, row, event)

    def _asked(self, header: Header, event: QuestionAsked, pid: Pid, name: str) -> None:
        if event.tool:
            self.shown.setdefault((header.tenant, name, event.tool), None)
            while len(self.shown) > ARGUMENTS_COMPARED_MAX:
                del self.shown[next(iter(self.shown))]
        self.put(
            Question(
                id=event.question,
                process=header.process,
                pid=pid,
                name=name,
                tenant=header.tenant,
                state="pending",
                text=event.text,
                choices=event.choices,
                tool=event.tool,
                arguments=event.arguments,
                effect=event.effect,
                digest=(header.args_digest or b"").hex(),
                asked_ns=header.wall_ns,
                expires_ns=event.expires_ns,
                form=event.form or ("approval" if event.tool else "question"),
                lasting=event.lasting,
                asked_by=event.asked_by,
                cost=event.cost,
                compared=event.compared,
                changes=event.changes,
                preview=event.preview,
                chain=event.chain,
                task=event.task,
                level=event.level,
                schema=event.schema,
            )
        )

    def _answered(self, header: Header, row: Question, event: QuestionAnswered) -> None:
        said = replace(
            row,
            answered_ns=header.wall_ns,
            person=event.person,
            answer=event.answer,
            minutes=event.minutes,
            proof=event.proof,
            edited=event.arguments,
            taken=event.verdict == "take",
            result=event.result,
            delivery=event.delivery,
        )
        self._move(said, event.verdict)

    def park(self, header: Header, event: CallParked | CallRefused) -> None:
        """A client was told to come back, or its call has ended without having begun."""
        assert header.call is not None
        if isinstance(event, CallParked):
            self.parked[header.call] = Parked(
                call=header.call, process=header.process, parked=event
            )
        else:
            self.parked.pop(header.call, None)

    def entered(self, header: Header, event: CallEntered, name: str) -> None:
        """A call has begun, maybe under an approval.  name: of its process."""
        assert header.call is not None
        self.parked.pop(header.call, None)
        row = self.about(header.process, header.args_digest or b"")
        if row is not None:
            self._move(replace(row, call=header.call), "begin")
        if self.shown and isinstance(event.body, CallTool):
            place = (header.tenant, name, event.body.tool)
            if place in self.shown:
                self._show(place, event.body, header.call)

    def ended(self, header: Header, event: CallReturned | CallFailed, *, is_lost: bool) -> None:
        """is_lost: nobody knows what the call has done."""
        assert header.call is not None
        id = self.executing.pop(header.call, None)
        if id is not None and (row := self.rows.get(id)) is not None:
            self._move(row, _ending(event, is_lost))

    def _show(self, place: tuple[TenantId, str, str], call: CallTool, id: CallId) -> None:
        del self.shown[place]
        small = len(msgspec.json.encode(call.arguments)) <= ARGUMENTS_COMPARED_BYTES_MAX
        self.shown[place] = Shown(id, call.arguments) if small else None

    def _move(self, row: Question, step: str) -> bool:
        """Take one step of the state machine, if there is one."""
        state = TRANSITIONS.get((row.state, step))
        if state is None:
            return False
        self.put(replace(row, state=state))
        return True

    def put(self, row: Question) -> None:
        """Also of a snapshot, in the order of their asking."""
        if row.tool and row.form == "question":
            row = replace(row, form="approval")  # Of a snapshot of an earlier release.
        before = self.rows.get(row.id)
        if before is None and row.form in GATES:
            self.by_call[row.process, row.digest] = row.id
        self.open_of[row.process] += (row.state in OPEN) - (
            before is not None and before.state in OPEN
        )
        if not self.open_of[row.process]:
            del self.open_of[row.process]
        self.rows[row.id] = row
        if row.state == "executing":
            self.executing[CallId(row.call)] = row.id
        self.closed.pop(row.id, None)
        if row.state not in OPEN:
            self.closed[row.id] = None
            while len(self.closed) > QUESTIONS_KEPT_MAX:
                self._drop(next(iter(self.closed)))

    def forget(self, tenant: TenantId) -> None:
        for row in [row for row in self.rows.values() if row.tenant == tenant]:
            self.closed.setdefault(row.id)
            self.open_of.pop(row.process, None)
            self._drop(row.id)
        self.shown = {place: held for place, held in self.shown.items() if place[0] != tenant}

    def _drop(self, id: str) -> None:
        row = self.rows.pop(id)
        del self.closed[id]
        if self.by_call.get((row.process, row.digest)) == id:
            del self.by_call[row.process, row.digest]


def _ending(event: CallReturned | CallFailed, is_lost: bool) -> str:
    if isinstance(event, CallReturned):
        return "return"
    if not event.asked:
        return "not begun"
    return "lose" if is_lost else "fail"
