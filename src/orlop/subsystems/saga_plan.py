"""What undoes a step of a saga, what that may cost, and whether the rules let it happen.

The card of the time of the call counts: what was agreed to then is what is undone.  Rules are those
of the moment: a compensation acts on the world, and whoever forbids its tool now means now.
"""

from collections.abc import Mapping

from orlop.abi.budgets import NOTHING, Amount
from orlop.abi.calls import Budget, CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import NotApproved, RuleForbids
from orlop.abi.ids import CallId, NanoDollars, Nanoseconds
from orlop.abi.limits import SAGA_TRIES_MAX
from orlop.abi.policy import Decision, PolicyRefused
from orlop.abi.sagas import SagaStep, SagaView, UndoPlan
from orlop.machine.clock import NS_PER_S
from orlop.state import policy_facts, saga_holds
from orlop.state.core import Kernel
from orlop.state.policy_facts import Asked
from orlop.subsystems import policy


def made(kernel: Kernel, card: ToolCard, left: Budget | None = None) -> UndoPlan:
    """By the cards of today.  left: what budgets have left; seconds are held where they count."""
    undo = kernel.tools.card(card.compensate) if card.compensate else None
    is_timed = undo is not None and left is not None and left.seconds is not None
    timeout_s = undo.timeout_s if undo is not None and is_timed else 0.0
    return UndoPlan(
        effect=card.effect,
        tool=card.compensate,
        arguments=card.compensate_with,
        unknown=card.compensate_unknown,
        price=undo.price if undo is not None else NanoDollars(0),
        held_ns=Nanoseconds(round(timeout_s * SAGA_TRIES_MAX * NS_PER_S)),
    )


def reserve(kernel: Kernel, plan: UndoPlan | None, effect: str) -> Amount:
    """What must be left for it beside the step's own call, if it is not held already."""
    if saga_holds.undoing(effect) in kernel.tables.ledger.holds:
        return NOTHING
    return saga_holds.amount(plan)


def of(kernel: Kernel, step: SagaStep) -> UndoPlan:
    """As it was planned; by today's card where its tool is gone.  Raises `NotFound`."""
    plan = step.plan
    if plan is not None and (not plan.tool or kernel.tools.card(plan.tool) is not None):
        return plan
    return made(kernel, kernel.tools.find(step.tool).card)


def permitted(
    kernel: Kernel,
    row: SagaView,
    step: SagaStep,
    card: ToolCard,
    arguments: Mapping[str, object],
    labels: frozenset[str],
) -> Decision:
    """What lets the compensation happen now: rules, or a person that they ask.

    Raises `RuleForbids` (and the journal says so), and `NotApproved` where a person is asked of it
    and has not agreed.
    """
    if card.approval == "always" and not step.cleared_by:
        raise NotApproved(f"a person is asked of each call of {card.name}")
    guards, owner = kernel.guard.over(row.tenant), kernel.tables.rows.get(row.process)
    if not guards:
        return Decision()
    if owner is None:
        if step.cleared_by:
            return Decision()
        raise NotApproved("its process is forgotten, so no rule can be asked")
    world, found = policy.world_of(kernel), Decision()
    call = CallTool(tool=card.name, arguments=dict(arguments), saga=row.id)
    for action, thing in policy_facts.things(kernel.tables, world, owner, call):
        asked = Asked(
            tables=kernel.tables,
            row=owner,
            call=call,
            action=action,
            resource=thing.id,
            labels=labels,
            now_ns=kernel.clock.wall_ns(),
            world=world,
        )
        decision, _ = policy.together(kernel, guards, asked, thing, CallId(row.id))
        if decision.verdict == "forbid":
            _refused(kernel, row, asked, decision)
            raise RuleForbids(policy.said(action, thing.id, decision))
        if decision.verdict == "ask" and not step.cleared_by:
            rules = ", ".join(decision.rules)
            raise NotApproved(f"{rules} asks a person of {card.name}: {decision.reason}")
        verdict = found.verdict if decision.verdict == "permit" else decision.verdict
        found = Decision(verdict=verdict, rules=(*found.rules, *decision.rules))
    return found


def _refused(kernel: Kernel, row: SagaView, asked: Asked, decision: Decision) -> None:
    """Once each time: the step is a person's from then on."""
    event = PolicyRefused(
        decision=policy.compact(decision),
        action=asked.action,
        resource=asked.resource,
        body=asked.call,
        labels=tuple(sorted(asked.labels)),
    )
    kernel.emit(row.process, row.tenant, event, call=kernel.new_call())
