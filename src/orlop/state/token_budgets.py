"""Budgets that narrowed tokens carry: accounts in the ledger, below their process's.

A token is narrowed offline, so its budget is known from its first use on (`token.budgeted`).  Each
block with a budget is one account; a call uses those of all blocks of its token, so what is
narrowed once more shares what was left to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from orlop.abi.budgets import AccountName
from orlop.abi.capabilities import TokenBudgeted
from orlop.abi.events import Header
from orlop.abi.ids import Nanoseconds, ProcessId, TenantId
from orlop.abi.limits import TOKEN_BUDGETS_MAX
from orlop.meter.ledger import Ledger

KIND = "token"


class BudgetedRow(Struct, frozen=True, kw_only=True):
    """A token that has a budget, or was narrowed from one that has."""

    token: str
    process: ProcessId
    tenant: TenantId
    line: tuple[AccountName, ...]
    """Its accounts, the narrowest first."""
    expires_ns: Nanoseconds | None = None


def account_of(block: str) -> AccountName:
    return AccountName(f"{KIND}:{block}")


@dataclass(eq=False, slots=True)
class TokenBudgets:
    """By the revocation id of the token's last block."""

    rows: dict[str, BudgetedRow] = field(default_factory=dict)

    def line(self, token: str) -> tuple[AccountName, ...]:
        """Empty: it has no budget of its own."""
        row = self.rows.get(token)
        return row.line if row is not None else ()

    def among(self, token: str, line: tuple[AccountName, ...]) -> tuple[AccountName, ...]:
        """line: a process's accounts; its own stays the first."""
        return (*line[:1], *self.line(token), *line[1:]) if token else line

    def fold(self, header: Header, event: TokenBudgeted, whose: str, ledger: Ledger) -> None:
        """whose: the process, in words."""
        if event.token in self.rows:
            return
        if len(self.rows) >= TOKEN_BUDGETS_MAX:
            late = [
                row
                for row in self.rows.values()
                if (row.expires_ns or header.wall_ns + 1) <= header.wall_ns
            ]
            self._forget(late, ledger)
        row = self.rows[event.token] = BudgetedRow(
            token=event.token,
            process=header.process,
            tenant=header.tenant,
            line=tuple(account_of(block.id) for block in event.blocks),
            expires_ns=event.expires_ns,
        )
        ledger.join(row.tenant, row.line, header.wall_ns)
        for block in event.blocks:
            label = f"token {block.id[:8]} of {whose}"
            name = account_of(block.id)
            ledger.of_token(row.tenant, name, label, block.budget, header.wall_ns)

    def drop(self, process: ProcessId, ledger: Ledger) -> None:
        """Its tokens so far are of the past: it has a new incarnation, or has left the table."""
        if self.rows:
            old = [row for row in self.rows.values() if row.process == process]
            self._forget(old, ledger)

    def _forget(self, rows: Iterable[BudgetedRow], ledger: Ledger) -> None:
        for row in rows:
            del self.rows[row.token]
            ledger.leave(row.tenant, row.line)


def restored(rows: Iterable[BudgetedRow]) -> TokenBudgets:
    return TokenBudgets({row.token: row for row in rows})
