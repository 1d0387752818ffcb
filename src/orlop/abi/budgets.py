"""Accounts and their limits, as operators set them and see them.

An account is named by its kind: `organisation`, `team:NAME`, `agent:NAME`, `task:NAME`, and
`process:ID` for a process with its children, and `token:ID` for what a narrowed token may use.
`agent:*` and `task:*` say what each agent or task gets that has no limit of its own.
"""

from typing import Final, Literal, NewType

from msgspec import Struct

from orlop.abi.calls import Budget
from orlop.abi.ids import EngineName, ModelName, NanoDollars, Nanoseconds

AccountName = NewType("AccountName", str)

ORGANISATION: Final = AccountName("organisation")

Period = Literal["ever", "hour", "day", "week", "month"]
"""When a budget refills: at the beginning of each, in UTC; a week begins on Monday."""

Source = Literal["set", "template", "process", "token", "none"]
"""Who gave an account its limit: an operator, `agent:*` or `task:*`, whoever started the process,
or whoever narrowed a token."""


class Limit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an account may use.  None: no limit."""

    budget: Budget = Budget()
    per: Period = "ever"
    calls_per_minute: int | None = None
    """In any 60 seconds; so with the tokens."""
    tokens_per_minute: int | None = None


class Amount(Struct, frozen=True):
    """What is used, or held: each >= 0."""

    calls: int = 0
    tokens: int = 0
    nano_dollars: NanoDollars = NanoDollars(0)
    ns: Nanoseconds = Nanoseconds(0)

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.calls + other.calls,
            self.tokens + other.tokens,
            NanoDollars(self.nano_dollars + other.nano_dollars),
            Nanoseconds(self.ns + other.ns),
        )

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(
            self.calls - other.calls,
            self.tokens - other.tokens,
            NanoDollars(self.nano_dollars - other.nano_dollars),
            Nanoseconds(self.ns - other.ns),
        )


NOTHING: Final = Amount()


class BudgetOrder(Struct, frozen=True, kw_only=True):
    """`orlop budget set`."""

    account: AccountName
    limit: Limit


class AccountView(Struct, frozen=True, kw_only=True):
    """A row of `orlop budget`."""

    account: AccountName
    label: str
    """As people know it: a process's has its pid and name."""
    limit: Limit
    source: Source
    used: Amount
    """In this period."""
    used_ever: Amount
    held: Amount
    """By calls in flight."""
    refills_ns: Nanoseconds | None
    """When the period ends; None: never."""


class BudgetTable(Struct, frozen=True, kw_only=True):
    """`orlop budget`."""

    accounts: tuple[AccountView, ...]
    templates: tuple[BudgetOrder, ...]
    """What each agent, task or team gets that has no limit of its own."""


class BudgetSet(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="budget.set", omit_defaults=True
):
    """An operator has said what an account may use; what it has used stays."""

    account: AccountName
    limit: Limit


class BudgetRemoved(Struct, frozen=True, kw_only=True, tag_field="kind", tag="budget.removed"):
    account: AccountName


class HoldExceeded(Struct, frozen=True, kw_only=True, tag_field="kind", tag="budget.exceeded"):
    """An incident: an engine billed more than could be proven that it would.

    The ledger has what was billed, so a budget may be overdrawn by the difference.
    """

    engine: EngineName
    model: ModelName
    held: int
    used: int
    held_cost: NanoDollars
    cost: NanoDollars
