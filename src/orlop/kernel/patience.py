"""A call whose budget others hold waits for what they give back, and is refused when it can't come.

It waits before its intent, so it holds nothing itself, and only for model calls in flight: those
end by themselves.  A tool may wait in its turn for this very call, and what the undoing of a saga
may take is held until its program closes that; for those nobody waits.
"""

import asyncio
from collections.abc import Sequence

from orlop.abi.errors import BudgetHeld
from orlop.abi.limits import BUDGET_WAITING_MAX, CALL_DEADLINE_S
from orlop.kernel.admit import Admitted, accounts_of, admit
from orlop.machine.latch import Latch
from orlop.meter.account import Account
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running


async def admitted(kernel: Kernel, process: Process, running: Running) -> Admitted | None:
    """What it may use; None: it has waited, so what let it through must be asked again.

    Raises as `admit` does, and `BudgetHeld` where its deadline comes first.
    """
    has_waited = False
    while True:
        held: BudgetHeld | None = None
        found: Admitted | None = None
        try:
            found = admit(kernel, process, running)
            if not found.is_tight:
                break
        except BudgetHeld as refusal:
            held = refusal
        if not await _given_back(kernel, process, running):
            if held is not None:
                raise held
            break
        has_waited = True
    return None if has_waited else found


async def _given_back(kernel: Kernel, process: Process, running: Running) -> bool:
    """Wait until a call that uses an account of this one has ended; False: that can't help."""
    left_s = (running.call.hints.deadline_s or CALL_DEADLINE_S) - (
        kernel.clock.now_s() - running.started_s
    )
    accounts = [one for one in accounts_of(kernel, process, running) if one.is_bounding]
    is_full = any(len(one.waiting or ()) >= BUDGET_WAITING_MAX for one in accounts)
    if left_s <= 0 or is_full or not _model_calls_hold(kernel, process, accounts):
        return False
    latch = Latch()
    for account in accounts:
        account.waiting = [*(account.waiting or ()), latch]
    try:
        async with asyncio.timeout(left_s):
            await latch.wait()
    except TimeoutError:
        return False
    finally:
        for account in accounts:
            account.waiting = [one for one in account.waiting or () if one is not latch] or None
    return True


def _model_calls_hold(kernel: Kernel, process: Process, accounts: Sequence[Account]) -> bool:
    """Whether any call in flight that ends by itself holds something of these."""
    names = {account.name for account in accounts if account.calls_held}
    if not names:
        return False
    open_calls = kernel.tables.calls.open
    for held in kernel.tables.ledger.holds.values():
        if held.tenant == process.row.tenant and not names.isdisjoint(held.accounts):
            call = open_calls.get(held.call)
            if call is not None and not call.effect and call.parked is None:
                return True
    return False
