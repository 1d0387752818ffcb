"""Budgets under any interleaving of holds and settlements, in a tree of accounts."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from orlop.abi.calls import Budget
from orlop.abi.errors import BudgetSpent
from orlop.meter import budget
from orlop.meter.budget import Account, Hold

LIMITS = st.none() | st.integers(0, 50)


@dataclass(frozen=True)
class Taken:
    hold: Hold
    tokens: int


class Ledger(RuleBasedStateMachine):
    """A parent with two children; each call is held on a line of accounts."""

    holds = Bundle("holds")

    @rule(calls=LIMITS, tokens=LIMITS, child_calls=LIMITS, child_tokens=LIMITS)
    def open(
        self,
        calls: int | None,
        tokens: int | None,
        child_calls: int | None,
        child_tokens: int | None,
    ) -> None:
        if hasattr(self, "accounts"):
            return
        parent = Account("parent", Budget(calls, tokens))
        self.accounts = [
            parent,
            Account("one", Budget(child_calls, child_tokens)),
            Account("two", Budget()),
        ]
        self.lines = [(parent,), (self.accounts[1], parent), (self.accounts[2], parent)]

    @rule(target=holds, line=st.integers(0, 2), tokens=st.integers(0, 30))
    def hold(self, line: int, tokens: int) -> Taken | None:
        if not hasattr(self, "accounts"):
            return None
        before = [(each.calls_held, each.tokens_held) for each in self.accounts]
        try:
            return Taken(budget.hold(self.lines[line], tokens), tokens)
        except BudgetSpent:
            assert before == [(each.calls_held, each.tokens_held) for each in self.accounts]
            return None

    @rule(taken=consumes(holds), share=st.floats(0, 1), ran=st.booleans())
    def settle(self, taken: Taken | None, share: float, ran: bool) -> None:
        if taken is not None:
            taken.hold.settle(int(taken.tokens * share) if ran else 0, calls=int(ran))

    @invariant()
    def nothing_is_spent_twice(self) -> None:
        for account in getattr(self, "accounts", []):
            assert min(account.calls, account.tokens) >= 0
            assert min(account.calls_held, account.tokens_held) >= 0
            if account.budget.calls is not None:
                assert account.calls + account.calls_held <= account.budget.calls
            if account.budget.tokens is not None:
                assert account.tokens + account.tokens_held <= account.budget.tokens


TestLedger = Ledger.TestCase
