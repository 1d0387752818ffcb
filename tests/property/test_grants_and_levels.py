"""Whatever happens in whatever order: no grant is overdrawn, no level moves without evidence."""

from decimal import Decimal
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from recorded import header, spawned

from orlop.abi.autonomy import LEVELS, AutonomyKey
from orlop.abi.calls import CallTool
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event
from orlop.abi.grants import Condition, GrantGiven, GrantRevoked, GrantTerms
from orlop.abi.hints import Facts
from orlop.abi.ids import DEFAULT_TENANT, CallId, Nanoseconds, ProcessId
from orlop.abi.questions import QuestionAnswered, QuestionAsked, Verdict
from orlop.abi.replies import ToolResult
from orlop.people import rules
from orlop.people.confidence import lower_bound
from orlop.people.rules import AutonomyConfig
from orlop.state.snapshot import restored, taken
from orlop.state.tables import Tables

PROCESS = ProcessId("prc_1")
AGENT, TOOL = "agent", "pay"
RULE = AutonomyConfig(
    tools=(TOOL,), start="approve", ceiling="autonomous", evidence_min=4, promote_at=0.4,
    confidence=0.9, window=5, demote_at=0.6,
)  # fmt: skip
KEY = AutonomyKey(tenant=DEFAULT_TENANT, agent=AGENT, tool=TOOL)
RETURNED = CallReturned(done=ToolResult(value=1, facts=Facts(call=CallId("cal_1"))))
amounts = st.sampled_from([Decimal(1), Decimal("2.5"), Decimal(7)])


class Office(RuleBasedStateMachine):
    """The kernel's way of deciding, beside a model that only adds up."""

    grants: Bundle[str] = Bundle("grants")

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        self.numbers = count(1)
        self.now = 0
        self.spent: dict[str, list[Decimal]] = {}
        self.revoked: set[str] = set()
        self.running: dict[CallId, tuple[str, Decimal]] = {}
        self.judgements: list[bool] = []
        self.note(spawned(name=AGENT))
        self.note(rules.began(RULE, AGENT, TOOL, "", ()))

    def note(self, event: Event, *, call: str = "", digest: bytes | None = None) -> None:
        number = next(self.numbers)
        told = header(number, PROCESS, call=call, digest=digest, now_ns=self.now)
        self.tables.apply(told, event)

    # Grants.

    @rule(target=grants, calls=st.none() | st.integers(1, 3), most=amounts, limit=amounts)
    def give(self, calls: int | None, most: Decimal, limit: Decimal) -> str:
        id = f"grt_{next(self.numbers)}"
        terms = GrantTerms(
            where=(Condition(argument="amount", max=most),),
            calls_max=calls,
            sum_of="amount",
            sum_max=limit * 2,
        )
        expires = Nanoseconds(self.now + 30)
        given = GrantGiven(
            grant=id, agent=AGENT, tool=TOOL, terms=terms, expires_ns=expires, person="Grace"
        )
        self.note(given)
        self.spent[id] = []
        return id

    @rule(id=grants)
    def revoke(self, id: str) -> None:
        self.note(GrantRevoked(grant=id, person="Grace"))
        self.revoked.add(id)

    @rule(amount=amounts)
    def call(self, amount: Decimal) -> None:
        """One step from the look to the intent, as at the door."""
        value = float(amount)
        found = self.tables.people.grants.covering(
            DEFAULT_TENANT, AGENT, TOOL, {"amount": value}, Nanoseconds(self.now)
        )
        if found is None:
            return
        assert found.id not in self.revoked and found.expires_ns > self.now
        id = f"cal_{next(self.numbers)}"
        body = CallTool(tool=TOOL, arguments={"amount": value})
        self.note(CallEntered(incarnation=1, body=body, cleared_by=found.id), call=id, digest=b"d")
        self.running[CallId(id)] = (found.id, amount)
        self.spent[found.id].append(amount)

    @rule(data=st.data(), has_begun=st.booleans())
    def end(self, data: st.DataObject, has_begun: bool) -> None:
        """A call that never began gives back what it was counted for."""
        if not self.running:
            return
        call = data.draw(st.sampled_from(sorted(self.running)))
        grant, amount = self.running.pop(call)
        lost = CallFailed(code="E3002", message="lost", asked=False)
        self.note(RETURNED if has_begun else lost, call=call)
        if not has_begun:
            self.spent[grant].remove(amount)

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    # Levels.

    @rule(said=st.sampled_from(["approve", "approve", "approve", "edit", "deny"]))
    def judge(self, said: str) -> None:
        row = self.tables.people.autonomy.rows[KEY]
        id = f"qst_{next(self.numbers)}"
        asked = QuestionAsked(
            question=id, text="may it?", tool=TOOL, expires_ns=Nanoseconds(10**9),
            form="approval", level=row.level,
        )  # fmt: skip
        self.note(asked, digest=id.encode())
        verdict: Verdict = "deny" if said == "deny" else "approve"
        edited: dict[str, object] | None = {"amount": 1} if said == "edit" else None
        self.note(QuestionAnswered(question=id, verdict=verdict, person="Grace", arguments=edited))
        self.judgements.append(said == "approve")
        self._review(())

    @rule(version=st.integers(1, 3))
    def new_version(self, version: int) -> None:
        self._review((f"model:{version}",))

    def _review(self, versions: tuple[str, ...]) -> None:
        row = self.tables.people.autonomy.rows[KEY]
        move = rules.review(row, RULE, versions)
        if move is None:
            return
        agreed = self.judgements.count(True)
        if move.cause == "evidence":
            assert LEVELS.index(move.level) == LEVELS.index(row.level) + 1
            assert lower_bound(agreed, len(self.judgements), RULE.confidence) >= RULE.promote_at
        elif move.cause == "drift":
            window = self.judgements[-RULE.window :]
            assert sum(window) / len(window) < RULE.demote_at
            assert LEVELS.index(move.level) == LEVELS.index(row.level) - 1
        else:
            assert move.cause == "version" and move.level == RULE.start
        assert (move.agreed, move.judged) == (agreed, len(self.judgements))
        self.note(move)
        self.judgements = []

    # Always.

    @rule()
    def restart(self) -> None:
        """From a snapshot alone."""
        tables = restored(taken(self.tables))
        assert tables is not None
        assert tables.people.state() == self.tables.people.state()
        self.tables = tables

    @invariant()
    def no_grant_is_overdrawn(self) -> None:
        for id, amounts in self.spent.items():
            grant = self.tables.people.grants.rows[id]
            assert (grant.calls, grant.sum) == (len(amounts), sum(amounts, Decimal(0)))
            assert grant.terms.calls_max is None or grant.calls <= grant.terms.calls_max
            assert grant.terms.sum_max is not None and grant.sum <= grant.terms.sum_max
            assert all(amount <= (grant.terms.where[0].max or 0) for amount in amounts)

    @invariant()
    def the_evidence_is_what_people_said_since_the_last_move(self) -> None:
        row = self.tables.people.autonomy.rows[KEY]
        assert (row.agreed, row.judged) == (self.judgements.count(True), len(self.judgements))
        assert LEVELS.index(RULE.start) <= LEVELS.index(row.level) <= LEVELS.index(RULE.ceiling)


TestOffice = Office.TestCase
