"""Budgets of calls and tokens that hold under any interleaving.

A hold is taken before a call runs and settled after it.  Invariant: for every account, at every
moment, used + held <= budget; so spending never exceeds it, whatever runs at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orlop.abi.calls import Budget, CallTool, Embed, Infer
from orlop.abi.errors import BudgetSpent

METERED: Final = (Infer, Embed, CallTool)
"""Calls that count against a budget."""


@dataclass(eq=False, slots=True)
class Account:
    """What one process and its children have used and hold.  All counts >= 0."""

    owner: str
    budget: Budget
    calls: int = 0
    tokens: int = 0
    calls_held: int = 0
    tokens_held: int = 0

    def tokens_left(self) -> int | None:
        """None: no limit."""
        if self.budget.tokens is None:
            return None
        return max(0, self.budget.tokens - self.tokens - self.tokens_held)

    def calls_left(self) -> int | None:
        if self.budget.calls is None:
            return None
        return max(0, self.budget.calls - self.calls - self.calls_held)


@dataclass(frozen=True, slots=True)
class Hold:
    """What one call may use at most, on every account from its process up to the root."""

    accounts: Sequence[Account]
    tokens: int

    def settle(self, tokens: int, calls: int = 1) -> None:
        """Give the hold back and book what was used; `calls` is 0 for a call that did not run."""
        for account in self.accounts:
            account.calls_held -= 1
            account.tokens_held -= self.tokens
            account.calls += calls
            account.tokens += tokens


def tokens_left(accounts: Sequence[Account]) -> int | None:
    """The least of what the accounts have left; None: no limit anywhere."""
    left = [tokens for account in accounts if (tokens := account.tokens_left()) is not None]
    return min(left, default=None)


def hold(accounts: Sequence[Account], tokens: int) -> Hold:
    """Reserve one call and `tokens` >= 0 on all accounts, or change nothing.

    Raises `BudgetSpent` naming the account, the limit and what is left.
    """
    for account in accounts:
        if account.calls_left() == 0:
            raise BudgetSpent(
                f"the budget of {account.owner} is spent: {account.budget.calls} calls, none left"
            )
        left = account.tokens_left()
        if left is not None and tokens > left:
            raise BudgetSpent(
                f"the budget of {account.owner} has {left} of {account.budget.tokens} tokens left, "
                f"and this call may use {tokens}"
            )
    # From here on nothing can fail.
    for account in accounts:
        account.calls_held += 1
        account.tokens_held += tokens
    return Hold(accounts, tokens)
