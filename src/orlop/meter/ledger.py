"""The ledger: every account, and what calls in flight hold on each.

Invariants:
1. It is a fold of the journal: an intent holds, its outcome settles, live and at boot alike.  So a
   hold is as safe as its intent, and a kernel that is lost finds the holds of its dead calls.
2. A call holds once and settles once, on all accounts of its process.
3. The sum of what is held on an account is the sum over the open calls that use it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from orlop.abi.budgets import NOTHING, ORGANISATION, AccountName, Amount, Limit, Source
from orlop.abi.calls import Budget
from orlop.abi.ids import CallId, Nanoseconds, TenantId
from orlop.meter.account import UNLIMITED, Account, tally
from orlop.meter.period import Minute, ends


class AccountRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account in a snapshot; what it holds follows from the open calls."""

    tenant: TenantId
    name: AccountName
    label: str
    limit: Limit
    source: Source
    before: Amount = NOTHING
    ever: Amount = NOTHING
    start_ns: Nanoseconds = Nanoseconds(0)
    minute: tuple[tuple[int, int, int], ...] = ()


class Held(Struct, frozen=True, kw_only=True):
    """What one call in flight may use at most.  `second`: when it began."""

    call: CallId
    tenant: TenantId
    accounts: tuple[AccountName, ...]
    amount: Amount
    second: int


class TemplateRow(Struct, frozen=True, kw_only=True):
    """What accounts of a kind get that have no limit of their own."""

    tenant: TenantId
    kind: str
    limit: Limit


class LedgerState(Struct, frozen=True, kw_only=True):
    """The whole of it, in a snapshot."""

    accounts: list[AccountRow]
    holds: list[Held]
    templates: list[TemplateRow]


def kind_of(name: AccountName) -> str:
    return name.partition(":")[0]


