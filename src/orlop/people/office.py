"""All that the kernel knows of people, as one table: who folds what, and what a snapshot keeps."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct

from orlop.abi.autonomy import AutonomyCarried, AutonomyKey, AutonomyMoved, AutonomyRow
from orlop.abi.calls import CallTool, Infer
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.grants import Grant, GrantGiven, GrantRevoked
from orlop.abi.ids import DEFAULT_TENANT, CallId, Pid, ProcessId, TenantId
from orlop.abi.people import (
    HumanTouched,
    PeopleEvent,
    Person,
    PersonAdded,
    PersonRemoved,
    Work,
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
)
from orlop.people import grant_table
from orlop.people.autonomy_table import Autonomy
from orlop.people.grant_table import Grants
from orlop.people.question_table import Questions, Shown
from orlop.people.roster import Decisions, Roster


class ShownState(Struct, frozen=True):
    agent: str
    tool: str
    call: CallId | None = None
    arguments: dict[str, object] = {}
    tenant: TenantId = DEFAULT_TENANT


class GrantedCall(Struct, frozen=True):
    call: CallId
    grant: str
    counted: Decimal


class SeenState(Struct, frozen=True):
    tenant: TenantId
    agent: str
    versions: tuple[str, ...]


class OfficeState(Struct, frozen=True, kw_only=True):
    """A snapshot's part, but for the questions, which it had before the rest."""

    parked: list[Parked] = []
    shown: list[ShownState] = []
    people: list[Person] = []
    processes: dict[ProcessId, Work] = {}
    decisions: dict[str, Decisions] = {}
    grants: list[Grant] = []
    granted: list[GrantedCall] = []
    autonomy: list[AutonomyRow] = []
    seen: list[SeenState] = []


@dataclass(eq=False, slots=True)
class Office:
    questions: Questions = field(default_factory=Questions)
    grants: Grants = field(default_factory=Grants)
    autonomy: Autonomy = field(default_factory=Autonomy)
    roster: Roster = field(default_factory=Roster)

    def fold(self, header: Header, event: PeopleEvent, pid: Pid | None, name: str) -> None:
        """pid, name: of the header's process, where it is in the table."""
        match event:
            case QuestionAnswered():
                self._answered(header, event, pid, name)
            case QuestionAsked() if pid is None:
                pass  # Nobody could be told.
            case (
                QuestionAsked()
                | QuestionExpired()
                | QuestionCovered()
                | QuestionEscalated()
                | QuestionNotified()
            ):
                self.questions.fold(header, event, pid or Pid(0), name)
            case CallParked() | CallRefused():
                self.questions.park(header, event)
            case PersonAdded() | PersonRemoved():
                self.roster.fold(header, event)
            case HumanTouched():
                self.roster.touched(header, event)
            case GrantGiven():
                self.grants.given(header.tenant, header.wall_ns, event)
            case GrantRevoked():
                self.grants.revoked(header.wall_ns, event)
            case AutonomyMoved() | AutonomyCarried():
                self.autonomy.fold(header.tenant, header.wall_ns, event)

    def _answered(
        self, header: Header, event: QuestionAnswered, pid: Pid | None, name: str
    ) -> None:
        before = self.questions.rows.get(event.question)
        self.questions.fold(header, event, pid or Pid(0), name)
        after = self.questions.rows.get(event.question)
        self.roster.answered(header, event, after)
        was_pending = before is not None and before.state == "pending"
        if after is not None and after.level and was_pending and event.proof != "chain":
            self.autonomy.judged(after)

    def entered(self, header: Header, event: CallEntered, name: str) -> None:
        """A call has begun.  name: of its process."""
        assert header.call is not None
        self.questions.entered(header, event, name)
        if isinstance(event.body, Infer):
            if event.prompt:
                self.autonomy.used(header.tenant, name, event.body.model, event.prompt)
            return
        if not isinstance(event.body, CallTool) or not event.cleared_by:
            return
        self.grants.entered(header.call, event.cleared_by, event.body.arguments)
        if event.cleared_by.startswith(UNSEEN):
            task = event.body.hints.task_type
            key = AutonomyKey(tenant=header.tenant, agent=name, tool=event.body.tool, task=task)
            self.autonomy.passed(key)

    def ended(self, header: Header, event: CallReturned | CallFailed, *, is_lost: bool) -> None:
        """is_lost: nobody knows what the call has done."""
        assert header.call is not None
        self.questions.ended(header, event, is_lost=is_lost)
        has_begun = isinstance(event, CallReturned) or event.asked
        self.grants.ended(header.call, has_begun=has_begun)

    def drop(self, process: ProcessId) -> None:
        """The process has left the table."""
        self.roster.drop(process)

    def forget(self, tenant: TenantId) -> None:
        self.questions.forget(tenant)
        self.grants.forget(tenant)
        self.autonomy.forget(tenant)
        self.roster.forget(tenant)

    def state(self) -> OfficeState:
        return OfficeState(
            parked=list(self.questions.parked.values()),
            shown=[
                ShownState(agent, tool, *_last(shown), tenant=tenant)
                for (tenant, agent, tool), shown in self.questions.shown.items()
            ],
            people=list(self.roster.people.values()),
            processes=self.roster.processes,
            decisions=self.roster.decisions,
            grants=list(self.grants.rows.values()),
            granted=[
                GrantedCall(call, id, counted)
                for call, (id, counted) in self.grants.running.items()
            ],
            autonomy=list(self.autonomy.rows.values()),
            seen=[
                SeenState(tenant, agent, tuple(versions))
                for (tenant, agent), versions in self.autonomy.seen.items()
            ],
        )


def _last(shown: Shown | None) -> tuple[CallId | None, dict[str, object]]:
    return (None, {}) if shown is None else (shown.call, shown.arguments)


UNSEEN = "autonomy "
"""What `CallEntered.cleared_by` begins with where a level alone let a call through."""


def restored(questions: Iterable[Question], state: OfficeState) -> Office:
    """As it was."""
    office = Office(
        grants=grant_table.restored(
            state.grants, ((one.call, one.grant, one.counted) for one in state.granted)
        ),
        autonomy=Autonomy(
            rows={row.key: row for row in state.autonomy},
            seen={(seen.tenant, seen.agent): dict.fromkeys(seen.versions) for seen in state.seen},
        ),
        roster=Roster(processes=state.processes, decisions=state.decisions),
    )
    for question in questions:
        office.questions.put(question)
    office.questions.parked = {one.call: one for one in state.parked}
    office.questions.shown = {
        (one.tenant, one.agent, one.tool): (
            Shown(one.call, one.arguments) if one.call is not None else None
        )
        for one in state.shown
    }
    for person in state.people:
        office.roster.put(person)
    return office
