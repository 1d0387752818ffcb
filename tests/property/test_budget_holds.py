"""Budgets under any interleaving of holds, outcomes, clock steps, new limits and restarts."""

from dataclasses import dataclass

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orlop.abi.budgets import AccountName, Amount, Limit, Period
from orlop.abi.calls import Budget
from orlop.abi.errors import BudgetHeld, BudgetSpent, RateReached
from orlop.abi.ids import DEFAULT_TENANT, CallId, NanoDollars, Nanoseconds
from orlop.meter import account, ledger
from orlop.meter.ledger import Held, Ledger, LedgerState

NS = 1_000_000_000
START_NS = 1_800_000_000 * NS

NAMES = [
    AccountName(name) for name in ("process:1", "process:2", "task:a", "task:b", "organisation")
]
LINES = [
    (NAMES[0], NAMES[2], NAMES[4]),
    (NAMES[1], NAMES[0], NAMES[2], NAMES[4]),
    (NAMES[1], NAMES[3], NAMES[4]),
]
COUNTS = st.none() | st.integers(0, 60)
SECONDS = st.none() | st.sampled_from([0.5, 3.0, 40.0])
RATES = st.none() | st.integers(1, 8)
PERIODS = st.sampled_from(list[Period](["ever", "ever", "hour", "day"]))


def limits() -> st.SearchStrategy[Limit]:
    budgets = st.builds(Budget, COUNTS, COUNTS, COUNTS.map(money), SECONDS)
    return st.builds(
        Limit,
        budget=budgets,
        per=PERIODS,
        calls_per_minute=RATES,
        tokens_per_minute=st.none() | st.integers(10, 90),
    )


def money(count: int | None) -> NanoDollars | None:
    return None if count is None else NanoDollars(count)


def amounts() -> st.SearchStrategy[Amount]:
    count = st.integers(0, 30)
    return st.builds(
        Amount,
        st.just(1),
        count,
        count.map(NanoDollars),
        st.integers(0, 2 * NS).map(Nanoseconds),
    )


@dataclass(frozen=True)
class Entered:
    second: int
    line: tuple[AccountName, ...]
    held: Amount


class Books(RuleBasedStateMachine):
    """The ledger, beside a list of all that was ever held and used on it."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now_ns = Nanoseconds(START_NS)
        self.open: dict[CallId, Entered] = {}
        self.entered: list[Entered] = []
        self.limits: dict[AccountName, Limit] = {}

    @initialize(given=st.lists(limits(), min_size=len(NAMES), max_size=len(NAMES)))
    def begin(self, given: list[Limit]) -> None:
        for name, limit in zip(NAMES, given, strict=True):
            self.ledger.allow(DEFAULT_TENANT, name, limit, self.now_ns)
            self.limits[name] = limit
        for line in LINES:
            self.ledger.join(DEFAULT_TENANT, line, self.now_ns)

    @rule(seconds=st.sampled_from([0, 0, 1, 7, 30, 59, 60, 61, 3_600, 86_400]))
    def wait(self, seconds: int) -> None:
        self.now_ns = Nanoseconds(self.now_ns + seconds * NS)

    @rule(line=st.sampled_from(LINES), need=amounts())
    def enter(self, line: tuple[AccountName, ...], need: Amount) -> None:
        """As the door does it: asked, then held, with nothing in between."""
        accounts = self.ledger.line(DEFAULT_TENANT, line)
        account.room(accounts, self.now_ns)
        before = [(each.used, each.held, each.minute.kept()) for each in accounts]
        try:
            account.require(accounts, need, self.now_ns)
        except (BudgetSpent, BudgetHeld, RateReached) as refusal:
            assert before == [(each.used, each.held, each.minute.kept()) for each in accounts]
            if isinstance(refusal, RateReached):
                self._there_is_room_then(accounts, need, refusal.retry_after_s)
            return
        call, second = CallId(f"cal_{len(self.entered)}"), self.now_ns // NS
        held = Held(call=call, tenant=DEFAULT_TENANT, accounts=line, amount=need, second=second)
        self.ledger.hold(held, self.now_ns)
        self.open[call] = Entered(second, line, need)
        self.entered.append(self.open[call])

    def _there_is_room_then(
        self, accounts: list[account.Account], need: Amount, wait_s: float | None
    ) -> None:
        """The time that a refusal names is not too early: nobody comes in vain."""
        assert wait_s is not None and 0 < wait_s <= 61
        second = self.now_ns // NS + int(wait_s)
        first = next(each for each in accounts if account.is_too_fast(each, need))
        kept = [came for came in first.minute.kept() if came[0] > second - 61]
        limit = first.limit
        if limit.calls_per_minute is not None and first.minute.calls + 1 > limit.calls_per_minute:
            assert sum(calls for _, calls, _ in kept) + need.calls <= limit.calls_per_minute

    @rule(data=st.data(), share=st.floats(0, 1))
    def leave(self, data: st.DataObject, share: float) -> None:
        """A call ends; what was held and not used comes back."""
        if not self.open:
            return
        call = data.draw(st.sampled_from(sorted(self.open)))
        held = self.open.pop(call).held
        used = Amount(
            1,
            int(held.tokens * share),
            NanoDollars(int(held.nano_dollars * share)),
            Nanoseconds(int(held.ns * share)),
        )
        self.ledger.settle(call, used, self.now_ns)
        self.ledger.settle(call, used, self.now_ns)  # Once is enough.

    @rule()
    def restart(self) -> None:
        """The kernel is lost, and reads its snapshot."""
        state = msgspec.json.encode(self.ledger.state())
        self.ledger = ledger.restored(msgspec.json.decode(state, type=LedgerState))
        assert msgspec.json.encode(self.ledger.state()) == state

    @invariant()
    def holds_add_up(self) -> None:
        self.ledger.check()

    @invariant()
    def no_budget_is_exceeded(self) -> None:
        for name, limit in self.limits.items():
            each, budget = self.ledger.accounts[DEFAULT_TENANT, name], limit.budget
            each.roll(self.now_ns)
            gone = each.used + each.held
            assert budget.calls is None or gone.calls <= budget.calls
            assert budget.tokens is None or gone.tokens <= budget.tokens
            assert budget.nano_dollars is None or gone.nano_dollars <= budget.nano_dollars
            assert budget.seconds is None or gone.ns <= budget.seconds * NS

    @invariant()
    def no_minute_has_more_calls_than_it_may(self) -> None:
        for name, limit in self.limits.items():
            seconds = [call.second for call in self.entered if name in call.line]
            if limit.calls_per_minute is None:
                continue
            for first, over in zip(seconds, seconds[limit.calls_per_minute :], strict=False):
                assert over - first > 60


TestBooks = Books.TestCase
