"""Whatever happens in whatever order: a question is answered once, an approval used once."""

from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from recorded import header, spawned

from orlop.abi.calls import CallTool
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event
from orlop.abi.hints import Facts
from orlop.abi.ids import DEFAULT_TENANT, CallId, Nanoseconds, ProcessId
from orlop.abi.questions import (
    QuestionAnswered,
    QuestionAsked,
    QuestionEscalated,
    QuestionExpired,
    Verdict,
)
from orlop.abi.replies import ToolResult
from orlop.people.question_table import OPEN, allows
from orlop.state import snapshot
from orlop.state.snapshot import restored
from orlop.state.tables import Tables

PROCESS = ProcessId("prc_1")
ENDS: dict[str, Event] = {
    "returned": CallReturned(done=ToolResult(value=1, facts=Facts(call=CallId("cal_1")))),
    "failed": CallFailed(code="E2101", message="it says no"),
    "lost": CallFailed(code="E3002", message="the kernel was lost"),
    "not begun": CallFailed(code="E3002", message="the kernel was lost", asked=False),
}

GRACE = (DEFAULT_TENANT, "Grace")


class QuestionTable(RuleBasedStateMachine):
    """Events in any order, as a journal might hold them, beside a model of what may have acted."""

    questions: Bundle[str] = Bundle("questions")

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        self.numbers = count(1)
        self.answered: dict[str, str] = {}
        self.closed: dict[str, str] = {}
        self.acted: dict[str, int] = {}
        self.running: dict[CallId, str] = {}
        self.words: dict[str, tuple[bool, dict[str, object] | None]] = {}
        self.note(spawned())

    def note(self, event: Event, *, call: str = "", digest: bytes | None = None) -> None:
        self.tables.apply(header(next(self.numbers), PROCESS, call=call, digest=digest), event)

    @rule(target=questions, digest=st.sampled_from([b"a", b"b"]))
    def ask(self, digest: bytes) -> str:
        """As the kernel does: only where no question about this call is open."""
        about = self.tables.people.questions.about(PROCESS, digest)
        if about is not None and about.state in OPEN and about.state != "executing":
            return about.id
        id = f"qst_{next(self.numbers)}"
        asked = QuestionAsked(question=id, text="may it?", tool="pay", expires_ns=Nanoseconds(10))
        self.note(asked, digest=digest)
        return id

    @rule(id=questions, said=st.sampled_from(["approve", "edit", "take", "deny"]))
    def answer(self, id: str, said: str) -> None:
        """As the kernel does: only what is pending is answered."""
        before = self.tables.people.questions.rows[id]
        if not allows(before, "approve"):
            return
        verdict: Verdict = "take" if said == "take" else "deny" if said == "deny" else "approve"
        edited: dict[str, object] | None = {"amount": 1} if said == "edit" else None
        answered = QuestionAnswered(
            question=id, verdict=verdict, person="Grace", arguments=edited, minutes=1.0
        )
        self.note(answered)
        self.answered[id] = "denied" if said == "deny" else "approved"
        self.words[id] = (said == "take", edited)

    @rule(id=questions)
    def escalate(self, id: str) -> None:
        row = self.tables.people.questions.rows[id]
        if row.state == "pending":
            self.note(QuestionEscalated(question=id, step=row.step + 1, to=("ada",)))
            assert self.tables.people.questions.rows[id].step == row.step + 1

    @rule(id=questions)
    def expire(self, id: str) -> None:
        self.note(QuestionExpired(question=id))

    @rule(digest=st.sampled_from([b"a", b"b"]))
    def begin(self, digest: bytes) -> None:
        """A call begins where the door lets it: what it is about is approved, or unknown."""
        about = self.tables.people.questions.about(PROCESS, digest)
        if about is None or about.state not in ("approved", "unknown"):
            return
        call = f"cal_{next(self.numbers)}"
        entered = CallEntered(incarnation=1, body=CallTool(tool="pay"), effect=call)
        self.note(entered, call=call, digest=digest)
        self.running[CallId(call)] = about.id
        assert self.tables.people.questions.rows[about.id].state == "executing"

    @rule(data=st.data(), how=st.sampled_from(sorted(ENDS)))
    def end(self, data: st.DataObject, how: str) -> None:
        if not self.running:
            return
        call = data.draw(st.sampled_from(sorted(self.running)))
        id = self.running.pop(call)
        self.note(ENDS[how], call=call)
        if how in ("returned", "failed"):
            self.acted[id] = self.acted.get(id, 0) + 1

    @rule()
    def restart(self) -> None:
        """From a snapshot alone."""
        tables = restored(snapshot.taken(self.tables))
        assert tables is not None
        assert tables.people.questions.rows == self.tables.people.questions.rows
        assert tables.people.state() == self.tables.people.state()
        assert tables.people.questions.by_call == self.tables.people.questions.by_call
        self.tables = tables

    @invariant()
    def an_answer_stands(self) -> None:
        for id, verdict in self.answered.items():
            state = self.tables.people.questions.rows[id].state
            assert state == "denied" if verdict == "denied" else state not in ("pending", "denied")

    @invariant()
    def whoever_has_answered_once_is_booked_once(self) -> None:
        people = self.tables.people.roster.people
        minutes = people[GRACE].work.minutes if GRACE in people else 0.0
        assert minutes == len(self.words)
        for id, (taken, edited) in self.words.items():
            row = self.tables.people.questions.rows[id]
            assert (row.taken, row.edited) == (taken, edited)

    @invariant()
    def what_is_open_is_counted(self) -> None:
        rows = self.tables.people.questions.rows.values()
        is_open = sum(row.state in OPEN for row in rows)
        assert self.tables.people.questions.open_of[PROCESS] == is_open

    @invariant()
    def what_is_closed_stays_closed(self) -> None:
        for id, row in self.tables.people.questions.rows.items():
            assert self.closed.get(id, row.state) == row.state
            if row.state not in OPEN:
                self.closed[id] = row.state

    @invariant()
    def an_approval_ends_in_one_act_at_most_and_serves_one_call_at_a_time(self) -> None:
        assert all(acts == 1 for acts in self.acted.values())
        assert len(set(self.running.values())) == len(self.running)
        assert set(self.acted) <= {id for id, said in self.answered.items() if said == "approved"}


TestQuestionTable = QuestionTable.TestCase
