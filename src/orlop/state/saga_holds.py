"""What the undoing of a saga's steps may cost: held with each step, before it runs.

So a compensation is never refused for want of a budget, and none is overdrawn by it.  A hold is
released when there is nothing to undo any more: the saga is committed, the step failed; and settled
with what the compensation took once that is over.
"""

from orlop.abi.budgets import NOTHING, AccountName, Amount
from orlop.abi.events import CallEntered, Header
from orlop.abi.ids import CallId, NanoDollars, TenantId
from orlop.abi.limits import SAGA_TRIES_MAX
from orlop.abi.sagas import SagaStep, SagaView, UndoPlan
from orlop.machine.clock import NS_PER_S
from orlop.meter.ledger import Held, Ledger
from orlop.state.saga_table import SETTLED


def undoing(effect: str) -> CallId:
    """The name of an effect's compensation, for its tool and for the ledger."""
    return CallId(f"{effect}.undo")


def amount(plan: UndoPlan | None) -> Amount:
    """What all attempts may use."""
    if plan is None or not plan.tool:
        return NOTHING
    return Amount(1, 0, NanoDollars(plan.price * SAGA_TRIES_MAX), plan.held_ns)


def hold(
    ledger: Ledger,
    header: Header,
    event: CallEntered,
    tenant: TenantId,
    accounts: tuple[AccountName, ...],
) -> None:
    """A step begins.  Where it is an earlier one once more, that may hold it already."""
    need = amount(event.undo)
    if need == NOTHING:
        return
    held = Held(
        call=undoing(event.effect),
        tenant=tenant,
        accounts=accounts,
        amount=need,
        second=header.wall_ns // NS_PER_S,
    )
    ledger.hold(held, header.wall_ns)


def settle(ledger: Ledger, row: SagaView, header: Header, *, leaves: bool = False) -> None:
    """Release what the saga's steps need no more; all of it, where its process leaves."""
    over = leaves or row.state == "committed"
    for step in row.steps:
        if over or step.state in SETTLED:
            ledger.settle(undoing(step.effect), _used(step), header.wall_ns)


def _used(step: SagaStep) -> Amount:
    if step.plan is None or not step.attempts:
        return NOTHING
    return Amount(1, 0, NanoDollars(step.plan.price * step.attempts), step.undo_ns)
