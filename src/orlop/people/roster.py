"""Who the people are, and what their work comes to: a fold of the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.events import Header
from orlop.abi.ids import NanoDollars, ProcessId, TenantId
from orlop.abi.limits import PEOPLE_MAX
from orlop.abi.people import HumanTouched, Person, PersonAdded, PersonRemoved, Work
from orlop.abi.questions import Question, QuestionAnswered, Touch, Verdict

TOUCHES: Final[Mapping[Verdict, Touch]] = {
    "approve": "approval",
    "deny": "denial",
    "answer": "answer",
    "take": "takeover",
    "agree": "judgement",
    "disagree": "judgement",
}

Who: TypeAlias = tuple[TenantId, str]
"""A person: whose, and by which name."""

OTHERS: Final = "(others)"
"""Whoever comes when there are `PEOPLE_MAX` already."""


class Decisions(Struct, frozen=True):
    """About one tool's calls: how often people wanted what the agent did, and how often not."""

    agreed: int = 0
    overridden: int = 0


@dataclass(eq=False, slots=True)
class Roster:
    people: dict[Who, Person] = field(default_factory=dict)
    by_secret: dict[str, Who] = field(default_factory=dict)
    """By the digest of their token."""
    processes: dict[ProcessId, Work] = field(default_factory=dict)
    decisions: dict[str, Decisions] = field(default_factory=dict)
    """By tool."""

    def fold(self, header: Header, event: PersonAdded | PersonRemoved) -> None:
        who = (header.tenant, event.person)
        known = self.people.get(who)
        if known is not None:
            self.by_secret.pop(known.secret_digest, None)
        if isinstance(event, PersonRemoved):
            if known is not None:
                self.people[who] = replace(known, secret_digest="", added_ns=None)
            return
        person = known or Person(name=event.person, tenant=header.tenant)
        self.put(replace(person, secret_digest=event.secret_digest, added_ns=header.wall_ns))

    def put(self, person: Person) -> None:
        who = (person.tenant, person.name)
        self.people[who] = person
        if person.secret_digest:
            self.by_secret[person.secret_digest] = who

    def of(self, tenant: TenantId) -> list[Person]:
        return [person for (owner, _), person in self.people.items() if owner == tenant]

    def forget(self, tenant: TenantId) -> None:
        for person in self.of(tenant):
            del self.people[tenant, person.name]
            self.by_secret.pop(person.secret_digest, None)

    def answered(self, header: Header, event: QuestionAnswered, question: Question | None) -> None:
        """question: as it is after the answer; None where it is unknown."""
        if event.proof == "chain":
            return
        touch = event.touch or TOUCHES[event.verdict]
        self.worked(header, event.person, touch, event.minutes, event.cost)
        if question is not None and question.tool and question.form != "elicitation":
            known = self.decisions.get(question.tool, Decisions())
            over = question.is_override
            self.decisions[question.tool] = Decisions(
                known.agreed + (not over), known.overridden + over
            )

    def touched(self, header: Header, event: HumanTouched) -> None:
        self.worked(header, event.person, event.touch, event.minutes, event.cost)

    def worked(
        self, header: Header, name: str, touch: Touch, minutes: float, cost: NanoDollars
    ) -> None:
        tenant = header.tenant
        if (tenant, name) not in self.people and len(self.people) >= PEOPLE_MAX:
            name = OTHERS
        person = self.people.get((tenant, name)) or Person(name=name, tenant=tenant)
        self.put(replace(person, work=_more(person.work, touch, minutes, cost)))
        before = self.processes.get(header.process, Work())
        self.processes[header.process] = _more(before, touch, minutes, cost)

    def drop(self, process: ProcessId) -> None:
        """The process has left the table."""
        self.processes.pop(process, None)


def _more(work: Work, touch: Touch, minutes: float, cost: NanoDollars) -> Work:
    return Work(
        touches={**work.touches, touch: work.touches.get(touch, 0) + 1},
        minutes=work.minutes + minutes,
        cost=NanoDollars(work.cost + cost),
    )
