"""Whatever happens in whatever order: a saga is decided once, a step is undone once, in reverse."""

from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from recorded import header, spawned

from orlop.abi.calls import CallTool
from orlop.abi.effects import EffectSettled
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event
from orlop.abi.hints import Facts
from orlop.abi.ids import DEFAULT_TENANT, CallId, NanoDollars, Nanoseconds, ProcessId
from orlop.abi.replies import ToolResult
from orlop.abi.sagas import (
    SagaClosed,
    SagaDecided,
    SagaOpened,
    SagaRetried,
    SagaStep,
    SagaStuck,
    SagaUndoing,
    SagaUndone,
    SagaVerdict,
    SagaView,
    UndoPlan,
)
from orlop.meter.ledger import Held
from orlop.state import accounts, saga_holds
from orlop.state.saga_table import OVER, SETTLED, newest
from orlop.state.snapshot import restored, taken
from orlop.state.tables import Tables

PROCESS = ProcessId("prc_1")
SAGA = "sag_1"
COST, PRICE = NanoDollars(7), NanoDollars(100)
PLAN = UndoPlan(effect="compensable", tool="cancel", price=PRICE)
ENDS: dict[str, Event] = {
    "returned": CallReturned(done=ToolResult(value=1, facts=Facts(call=CallId("cal_1")))),
    "failed": CallFailed(code="E2101", message="it says no"),
    "lost": CallFailed(code="E3002", message="the kernel was lost"),
    "turned away": CallFailed(code="E2002", message="too many"),
    "not begun": CallFailed(code="E3002", message="the kernel was lost", asked=False),
}


