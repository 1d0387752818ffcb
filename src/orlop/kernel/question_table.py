"""The questions to people: a fold of the journal.

Invariants: 1. a question is answered at most once; 2. an approval is used by at most one call at a
time, and by another one only where the first has not begun, or may be repeated; 3. what is closed
stays closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import CallTool
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.ids import CallId, ProcessId
from orlop.abi.limits import QUESTIONS_KEPT_MAX
from orlop.abi.questions import (
    Question,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    QuestionState,
    Verdict,
)
from orlop.kernel.process import Row
from orlop.kernel.record import is_unknown

TRANSITIONS: Final[Mapping[tuple[QuestionState, str], QuestionState]] = {
    ("pending", "answer"): "answered",
    ("pending", "approve"): "approved",
    ("pending", "deny"): "denied",
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


def allows(question: Question, verdict: Verdict) -> bool:
    """Approvals are approved or denied; questions are answered."""
    fits = verdict == "answer" if not question.tool else verdict in ("approve", "deny")
    return fits and (question.state, verdict) in TRANSITIONS


@dataclass(eq=False, slots=True)
class Questions:
    """`by_call`: the newest question about a call of a process, by the call's digest."""

    rows: dict[str, Question] = field(default_factory=dict)
    by_call: dict[tuple[ProcessId, str], str] = field(default_factory=dict)
    executing: dict[CallId, str] = field(default_factory=dict)
    closed: dict[str, None] = field(default_factory=dict)

    def about(self, process: ProcessId, digest: bytes) -> Question | None:
        """What was last asked about this very call."""
        id = self.by_call.get((process, digest.hex()))
        return self.rows.get(id) if id is not None else None

    def fold(
        self,
        header: Header,
        event: QuestionAsked | QuestionAnswered | QuestionExpired,
        process: Row | None,
    ) -> None:
        if not isinstance(event, QuestionAsked):
            self._changed(header, event)
        elif process is not None:
            self._asked(header, event, process)

    def _asked(self, header: Header, event: QuestionAsked, process: Row) -> None:
        digest = (header.args_digest or b"").hex()
        self.put(
            Question(
                id=event.question,
                process=header.process,
                pid=process.pid,
                name=process.name,
                tenant=header.tenant,
                state="pending",
                text=event.text,
                choices=event.choices,
                tool=event.tool,
                arguments=event.arguments,
                effect=event.effect,
                digest=digest,
                asked_ns=header.wall_ns,
                expires_ns=event.expires_ns,
            )
        )

    def _changed(self, header: Header, event: QuestionAnswered | QuestionExpired) -> None:
        row = self.rows.get(event.question)
        if row is None:
            return
        if isinstance(event, QuestionExpired):
            self._move(row, "expire")
            return
        self._move(
            replace(
                row,
                answered_ns=header.wall_ns,
                person=event.person,
                answer=event.answer,
                minutes=event.minutes,
            ),
            event.verdict,
        )

    def call(self, header: Header, event: CallEntered | CallReturned | CallFailed) -> None:
        """A call of a tool has begun under an approval, or ended."""
        assert header.call is not None
        if isinstance(event, CallEntered):
            row = self.about(header.process, header.args_digest or b"")
            if isinstance(event.body, CallTool) and row is not None:
                self._move(replace(row, call=header.call), "begin")
            return
        id = self.executing.pop(header.call, None)
        if id is not None and (row := self.rows.get(id)) is not None:
            self._move(row, _ending(event))

    def _move(self, row: Question, step: str) -> bool:
        """Take one step of the state machine, if there is one."""
        state = TRANSITIONS.get((row.state, step))
        if state is None:
            return False
        self.put(replace(row, state=state))
        return True

    def put(self, row: Question) -> None:
        """Also of a snapshot, in the order of their asking."""
        if row.tool and row.id not in self.rows:
            self.by_call[row.process, row.digest] = row.id
        self.rows[row.id] = row
        if row.state == "executing":
            self.executing[CallId(row.call)] = row.id
        self.closed.pop(row.id, None)
        if row.state not in OPEN:
            self.closed[row.id] = None
            while len(self.closed) > QUESTIONS_KEPT_MAX:
                self._drop(next(iter(self.closed)))

    def _drop(self, id: str) -> None:
        row = self.rows.pop(id)
        del self.closed[id]
        if self.by_call.get((row.process, row.digest)) == id:
            del self.by_call[row.process, row.digest]


def _ending(event: CallReturned | CallFailed) -> str:
    if isinstance(event, CallReturned):
        return "return"
    if not event.asked:
        return "not begun"
    return "lose" if is_unknown(event.code) else "fail"
