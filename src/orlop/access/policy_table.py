"""What policies are decided by, as far as it is the journal's: a fold.

The sets that are in force, how often things were done lately, and which labels a process has taken
in.  A back-test folds the journal once more and asks other rules on the way.
"""

from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.budgets import AccountName
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Header
from orlop.abi.ids import DEFAULT_TENANT, CallId, Nanoseconds, ProcessId, TenantId
from orlop.abi.labels import MANY
from orlop.abi.limits import LABELS_MAX
from orlop.abi.policy import PolicyRemoved, PolicySet
from orlop.access.counts import CounterState, Counts
from orlop.access.policy_calls import targets
from orlop.machine.clock import NS_PER_S


class Sets(Struct, frozen=True, kw_only=True):
    """What is in force for one tenant; of `default` it is the installation's, asked of all."""

    current: PolicySet | None = None
    shadow: PolicySet | None = None
    since_ns: Nanoseconds = Nanoseconds(0)
    """When the present set came into force."""


NO_SETS: Final = Sets()


class PolicyState(Sets, frozen=True, kw_only=True):
    """In a snapshot."""

    own: dict[TenantId, Sets] = {}
    """Of all tenants but `default`."""
    counts: list[CounterState] = []
    carried: dict[ProcessId, dict[str, CallId]] = {}


@dataclass(eq=False, slots=True)
class Policies:
    """`carried`: by process and label, the call that brought the label into it first."""

    sets: dict[TenantId, Sets] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    carried: dict[ProcessId, dict[str, CallId]] = field(default_factory=dict)

    def fold(self, header: Header, event: PolicySet | PolicyRemoved) -> None:
        new = event if isinstance(event, PolicySet) else None
        known = self.of(header.tenant)
        if event.shadow:
            self.sets[header.tenant] = replace(known, shadow=new)
        else:
            self.sets[header.tenant] = replace(known, current=new, since_ns=header.wall_ns)

    def of(self, tenant: TenantId) -> Sets:
        return self.sets.get(tenant, NO_SETS)

    def entered(
        self, header: Header, event: CallEntered, name: str, accounts: tuple[AccountName, ...]
    ) -> None:
        """name, accounts: of the process."""
        second = header.wall_ns // NS_PER_S
        for action, thing in targets(event.body, name, header.process):
            self.counts.add(header.tenant, accounts, action, thing, second)
        if event.labels:
            self._carry(header, event.labels)

    def undoing(self, header: Header, tool: str, accounts: tuple[AccountName, ...]) -> None:
        """A compensation counts as a call of its tool."""
        self.counts.add(header.tenant, accounts, "call_tool", tool, header.wall_ns // NS_PER_S)

    def ended(self, header: Header, event: CallReturned | CallFailed) -> None:
        if event.labels:
            self._carry(header, event.labels)

    def _carry(self, header: Header, labels: tuple[str, ...]) -> None:
        assert header.call is not None
        known = self.carried.setdefault(header.process, {})
        for label in labels:
            if label not in known:
                known.setdefault(label if len(known) < LABELS_MAX else MANY, header.call)

    def inherit(self, parent: ProcessId, child: ProcessId) -> None:
        """What a process has taken in may be in its child's command line and environment."""
        if (known := self.carried.get(parent)) is not None:
            self.carried[child] = dict(known)

    def drop(self, process: ProcessId) -> None:
        """The process has left the table."""
        self.carried.pop(process, None)

    def forget(self, tenant: TenantId) -> None:
        self.sets.pop(tenant, None)
        self.counts.forget(tenant)

    def state(self) -> PolicyState:
        house = self.of(DEFAULT_TENANT)
        return PolicyState(
            current=house.current,
            shadow=house.shadow,
            since_ns=house.since_ns,
            own={tenant: sets for tenant, sets in self.sets.items() if tenant != DEFAULT_TENANT},
            counts=self.counts.state(),
            carried=self.carried,
        )


def restored(state: PolicyState) -> Policies:
    house = Sets(current=state.current, shadow=state.shadow, since_ns=state.since_ns)
    found = Policies(sets={DEFAULT_TENANT: house, **state.own}, carried=state.carried)
    found.counts.restore(state.counts)
    return found
