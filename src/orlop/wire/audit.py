"""The journal's events as an auditor reads them: a record a call, life, person's act, refusal.

A fold over exported events.  What happened before the first of them is not known: then a record has
the process's id only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from orlop.abi.calls import CallTool, Embed, Infer, Spawn
from orlop.abi.capabilities import RightRefused
from orlop.abi.egress import Fetch
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event, Header, LossAccepted
from orlop.abi.ids import CallId, NanoDollars, Nanoseconds, ProcessId, Seq
from orlop.abi.memory import MemoryErased
from orlop.abi.people import HumanTouched
from orlop.abi.policy import Decision, PolicyRefused, PolicyRemoved, PolicySet
from orlop.abi.processes import Diverged, OutcomeStated, ProcessEnded, ProcessSpawned
from orlop.abi.questions import QuestionAnswered, QuestionAsked, QuestionExpired
from orlop.abi.replies import Completion, Vectors

OPEN_MAX: Final = 1_000_000
"""Calls whose outcome has not come yet, at most: a call that never ends must not fill the RAM."""


class Line(Struct, frozen=True):
    """One line of `orlop journal export`."""

    header: Header
    event: Event | None = None
    """None: retention or a forgotten key took it."""


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`seq`, `hash`: of the event that ended it, by which it can be proven."""

    kind: str
    """call, begun, ended, outcome, asked, person, refused, policy, incident, erased."""
    time: str
    seq: Seq
    hash: str
    process: ProcessId
    agent: str = ""
    began: str = ""
    action: str = ""
    on: str = ""
    """What it was done to: a model, a tool, a host, a question."""
    model: str = ""
    artefact: str = ""
    arguments: str = ""
    """A digest under the tenant's key: equal arguments have equal ones."""
    outcome: str = ""
    person: str = ""
    known_by: str = ""
    """How it is known that it was this person."""
    minutes: float = 0.0
    rules: tuple[str, ...] = ()
    cleared_by: str = ""
    """A person's approval, a grant, or a level of autonomy, that let it through."""
    labels: tuple[str, ...] = ()
    """Where untrusted data that it saw came from."""
    cost: NanoDollars = NanoDollars(0)
    note: str = ""


class _Began(Struct, frozen=True):
    header: Header
    event: CallEntered


