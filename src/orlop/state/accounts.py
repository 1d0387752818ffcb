"""Whose budgets a call uses, and what its events say that it held and used."""

from orlop.abi.budgets import NOTHING, ORGANISATION, AccountName, Amount, HoldExceeded
from orlop.abi.calls import METERED
from orlop.abi.events import CallEntered, CallFailed, CallReturned
from orlop.abi.ids import NanoDollars, ProcessId
from orlop.abi.processes import ProcessSpawned

PROCESS = "process:"


def of_process(id: ProcessId) -> AccountName:
    """A process's own account, which its children use too."""
    return AccountName(f"{PROCESS}{id}")


def names(
    id: ProcessId, event: ProcessSpawned, parent: tuple[AccountName, ...]
) -> tuple[AccountName, ...]:
    """The accounts of a new process: its own, all its parent's, its task's, agent's and team's.

    A child uses whatever its parent uses, so no name that it takes lets it out of a budget.
    """
    own = [of_process(id), *parent]
    own += [AccountName(f"task:{event.program}")] if event.program else []
    own += [AccountName(f"agent:{event.name}")] if event.name else []
    own += [AccountName(f"team:{event.team}")] if event.team else []
    return tuple(dict.fromkeys((*own, ORGANISATION)))


def depth(accounts: tuple[AccountName, ...]) -> int:
    """How many processes are above one another, from the one with these accounts to the root."""
    return sum(name.startswith(PROCESS) for name in accounts)


def held(event: CallEntered) -> Amount:
    """Nothing for a call that no budget counts."""
    if not isinstance(event.body, METERED):
        return NOTHING
    return Amount(1, event.held, event.held_cost, event.held_ns)


def used(event: CallReturned | CallFailed) -> Amount:
    if isinstance(event, CallFailed):
        return Amount(1, event.booked, event.booked_cost, event.ran_ns)
    facts = event.done.facts
    tokens = facts.usage.input_tokens + facts.usage.output_tokens
    cost = NanoDollars(facts.cost + event.booked_cost)
    return Amount(1, tokens + event.booked, cost, event.ran_ns)


def exceeded(hold: Amount, event: CallReturned | CallFailed) -> HoldExceeded | None:
    """An engine that has billed more than was held for the call."""
    if isinstance(event, CallFailed):
        return None
    billed, facts = used(event), event.done.facts
    if billed.tokens <= hold.tokens and billed.nano_dollars <= hold.nano_dollars:
        return None
    return HoldExceeded(
        engine=facts.engine,
        model=facts.model,
        held=hold.tokens,
        used=billed.tokens,
        held_cost=hold.nano_dollars,
        cost=billed.nano_dollars,
    )
