"""The people who answer for agents: who they are, and what their work comes to."""

from typing import TypeAlias

from msgspec import Struct

from orlop.abi.admin import ProcessView, TraceCall
from orlop.abi.autonomy import AutonomyCarried, AutonomyMoved
from orlop.abi.grants import Grant, GrantGiven, GrantRevoked
from orlop.abi.ids import DEFAULT_TENANT, NanoDollars, Nanoseconds, Pid, ProcessId, TenantId
from orlop.abi.messages import Message
from orlop.abi.questions import (
    CallParked,
    CallRefused,
    Question,
    QuestionAnswered,
    QuestionAsked,
    QuestionCovered,
    QuestionEscalated,
    QuestionExpired,
    QuestionNotified,
    Touch,
)


class PersonAdded(Struct, frozen=True, kw_only=True, tag_field="kind", tag="person.added"):
    """A person with a token of his own; a second one takes the first one's place."""

    person: str
    secret_digest: str
    """SHA-256 of the token, hexadecimal."""


class PersonRemoved(Struct, frozen=True, kw_only=True, tag_field="kind", tag="person.removed"):
    person: str


class HumanTouched(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.touched"):
    """A person has done something that is no answer to a question."""

    touch: Touch
    person: str
    minutes: float = 0.0
    cost: NanoDollars = NanoDollars(0)
    note: str = ""


PeopleEvent: TypeAlias = (
    QuestionAsked
    | QuestionAnswered
    | QuestionExpired
    | QuestionCovered
    | QuestionEscalated
    | QuestionNotified
    | CallParked
    | CallRefused
    | PersonAdded
    | PersonRemoved
    | HumanTouched
    | GrantGiven
    | GrantRevoked
    | AutonomyMoved
    | AutonomyCarried
)
"""All that the journal knows of people."""


class Work(Struct, frozen=True, kw_only=True):
    """What people have done: of one person, one process, or all."""

    touches: dict[str, int] = {}
    """By kind."""
    minutes: float = 0.0
    cost: NanoDollars = NanoDollars(0)


class Person(Struct, frozen=True, kw_only=True):
    """A row of the table, and of `orlop people`."""

    name: str
    secret_digest: str = ""
    """Empty: he has no token, and his name was given by others.  Shown in part."""
    added_ns: Nanoseconds | None = None
    work: Work = Work()
    tenant: TenantId = DEFAULT_TENANT
    """Whose questions he answers: of one name there may be one in each."""


class ProcessWork(Struct, frozen=True, kw_only=True):
    """What people have done for one process."""

    process: ProcessId
    pid: Pid
    name: str
    work: Work


class PeopleView(Struct, frozen=True, kw_only=True):
    """`orlop people`."""

    people: tuple[Person, ...]
    processes: tuple[ProcessWork, ...]


class PersonOrder(Struct, frozen=True, kw_only=True):
    name: str


class NewPerson(Struct, frozen=True, kw_only=True):
    """The only time that the token is shown."""

    name: str
    token: str


class TouchOrder(Struct, frozen=True, kw_only=True):
    """`orlop people note`: work that no answer holds."""

    process: str
    """A pid, an id, or a name."""
    minutes: float
    touch: Touch = "note"
    person: str = ""
    note: str = ""


class CaseFile(Struct, frozen=True, kw_only=True):
    """`orlop approvals show ID --case`: all that a person needs to take over."""

    question: Question
    process: ProcessView
    conversation: tuple[Message, ...]
    """Of the newest model call, with its answer."""
    left_out: int
    """Messages before those, for lack of room."""
    calls: tuple[TraceCall, ...]
    effects: tuple["CaseEffect", ...]
    questions: tuple[Question, ...]
    """Others of the same process."""
    grants: tuple[Grant, ...]


class CaseEffect(Struct, frozen=True, kw_only=True):
    """A tool call of the process, so far."""

    call: str
    tool: str
    arguments: dict[str, object]
    status: str
    result: object = None
    cleared_by: str = ""
    at_ns: Nanoseconds
