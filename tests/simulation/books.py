"""The town's own books, kept from the journal's events alone: the ledger must agree with them.

Nothing of `orlop.meter` is used here: an oracle that shares the code agrees with its mistakes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from orlop.abi.budgets import ORGANISATION, AccountName, Amount, BudgetSet, Limit
from orlop.abi.calls import METERED
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event, Header
from orlop.abi.ids import NanoDollars, Nanoseconds, ProcessId
from orlop.abi.processes import ProcessSpawned

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Booked:
    """One call on one account."""

    entered_ns: int
    calls: int
    tokens: int
    nano_dollars: int
    ns: int


class Books:
    """Accounts and limits as the events name them.  A limit stands from the account's first call:
    the operator of the town sets each before anybody is hired."""

    def __init__(self, events: Sequence[tuple[Header, Event]]) -> None:
        self._spawned = {h.process: e for h, e in events if isinstance(e, ProcessSpawned)}
        self._booked: defaultdict[AccountName, list[Booked]] = defaultdict(list)
        self.limits: dict[AccountName, Limit] = {}
        templates: dict[str, Limit] = {}
        for _, event in events:
            if isinstance(event, BudgetSet):
                kind, _, which = event.account.partition(":")
                if which == "*":
                    templates[kind] = event.limit
                else:
                    self.limits[event.account] = event.limit
        for process, event in self._spawned.items():
            self.limits[AccountName(f"process:{process}")] = Limit(budget=event.budget)
            for name in self.line(process):
                template = templates.get(name.partition(":")[0])
                if template is not None:
                    self.limits.setdefault(name, template)

    def line(self, process: ProcessId) -> set[AccountName]:
        """All accounts that a call of `process` uses: of it and of each ancestor."""
        names = {ORGANISATION}
        owner: ProcessId | None = process
        while owner is not None:
            event = self._spawned[owner]
            named = (f"process:{owner}", f"agent:{event.name}", f"task:{event.program}")
            names.update(AccountName(name) for name in named)
            owner = event.parent
        return names

    def is_limited(self, process: ProcessId) -> bool:
        """Whether anybody limits what it uses; else its calls may be lost with the kernel."""
        return any(self.limits.get(name, Limit()) != Limit() for name in self.line(process))

    def book(
        self, header: Header, entered: CallEntered, outcomes: Sequence[CallReturned | CallFailed]
    ) -> None:
        if not isinstance(entered.body, METERED):
            return
        tokens = money = ns = 0
        for event in outcomes:
            tokens, money, ns = tokens + event.booked, money + event.booked_cost, ns + event.ran_ns
            if isinstance(event, CallReturned):
                facts = event.done.facts
                tokens += facts.usage.input_tokens + facts.usage.output_tokens
                money += facts.cost
        for name in self.line(header.process):
            self._booked[name].append(Booked(header.wall_ns, 1, tokens, money, ns))

    @property
    def used(self) -> dict[AccountName, Amount]:
        return {
            name: Amount(
                sum(call.calls for call in booked),
                sum(call.tokens for call in booked),
                NanoDollars(sum(call.nano_dollars for call in booked)),
                Nanoseconds(sum(call.ns for call in booked)),
            )
            for name, booked in self._booked.items()
        }

    def require_within(self, name: AccountName, limit: Limit) -> None:
        """Raises `AssertionError` where the account has used more than it may."""
        budget, per = limit.budget, limit.per
        spans: defaultdict[int, list[Booked]] = defaultdict(list)
        assert per in ("ever", "hour"), "the town has no other budgets"
        for call in self._booked[name]:
            spans[0 if per == "ever" else call.entered_ns // (3_600 * NS)].append(call)
        for calls in spans.values():
            assert budget.calls is None or len(calls) <= budget.calls, name
            tokens = sum(call.tokens for call in calls)
            assert budget.tokens is None or tokens <= budget.tokens, name
            money = sum(call.nano_dollars for call in calls)
            assert budget.nano_dollars is None or money <= budget.nano_dollars, name
            ns = sum(call.ns for call in calls)
            assert budget.seconds is None or ns <= round(budget.seconds * NS), name
        if limit.calls_per_minute is not None:
            entered = sorted(call.entered_ns for call in self._booked[name])
            for first, over in zip(entered, entered[limit.calls_per_minute :], strict=False):
                assert over - first >= 60 * NS, f"{name}: too many calls in a minute"
