"""What operators may say and ask of budgets."""

from collections.abc import Sequence
from typing import Final

from orlop.abi.budgets import (
    ORGANISATION,
    AccountName,
    AccountView,
    BudgetOrder,
    BudgetRemoved,
    BudgetSet,
    BudgetTable,
    Limit,
)
from orlop.abi.errors import BadCall, Exhausted, NotFound
from orlop.abi.ids import KERNEL_PROCESS, TenantId
from orlop.abi.limits import BUDGETS_MAX, NAME_CHARS_MAX
from orlop.meter.ledger import kind_of
from orlop.state import accounts, token_budgets
from orlop.state.core import Kernel
from orlop.subsystems import bounds

NAMED: Final = ("team", "agent", "task")
"""Kinds of accounts that come into being when somebody uses their name."""

TOKEN: Final = token_budgets.KIND

SHOWN: Final = ("organisation", "team")
"""Kinds of accounts that are few."""

RATE_MAX: Final = 10**12
"""Calls or tokens a minute.  More limits nothing, and is a mistake."""


def view(kernel: Kernel, tenant: TenantId, *, everything: bool = False) -> BudgetTable:
    """The accounts of the organisation and its teams, and those that have a limit; or all."""
    ledger, now_ns = kernel.tables.ledger, kernel.clock.wall_ns()
    accounts = [
        account.view(now_ns)
        for (owner, name), account in sorted(ledger.accounts.items(), key=_order)
        if owner == tenant and (everything or account.source != "none" or kind_of(name) in SHOWN)
    ]
    templates = [
        BudgetOrder(account=AccountName(f"{kind}:*"), limit=limit)
        for (owner, kind), limit in ledger.templates.items()
        if owner == tenant
    ]
    return BudgetTable(accounts=tuple(accounts), templates=tuple(templates))


def one(kernel: Kernel, tenant: TenantId, reference: str) -> AccountView:
    """Raises `NotFound`, `BadCall`."""
    found = kernel.tables.ledger.accounts.get((tenant, named(kernel, tenant, reference)))
    if found is None:
        raise NotFound(f"no account {reference!r} is in use; `orlop budget --all` lists all")
    return found.view(kernel.clock.wall_ns())


def _order(item: tuple[tuple[TenantId, AccountName], object]) -> tuple[int, str]:
    """The largest first: the organisation, teams, agents, tasks, processes, their tokens."""
    kinds = ("organisation", *NAMED, "process", TOKEN)
    name = item[0][1]
    return kinds.index(name.partition(":")[0]), name


def named(kernel: Kernel, tenant: TenantId, reference: str) -> AccountName:
    """`organisation`, `team:…`, `agent:…`, `task:…`, `token:…`, or a process by pid, id or name.

    Raises `BadCall`, `NotFound`.
    """
    kind, found, name = reference.partition(":")
    if reference == ORGANISATION:
        return ORGANISATION
    if found and kind in NAMED:
        bounds.name("account", name)
        if not name:
            raise BadCall(f"account: {kind}:NAME, or {kind}:* for all that have no limit")
        return AccountName(reference)
    if found and kind == TOKEN:
        if not any(reference in row.line for row in kernel.tables.budgeted.rows.values()):
            raise NotFound(f"no token with a budget is called {name[:NAME_CHARS_MAX]!r}")
        return AccountName(reference)
    process = kernel.find(name if kind == "process" and found else reference, tenant)
    return accounts.of_process(process.id)


async def allow(kernel: Kernel, tenant: TenantId, order: BudgetOrder) -> None:
    """Set what an account may use; returns when that is durable."""
    account = named(kernel, tenant, order.account)
    check(order.limit)
    if kind_of(account) == TOKEN:
        raise BadCall(f"{account}: what a token may use is in the token; `orlop token revoke` it")
    ledger = kernel.tables.ledger
    is_new = (tenant, account) not in ledger.accounts
    if is_new and len(ledger.accounts) >= BUDGETS_MAX:
        raise Exhausted(f"{BUDGETS_MAX} accounts exist (BUDGETS_MAX)", retry_after_s=60.0)
    # From here on only the journal can fail, before anything has changed.
    header = kernel.emit(KERNEL_PROCESS, tenant, BudgetSet(account=account, limit=order.limit))
    await kernel.journal.durable(header.seq)


async def remove(kernel: Kernel, tenant: TenantId, reference: str) -> None:
    """Take an operator's word back.  Raises `NotFound` where there is none."""
    account = named(kernel, tenant, reference)
    ledger = kernel.tables.ledger
    kind, _, which = account.partition(":")
    known = ledger.accounts.get((tenant, account))
    is_set = (tenant, kind) in ledger.templates if which == "*" else known and known.source == "set"
    if not is_set:
        raise NotFound(f"nobody has set a budget for {reference!r}; `orlop budget` lists all")
    # From here on only the journal can fail, before anything has changed.
    header = kernel.emit(KERNEL_PROCESS, tenant, BudgetRemoved(account=account))
    await kernel.journal.durable(header.seq)


def check(limit: Limit) -> None:
    """Raises `BadCall` naming the field."""
    bounds.budget(limit.budget)
    rates: Sequence[tuple[str, int | None]] = (
        ("calls_per_minute", limit.calls_per_minute),
        ("tokens_per_minute", limit.tokens_per_minute),
    )
    for field, rate in rates:
        if rate is not None and not 1 <= rate <= RATE_MAX:
            raise BadCall(f"{field}: from 1 to {RATE_MAX:,}, not {rate}")