class SagaTable(RuleBasedStateMachine):
    """Events as the kernel writes them, beside a model of what has happened in the world.

    happened: by effect, whether it did (None: nobody knows).  undone: how often each was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        self.numbers = count(1)
        self.happened: dict[str, bool | None] = {}
        self.undone: dict[str, int] = {}
        self.running: dict[str, str] = {}
        self.order: list[str] = []
        self.decided: str = ""
        self.note(spawned())
        self.note(SagaOpened(saga=SAGA, name="trip", expires_ns=Nanoseconds(10**18)))

    def note(self, event: Event, *, call: str = "") -> None:
        self.tables.apply(header(next(self.numbers), PROCESS, call=call), event)

    @property
    def row(self) -> SagaView:
        return self.tables.sagas.rows[SAGA]

    def next_step(self) -> SagaStep | None:
        return newest(self.row)

    @rule()
    @precondition(lambda self: self.row.state == "open")
    def call(self) -> None:
        effect = f"cal_{next(self.numbers)}"
        self._enter(effect, effect)
        self.order.append(effect)

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.row.state == "open")
    def call_again(self, which: int) -> None:
        """One that was cut off, or that failed under the caller's own key."""
        again = [s for s in self.row.steps if s.state in ("unknown", "failed", "done")]
        if not again:
            return
        step, call = again[which % len(again)], f"cal_{next(self.numbers)}"
        self._enter(step.effect, call)
        if step.state == "done":  # As a person has said; so that is what it is answered with.
            del self.running[call]
            self.note(ENDS["returned"], call=call)

    def _enter(self, effect: str, call: str) -> None:
        body = CallTool(tool="book", saga=SAGA)
        event = CallEntered(incarnation=1, body=body, effect=effect, held_cost=COST, undo=PLAN)
        self.note(event, call=call)
        self.running[call] = effect

    @rule(how=st.sampled_from(sorted(ENDS)), which=st.integers(0, 9))
    @precondition(lambda self: self.running)
    def end(self, how: str, which: int) -> None:
        call = sorted(self.running)[which % len(self.running)]
        effect, before = self.running.pop(call), None
        before = self.happened.get(effect, False)
        self.note(ENDS[how], call=call)
        if how == "returned":
            self.happened[effect] = True
        elif how == "lost" or before is None:
            self.happened[effect] = None
        else:
            self.happened[effect] = False

    @rule(verdict=st.sampled_from(["commit", "abort"]))
    def decide(self, verdict: SagaVerdict) -> None:
        """The kernel commits only what does not run any more."""
        if verdict == "commit" and any(step.state == "begun" for step in self.row.steps):
            return
        if not self.decided:
            self.decided = verdict
        self.note(SagaDecided(saga=SAGA, verdict=verdict))

    @rule(happened=st.booleans())
    def settle(self, happened: bool) -> None:
        """A person's word, or its tool's."""
        for step in self.row.steps:
            if step.state == "unknown":
                settled = EffectSettled(effect=step.effect, tool="book", happened=happened)
                self.note(settled, call=step.call)
                self.happened[step.effect] = happened
                return

    @rule(works=st.sampled_from(["yes", "no", "stuck"]))
    @precondition(lambda self: self.row.state == "compensating")
    def undo(self, works: str) -> None:
        step = self.next_step()
        if step is None:
            self.note(SagaClosed(saga=SAGA))
            return
        if step.state == "begun":
            return
        if step.state == "unknown":
            reason = "nobody knows"
            stuck = SagaStuck(saga=SAGA, step=step.seq, reason=reason, is_unknown=True)
            self.note(stuck)
            return
        later = self.order[self.order.index(step.effect) + 1 :]
        assert all(
            self.happened.get(effect) is not True or self.undone.get(effect) for effect in later
        )
        self.note(
            SagaUndoing(
                saga=SAGA,
                step=step.seq,
                tool="cancel",
                arguments={},
                key=f"{step.effect}.undo",
                attempt=step.attempts + 1,
            )
        )
        if works == "yes":
            self.undone[step.effect] = self.undone.get(step.effect, 0) + 1
            self.note(SagaUndone(saga=SAGA, step=step.seq))
        elif works == "stuck":
            self.note(SagaStuck(saga=SAGA, step=step.seq, reason="no", is_unknown=False))

    @rule(undone=st.booleans())
    @precondition(lambda self: self.row.state == "stuck")
    def answer(self, undone: bool) -> None:
        step = self.next_step()
        if step is None or step.state != "stuck":
            return
        if undone:
            self.undone[step.effect] = self.undone.get(step.effect, 0) + 1
            self.note(SagaUndone(saga=SAGA, step=step.seq, person="Grace"))
        else:
            self.note(SagaRetried(saga=SAGA, step=step.seq, person="Grace"))

    @invariant()
    def what_was_decided_stays_decided(self) -> None:
        states = {"commit": ("committed",), "abort": ("compensating", "stuck", "compensated")}
        if self.decided:
            assert self.row.state in states[self.decided]
        else:
            assert self.row.state == "open"

    @invariant()
    def nothing_is_undone_twice_or_without_having_happened(self) -> None:
        for effect, times in self.undone.items():
            assert times == 1 and self.happened[effect] is True, effect

    @invariant()
    def what_is_over_left_nothing_behind(self) -> None:
        if self.row.state == "compensated":
            assert all(step.state in SETTLED for step in self.row.steps)
            assert all(
                self.undone.get(effect) for effect, done in self.happened.items() if done is True
            )

    @invariant()
    def steps_and_effects_are_the_same_in_number(self) -> None:
        assert len(self.row.steps) == len({step.effect for step in self.row.steps})
        known = {s.effect: s.state for s in self.row.steps}
        for effect, done in self.happened.items():
            if effect not in self.running.values():
                assert (known[effect] == "unknown") is (done is None), (effect, known[effect])

    @invariant()
    def what_may_still_have_to_be_undone_is_held_for_and_nothing_else(self) -> None:
        self.tables.ledger.check()
        over = self.row.state == "committed"
        open_steps = {s.effect for s in self.row.steps if s.state not in SETTLED and not over}
        held = {held.call.removesuffix(".undo") for held in self.undo_holds()}
        assert held == open_steps
        assert all(held.amount == saga_holds.amount(PLAN) for held in self.undo_holds())

    @invariant()
    def what_undoing_took_is_in_the_ledger_once(self) -> None:
        steps = [step for step in self.row.steps if step.state in SETTLED]
        attempts = sum(step.attempts for step in steps)
        account = self.tables.ledger.accounts[DEFAULT_TENANT, accounts.of_process(PROCESS)]
        assert account.ever.nano_dollars == attempts * PRICE

    def undo_holds(self) -> list[Held]:
        holds = self.tables.ledger.holds.values()
        return [held for held in holds if held.call.endswith(".undo")]

    @invariant()
    def a_snapshot_holds_all_of_it(self) -> None:
        again = restored(taken(self.tables))
        assert again is not None and again.sagas.rows == self.tables.sagas.rows
        assert again.ledger.state() == self.tables.ledger.state()
        assert again.sagas.calls == self.tables.sagas.calls
        assert (self.row.state in OVER) == (SAGA in again.sagas.over)


TestSagaTable = SagaTable.TestCase
