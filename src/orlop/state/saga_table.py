"""The sagas: a fold of the journal.

Invariants: 1. a saga is decided once; 2. a step is undone at most once, by a compensation that has
one name for ever; 3. steps are undone in the reverse order of their calls, and none before all that
came after it is settled; 4. what is over stays over.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import CallTool
from orlop.abi.effects import EffectSettled
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.ids import CallId, Seq, TenantId
from orlop.abi.limits import SAGAS_KEPT_MAX
from orlop.abi.sagas import (
    SagaClosed,
    SagaDecided,
    SagaOpened,
    SagaRetried,
    SagaState,
    SagaStep,
    SagaStuck,
    SagaUndoing,
    SagaUndone,
    SagaView,
    StepState,
)
from orlop.state.process_table import Row
from orlop.state.record import is_unknown

SagaEvent = (
    SagaOpened | SagaDecided | SagaUndoing | SagaUndone | SagaStuck | SagaRetried | SagaClosed
)

SAGA: Final[Mapping[tuple[SagaState, str], SagaState]] = {
    ("open", "commit"): "committed",
    ("open", "abort"): "compensating",
    ("compensating", "stick"): "stuck",
    ("stuck", "settle"): "compensating",
    ("compensating", "close"): "compensated",
}

STEP: Final[Mapping[tuple[StepState, str], StepState]] = {
    ("begun", "return"): "done",
    ("begun", "fail"): "failed",
    ("begun", "lose"): "unknown",
    ("unknown", "begin"): "begun",
    ("failed", "begin"): "begun",
    ("unknown", "happened"): "done",
    ("unknown", "did not"): "failed",
    ("unknown", "stick"): "unknown",
    ("unknown", "undo"): "undoing",
    ("done", "undo"): "undoing",
    ("done", "stick"): "stuck",
    ("done", "keep"): "kept",
    ("undoing", "undo"): "undoing",
    ("undoing", "undone"): "undone",
    ("undoing", "stick"): "stuck",
    ("stuck", "undone"): "undone",
    ("stuck", "retry"): "done",
}

OVER: Final[frozenset[SagaState]] = frozenset({"committed", "compensated"})
SETTLED: Final[frozenset[StepState]] = frozenset({"failed", "undone", "kept"})
"""States of steps that leave nothing to undo."""

ENDINGS: Final[Mapping[str, str]] = {"undone": "undone", "failed": "did not", "kept": "keep"}


@dataclass(eq=False, slots=True)
class Sagas:
    """`calls`: the saga and the intent of each call of a tool that has begun within one."""

    rows: dict[str, SagaView] = field(default_factory=dict)
    calls: dict[CallId, tuple[str, Seq]] = field(default_factory=dict)
    over: dict[str, None] = field(default_factory=dict)

    def fold(self, header: Header, event: SagaEvent, process: Row | None) -> None:
        if isinstance(event, SagaOpened):
            if process is not None:
                self._opened(header, event, process)
            return
        row = self.rows.get(event.saga)
        if row is None:
            return
        match event:
            case SagaDecided():
                self._move(replace(row, reason=event.reason), event.verdict)
            case SagaUndoing():
                changed = {"undo": event.tool, "attempts": event.attempt, "is_unknown": False}
                self._step(row, event.step, "undo", **changed)
            case SagaUndone():
                changed = {"reason": "", "is_unknown": False}
                self._step(row, event.step, ENDINGS[event.state], event.ran_ns, **changed)
                self._resume(event.saga)
            case SagaStuck():
                changed = {"reason": event.reason, "is_unknown": event.is_unknown}
                self._step(row, event.step, "stick", event.ran_ns, **changed)
                self._move(self.rows[row.id], "stick")
            case SagaRetried():
                changed = {"reason": "", "is_unknown": False, "cleared_by": event.person}
                self._step(row, event.step, "retry", **changed)
                self._resume(event.saga)
            case SagaClosed():
                self._move(row, "close")

    def _opened(self, header: Header, event: SagaOpened, process: Row) -> None:
        self.put(
            SagaView(
                id=event.saga,
                name=event.name,
                process=header.process,
                pid=process.pid,
                tenant=header.tenant,
                state="open",
                opened_ns=header.wall_ns,
                expires_ns=event.expires_ns,
            )
        )

    def call(
        self, header: Header, event: CallEntered | CallReturned | CallFailed
    ) -> SagaView | None:
        """A call of a tool within a saga has begun, or ended; then that saga."""
        assert header.call is not None
        if not self.rows:
            return None
        if isinstance(event, CallEntered):
            if not isinstance(event.body, CallTool) or event.body.saga not in self.rows:
                return None
            self._began(self.rows[event.body.saga], header, event, event.body.tool)
            return self.rows[event.body.saga]
        known = self.calls.pop(header.call, None)
        if known is None or (row := self.rows.get(known[0])) is None:
            return None
        step = next(step for step in row.steps if step.seq == known[1])
        self._step(row, step.seq, _ending(step, event), outcome=header.seq)
        return self.rows[row.id]

    def _began(self, row: SagaView, header: Header, event: CallEntered, tool: str) -> None:
        """A call that takes over the effect of an earlier one is the same step once more; one whose
        effect is there already, by a person's word or under the caller's own key, is no step."""
        assert header.call is not None
        again = next((s for s in row.steps if (s.effect, s.tool) == (event.effect, tool)), None)
        if again is not None and (again.state, "begin") not in STEP:
            return
        self.calls[header.call] = (row.id, header.seq)
        if again is not None:
            was_unknown = again.state == "unknown"
            others = tuple(step for step in row.steps if step is not again)
            step = replace(again, seq=header.seq, call=header.call, state="begun")
            step = replace(step, is_unknown=was_unknown, plan=event.undo or step.plan)
            self.put(replace(row, steps=(*others, step)))
            return
        step = SagaStep(
            seq=header.seq, call=header.call, tool=tool, effect=event.effect, plan=event.undo
        )
        self.put(replace(row, steps=(*row.steps, step)))

    def settled(self, header: Header, event: EffectSettled) -> Iterator[SagaView]:
        """A person knows what became of a step; of which sagas."""
        for row in tuple(self.rows.values()):
            step = next((step for step in row.steps if step.call == header.call), None)
            if step is not None and step.state == "unknown":
                how = "happened" if event.happened else "did not"
                self._step(row, step.seq, how, outcome=header.seq, reason="", is_unknown=False)
                self._resume(row.id)
                yield self.rows[row.id]

    def _resume(self, id: str) -> None:
        if self.rows[id].state == "stuck":
            self._move(self.rows[id], "settle")

    def _step(
        self, row: SagaView, seq: Seq, event: str, ran_ns: int = 0, /, **changed: object
    ) -> None:
        """Take one step of a step's state machine, if there is one."""
        steps = list(row.steps)
        for at, step in enumerate(steps):
            if step.seq == seq and (state := STEP.get((step.state, event))) is not None:
                sticks = step.sticks + (event == "stick")
                spent = replace(step, state=state, sticks=sticks, undo_ns=step.undo_ns + ran_ns)
                steps[at] = replace(spent, **changed)
        self.put(replace(row, steps=tuple(steps)))

    def _move(self, row: SagaView, event: str) -> None:
        state = SAGA.get((row.state, event))
        if state is not None:
            self.put(replace(row, state=state))

    def put(self, row: SagaView) -> None:
        """Also of a snapshot."""
        self.rows[row.id] = row
        if row.state in OVER and row.id not in self.over:
            self.over[row.id] = None
            while len(self.over) > SAGAS_KEPT_MAX:
                oldest = next(iter(self.over))
                del self.over[oldest], self.rows[oldest]

    def still_open(self) -> int:
        return len(self.rows) - len(self.over)

    def forget(self, tenant: TenantId) -> None:
        for id in [row.id for row in self.rows.values() if row.tenant == tenant]:
            del self.rows[id]
            self.over.pop(id, None)


def restored(rows: Iterable[SagaView]) -> Sagas:
    table = Sagas()
    for row in rows:
        table.put(row)
        for step in row.steps:
            if step.state == "begun":
                table.calls[step.call] = (row.id, step.seq)
    return table


def newest(row: SagaView) -> SagaStep | None:
    """The step that is undone next: the last that is not settled."""
    left = [step for step in row.steps if step.state not in SETTLED]
    return max(left, key=lambda step: step.seq, default=None)


def _ending(step: SagaStep, event: CallReturned | CallFailed) -> str:
    if isinstance(event, CallReturned):
        return "return"
    if step.is_unknown:  # A second attempt that failed tells nothing of the first.
        return "lose"
    return "lose" if event.asked and is_unknown(event.code) else "fail"
