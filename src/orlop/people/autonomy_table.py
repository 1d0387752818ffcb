"""How far agents are trusted with tools, and on what evidence: a fold of the journal.

A judgement is a person's answer to a question that was asked at some level; an edit, a denial and a
disagreement are overrides.  A level changes by `autonomy.moved` alone, and its evidence begins
anew with it; with `autonomy.carried` both go on that began at a kernel which was lost.
"""

from dataclasses import dataclass, field

from msgspec.structs import replace

from orlop.abi.autonomy import AutonomyCarried, AutonomyKey, AutonomyMoved, AutonomyRow, Move
from orlop.abi.ids import Nanoseconds, TenantId
from orlop.abi.limits import (
    AUTONOMY_MOVES_KEPT,
    AUTONOMY_ROWS_MAX,
    AUTONOMY_WINDOW_MAX,
    VERSIONS_KNOWN_MAX,
)
from orlop.abi.questions import Question


@dataclass(eq=False, slots=True)
class Autonomy:
    rows: dict[AutonomyKey, AutonomyRow] = field(default_factory=dict)
    seen: dict[tuple[TenantId, str], dict[str, None]] = field(default_factory=dict)
    """By agent that some rule is about: models and prompts that it has used."""

    def fold(
        self, tenant: TenantId, now_ns: Nanoseconds, event: AutonomyMoved | AutonomyCarried
    ) -> None:
        if isinstance(event, AutonomyCarried):
            self.carried(event)
        else:
            self.moved(tenant, now_ns, event)

    def moved(self, tenant: TenantId, now_ns: Nanoseconds, event: AutonomyMoved) -> None:
        key = AutonomyKey(tenant=tenant, agent=event.agent, tool=event.tool, task=event.task)
        row = self.rows.get(key)
        if row is None:
            row = AutonomyRow(key=key, level=event.level, since_ns=now_ns)
        moves = (*row.moves, Move(at_ns=now_ns, move=event))[-AUTONOMY_MOVES_KEPT:]
        self.rows[key] = replace(
            row,
            level=event.level,
            since_ns=now_ns,
            agreed=0,
            judged=0,
            window=(),
            known=tuple(dict.fromkeys([*row.known, *event.known]))[-VERSIONS_KNOWN_MAX:],
            incidents=row.incidents + (event.cause == "incident"),
            moves=moves,
        )
        self._bound()

    def carried(self, event: AutonomyCarried) -> None:
        """From a kernel that was lost; what is known here already stays as it is."""
        key = event.row.key
        self.rows.setdefault(key, event.row)
        for version in event.seen:
            self._saw(key.tenant, key.agent, version)
        self._bound()

    def _bound(self) -> None:
        while len(self.rows) > AUTONOMY_ROWS_MAX:
            del self.rows[next(iter(self.rows))]  # It begins anew where its rule starts.

    def judged(self, question: Question) -> None:
        """A person has answered a question that was asked at a level."""
        row = self.rows.get(key_of(question))
        if row is None:
            return
        agreed = not question.is_override
        row = replace(
            row, decisions=row.decisions + 1, overrides=row.overrides + question.is_override
        )
        if question.level == row.level and question.asked_ns >= row.since_ns:
            row = replace(
                row,
                agreed=row.agreed + agreed,
                judged=row.judged + 1,
                window=(*row.window, agreed)[-AUTONOMY_WINDOW_MAX:],
            )
        self.rows[row.key] = row

    def passed(self, key: AutonomyKey) -> None:
        """A call went through unseen."""
        if (row := self.rows.get(key)) is not None:
            self.rows[key] = replace(row, passed=row.passed + 1)

    def forget(self, tenant: TenantId) -> None:
        self.rows = {key: row for key, row in self.rows.items() if key.tenant != tenant}
        self.seen = {place: held for place, held in self.seen.items() if place[0] != tenant}

    def used(self, tenant: TenantId, agent: str, model: str, prompt: str) -> None:
        """A model call of an agent that some rule is about."""
        for version in (f"model:{model}", f"prompt:{prompt}"):
            self._saw(tenant, agent, version)

    def _saw(self, tenant: TenantId, agent: str, version: str) -> None:
        seen = self.seen.setdefault((tenant, agent), {})
        seen.pop(version, None)
        seen[version] = None
        while len(seen) > VERSIONS_KNOWN_MAX:
            del seen[next(iter(seen))]
        while len(self.seen) > AUTONOMY_ROWS_MAX:
            del self.seen[next(iter(self.seen))]


def key_of(question: Question) -> AutonomyKey:
    return AutonomyKey(
        tenant=question.tenant, agent=question.name, tool=question.tool, task=question.task
    )