@dataclass(eq=False, slots=True)
class Ledger:
    """Tenants' accounts by name."""

    accounts: dict[tuple[TenantId, AccountName], Account] = field(default_factory=dict)
    holds: dict[CallId, Held] = field(default_factory=dict)
    templates: dict[tuple[TenantId, str], Limit] = field(default_factory=dict)

    # Who has an account.

    def join(self, tenant: TenantId, names: Sequence[AccountName], now_ns: Nanoseconds) -> None:
        """A process has come to the table; `names[0]` is its own account."""
        for name in names:
            account = self.accounts.get((tenant, name)) or self._open(tenant, name, now_ns)
            account.rows += 1

    def leave(self, tenant: TenantId, names: Sequence[AccountName]) -> None:
        """A process has left the table.  Accounts that somebody has set a limit for stay."""
        for name in names:
            account = self.accounts.get((tenant, name))
            if account is not None:
                account.rows -= 1
                self._drop(tenant, account)

    def of_process(
        self, tenant: TenantId, name: AccountName, label: str, budget: Budget, now_ns: Nanoseconds
    ) -> None:
        """A process's own account has the budget that it was started with."""
        account = self.accounts[tenant, name]
        account.label = label
        if account.source != "set" or budget != Budget():
            source: Source = "process" if budget != Budget() else "none"
            account.allow(Limit(budget=budget), source, now_ns)

    def of_token(
        self, tenant: TenantId, name: AccountName, label: str, budget: Budget, now_ns: Nanoseconds
    ) -> None:
        """What a narrowed token may use."""
        account = self.accounts[tenant, name]
        account.label = label
        account.allow(Limit(budget=budget), "token", now_ns)

    def carry(self, row: AccountRow) -> None:
        """An account that comes with its process from another kernel, as it was there."""
        known = self.accounts.get((row.tenant, row.name))
        account = self.accounts[row.tenant, row.name] = _account(row)
        account.rows = known.rows if known is not None else 0

    def row(self, tenant: TenantId, name: AccountName) -> AccountRow | None:
        """One account as a snapshot has it."""
        return next((row for row in self._rows() if (row.tenant, row.name) == (tenant, name)), None)

    def allow(
        self, tenant: TenantId, name: AccountName, limit: Limit | None, now_ns: Nanoseconds
    ) -> None:
        """An operator's word; None takes it back."""
        kind, _, which = name.partition(":")
        if which != "*":
            account = self.accounts.get((tenant, name)) or self._open(tenant, name, now_ns)
            if limit is not None:
                account.allow(limit, "set", now_ns)
                return
            self._default(tenant, account, now_ns)
            self._drop(tenant, account)
            return
        if limit is None:
            self.templates.pop((tenant, kind), None)
        else:
            self.templates[tenant, kind] = limit
        for (owner, other), account in self.accounts.items():
            if owner == tenant and kind_of(other) == kind and account.source != "set":
                self._default(tenant, account, now_ns)

    def _open(self, tenant: TenantId, name: AccountName, now_ns: Nanoseconds) -> Account:
        account = self.accounts[tenant, name] = Account(name, name.replace(":", " ", 1))
        self._default(tenant, account, now_ns)
        return account

    def _default(self, tenant: TenantId, account: Account, now_ns: Nanoseconds) -> None:
        template = self.templates.get((tenant, kind_of(account.name)))
        if template is not None:
            account.allow(template, "template", now_ns)
        else:
            account.allow(UNLIMITED, "none", now_ns)

    def _drop(self, tenant: TenantId, account: Account) -> None:
        if account.rows <= 0 and account.source != "set" and not account.calls_held:
            self.accounts.pop((tenant, account.name), None)

    # What calls use.

    def line(self, tenant: TenantId, names: Sequence[AccountName]) -> list[Account]:
        """The accounts that a call of a process uses, the process's own first."""
        accounts = self.accounts
        return [accounts[tenant, name] for name in names if (tenant, name) in accounts]

    def hold(self, held: Held, now_ns: Nanoseconds) -> None:
        """Its intent is in the journal.  Whether it fits was asked before; nothing is refused."""
        if held.call in self.holds:
            return
        self.holds[held.call] = held
        for account in self.line(held.tenant, held.accounts):
            account.hold(held.amount, held.second, now_ns)

    def settle(self, call: CallId, used: Amount, now_ns: Nanoseconds) -> None:
        """Its outcome is in the journal."""
        held = self.holds.pop(call, None)
        if held is None:
            return
        for account in self.line(held.tenant, held.accounts):
            account.settle(held.amount, used, held.second, now_ns)
            if account.rows <= 0:
                self._drop(held.tenant, account)

    def roll(self, now_ns: Nanoseconds) -> None:
        """Let periods and minutes that are over be over; else that is seen when they are used."""
        for account in self.accounts.values():
            account.roll(now_ns)

    def forget(self, tenant: TenantId) -> None:
        """What it has used stays, without the names that it gave."""
        for key in [key for key in self.accounts if key[0] == tenant and key[1] != ORGANISATION]:
            del self.accounts[key]
        self.templates = {key: held for key, held in self.templates.items() if key[0] != tenant}

    def check(self) -> None:
        """Raises `AssertionError` where an invariant does not hold."""
        sums: dict[tuple[TenantId, AccountName], Amount] = {}
        for held in self.holds.values():
            for name in held.accounts:
                key = held.tenant, name
                sums[key] = sums.get(key, NOTHING) + held.amount
        for key, account in self.accounts.items():
            if account.held != sums.get(key, NOTHING):
                raise AssertionError(f"{key}: {account.held} held, not {sums.get(key)}")

    # Snapshots.

    def state(self) -> LedgerState:
        return LedgerState(
            accounts=list(self._rows()),
            holds=list(self.holds.values()),
            templates=[
                TemplateRow(tenant=tenant, kind=kind, limit=limit)
                for (tenant, kind), limit in self.templates.items()
            ],
        )

    def _rows(self) -> Iterator[AccountRow]:
        for (tenant, name), account in self.accounts.items():
            yield AccountRow(
                tenant=tenant,
                name=name,
                label=account.label,
                limit=account.limit,
                source=account.source,
                before=account.before,
                ever=account.ever,
                start_ns=account.start_ns,
                minute=account.minute.kept(),
            )


def restored(state: LedgerState) -> Ledger:
    """As it was.  Which processes use an account its caller says, by `Account.rows`."""
    ledger = Ledger(templates={(row.tenant, row.kind): row.limit for row in state.templates})
    for row in state.accounts:
        ledger.accounts[row.tenant, row.name] = _account(row)
    for held in state.holds:
        ledger.holds[held.call] = held
        for account in ledger.line(held.tenant, held.accounts):
            account.on_hold.add(held.amount)
            account.calls_held += 1
    return ledger


def _account(row: AccountRow) -> Account:
    return Account(
        row.name,
        row.label,
        limit=row.limit,
        source=row.source,
        before=row.before,
        all_used=tally(row.ever),
        start_ns=row.start_ns,
        until_ns=ends(row.limit.per, row.start_ns),
        minute=Minute(row.minute),
        is_bounding=row.limit != UNLIMITED,
    )
