"""Budgets of narrowed tokens at the door: made known to the ledger at their first use."""

from orlop.abi.capabilities import TokenBudget, TokenBudgeted
from orlop.abi.errors import Exhausted
from orlop.abi.limits import TOKEN_BUDGETS_MAX
from orlop.access.rights import Narrowing
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running


def used(kernel: Kernel, process: Process, running: Running) -> str:
    """The token whose budgets the call uses beside its process's; empty: none has any."""
    if running.narrowing is not None:
        running.token = known(kernel, process, running.narrowing)
    return running.token


def known(kernel: Kernel, process: Process, narrowing: Narrowing | None) -> str:
    """The token's name, if it has a budget, which is in the ledger from then on.

    Raises `Exhausted`.
    """
    if narrowing is None or not narrowing.budgets:
        return ""
    budgeted = kernel.tables.budgeted.rows
    if narrowing.token not in budgeted:
        now_ns = kernel.clock.wall_ns()
        if len(budgeted) >= TOKEN_BUDGETS_MAX and not any(
            row.expires_ns is not None and row.expires_ns <= now_ns for row in budgeted.values()
        ):
            raise Exhausted(
                f"{TOKEN_BUDGETS_MAX} narrowed tokens with a budget are in use "
                "(TOKEN_BUDGETS_MAX); let them expire (--expires)",
                retry_after_s=60.0,
            )
        # From here on only the journal can fail.
        blocks = tuple(TokenBudget(id=id, budget=budget) for id, budget in narrowing.budgets)
        event = TokenBudgeted(token=narrowing.token, blocks=blocks, expires_ns=narrowing.expires_ns)
        kernel.emit(process.id, process.row.tenant, event)
    return narrowing.token