@dataclass(eq=False, slots=True)
class Recorder:
    agents: dict[ProcessId, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    """Of each question: what it was about."""
    untold: int = 0
    """Events whose content is gone."""
    _open: dict[CallId, _Began] = field(default_factory=dict)

    def feed(self, line: Line) -> Iterator[Record]:
        """What this event completes; nothing for most."""
        header, event = line.header, line.event
        match event:
            case None:
                self.untold += 1
            case ProcessSpawned():
                self.agents[header.process] = event.name
                by = f"pid {event.pid}" + (f" of {event.parent}" if event.parent else "")
                yield self._made(header, "begun", action=" ".join(event.command), note=by)
            case ProcessEnded():
                outcome = f"status {event.status}"
                yield self._made(header, "ended", outcome=outcome, note=event.reason)
            case OutcomeStated():
                yield self._made(header, "outcome", outcome=event.status, note=event.note)
            case CallEntered() if header.call is not None:
                if len(self._open) < OPEN_MAX:
                    self._open[header.call] = _Began(header, event)
            case CallReturned() | CallFailed():
                yield from self._call(header, event)
            case QuestionAsked() | QuestionAnswered() | QuestionExpired() | HumanTouched():
                yield self._person(header, event)
            case _:
                yield from self._other(header, event)

    def rest(self) -> Iterator[Record]:
        """Calls that had not ended when the last event was written."""
        for began in self._open.values():
            yield self._of_call(began.header, began, "not ended")

    def _call(self, header: Header, event: CallReturned | CallFailed) -> Iterator[Record]:
        began = self._open.pop(header.call, None) if header.call is not None else None
        if isinstance(event, CallFailed):
            outcome = f"{event.code}: {event.message}"
            yield self._of_call(header, began, outcome, cost=event.booked_cost)
            return
        done = event.done
        if isinstance(done, Completion | Vectors):
            facts = done.facts
            yield self._of_call(
                header,
                began,
                "done",
                model=f"{facts.model or done.model} on {facts.engine}",
                artefact=facts.artefact,
                cost=NanoDollars(facts.cost + event.booked_cost),
                note=facts.rung,
            )
        else:
            yield self._of_call(header, began, "done", cost=event.booked_cost)

    def _of_call(
        self, header: Header, began: _Began | None, outcome: str, **more: object
    ) -> Record:
        if began is None:
            return self._made(header, "call", outcome=outcome, **more)
        entered, said = began.event, began.event.decision or Decision()
        digest = began.header.args_digest
        return self._made(
            header,
            "call",
            began=moment(began.header.wall_ns),
            action=type(entered.body).__name__.lower(),
            on=_target(entered),
            arguments=digest.hex() if digest else "",
            outcome=outcome,
            rules=said.rules,
            cleared_by=entered.cleared_by,
            labels=entered.labels,
            **more,
        )

    def _person(
        self,
        header: Header,
        event: QuestionAsked | QuestionAnswered | QuestionExpired | HumanTouched,
    ) -> Record:
        match event:
            case QuestionAsked():
                about = self.asked[event.question] = event.tool or event.text
                return self._made(
                    header, "asked", on=event.question, action=about, note=event.asked_by
                )
            case QuestionExpired():
                about = self.asked.pop(event.question, "")
                return self._made(
                    header,
                    "person",
                    on=event.question,
                    action=about,
                    outcome="expired",
                    note=event.reason,
                )
            case QuestionAnswered():
                return self._made(
                    header,
                    "person",
                    on=event.question,
                    action=self.asked.pop(event.question, ""),
                    outcome=event.verdict,
                    person=event.person,
                    known_by=event.proof,
                    minutes=event.minutes,
                    cost=event.cost,
                    note=event.answer,
                )
            case HumanTouched():
                return self._made(
                    header,
                    "person",
                    action=event.touch,
                    person=event.person,
                    minutes=event.minutes,
                    cost=event.cost,
                    note=event.note,
                )

    def _other(self, header: Header, event: Event) -> Iterator[Record]:
        match event:
            case PolicyRefused():
                yield self._made(
                    header,
                    "refused",
                    action=event.action,
                    on=event.resource,
                    outcome="refused by a rule",
                    rules=event.decision.rules,
                    labels=event.labels,
                    note=event.decision.reason,
                )
            case RightRefused():
                yield self._made(
                    header, "refused", outcome="no right", on=event.right, note=event.reason
                )
            case PolicySet():
                what = "shadow" if event.shadow else "rules"
                yield self._made(header, "policy", action=f"{what} set", on=event.digest)
            case PolicyRemoved():
                yield self._made(header, "policy", action="removed")
            case Diverged():
                yield self._made(header, "incident", action="diverged", note=event.difference)
            case LossAccepted():
                note = f"events {event.first} to {event.last}: {event.reason}"
                yield self._made(header, "incident", action="loss accepted", note=note)
            case MemoryErased():
                note = f"{event.versions} versions: {event.reason}"
                yield self._made(header, "erased", on=event.subject_digest, note=note)
            case _:
                if header.kind in INCIDENTS:
                    yield self._made(header, "incident", action=header.kind, note=str(event)[:400])

    def _made(self, header: Header, kind: str, **more: object) -> Record:
        return Record(
            kind=kind,
            time=moment(header.wall_ns),
            seq=header.seq,
            hash=header.hash.hex(),
            process=header.process,
            agent=self.agents.get(header.process, ""),
            **more,  # type: ignore[arg-type]
        )


INCIDENTS: Final = frozenset(
    {
        "budget.exceeded",
        "tool.changed",
        "tool.refused",
        "saga.stuck",
        "effect.settled",
        "egress.refused",
        "device.changed",
        "journal.anchor_repaired",
        "journal.restored",
        "token.revoked",
        "autonomy.moved",
    }
)
"""Kinds of events that somebody who looks for trouble wants to see."""


def _target(entered: CallEntered) -> str:
    match entered.body:
        case Infer() | Embed():
            return entered.body.model
        case CallTool():
            return entered.body.tool
        case Fetch():
            return entered.body.url
        case Spawn():
            return " ".join(entered.body.command)
        case _:
            return ""


def moment(wall_ns: Nanoseconds) -> str:
    """RFC 3339, in UTC, to the microsecond."""
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="microseconds")
