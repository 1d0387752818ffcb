"""What rules can look at, computed when a rule does: from the tables, the call and the clock.

Live and in a back-test alike: the tables are a fold of the journal, so those of a week ago are the
tables after the events up to then.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

import msgspec

from orlop.abi.budgets import ORGANISATION, AccountName
from orlop.abi.calls import Call, CallTool, Infer, Signal, Spawn
from orlop.abi.cards import ModelCard, ToolCard
from orlop.abi.egress import Fetch
from orlop.abi.ids import Nanoseconds, ProcessId
from orlop.abi.limits import POLICY_ARGUMENTS_BYTES_MAX
from orlop.access import policy_words
from orlop.access.policy_calls import owner_of, targets
from orlop.access.policy_words import Entity, cedar_value
from orlop.access.taint import Labels
from orlop.machine.clock import NS_PER_S
from orlop.state.process_table import Row
from orlop.state.tables import Tables


@dataclass(frozen=True, slots=True)
class World:
    """What exists beside the journal: cards by name, the level of an agent with a tool."""

    tool: Callable[[str], ToolCard | None]
    model: Callable[[str], ModelCard | None]
    zone: tzinfo
    autonomy: Callable[[Row, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call of which something is to be decided."""

    tables: Tables
    row: Row
    call: Call
    action: str
    resource: str
    labels: Labels
    now_ns: Nanoseconds
    world: World
    engine: str = ""
    device: str = ""
    region: str = ""

    def facts(self, paths: frozenset[str]) -> dict[str, object]:
        """The wanted facts, by their paths, in an order that is always the same."""
        return {path: self._fact(path) for path in sorted(paths)}

    def _fact(self, path: str) -> object:  # noqa: C901 (one row a fact)
        head, _, rest = path.partition(".")
        match head:
            case "taint":
                return sorted(self.labels)
            case "calls":
                return self._count(*rest.split("."))
            case "spend":
                return self._spent(*rest.split("."))
            case "time":
                return self._time(rest)
            case "class":
                return self.call.hints.latency_class or self.row.latency_class
            case "subject":
                return self.call.hints.subject
            case "autonomy":
                return self.world.autonomy(self.row, self.resource)
            case "engine":
                return self.engine
            case "device":
                return self.device
            case "region":
                return self.region
            case _:
                return self._of_call(head)

    def _of_call(self, name: str) -> object:
        match self.call, name:
            case CallTool(), "arguments":
                size = len(msgspec.json.encode(self.call.arguments))
                is_small = size <= POLICY_ARGUMENTS_BYTES_MAX
                return cedar_value(self.call.arguments) if is_small else {}
            case Infer(), "tools":
                return sorted({tool.name for tool in self.call.tools})
            case Fetch(), "method":
                return self.call.method
            case Fetch(), "url":
                return self.call.url
            case Spawn(), "command":
                return " ".join(self.call.command)
            case Signal(), "signal":
                return self.call.signal
            case _:
                return ""

    def _account(self, kind: str) -> AccountName | None:
        """The process's account of a kind; None: it has none."""
        match kind:
            case "organisation":
                return ORGANISATION
            case "process":
                return self.row.accounts[0] if self.row.accounts else None
            case "agent":
                name = self.row.name
            case "task":
                name = self.row.program
            case _:
                name = self.row.team
        return AccountName(f"{kind}:{name}") if name else None

    def _count(self, kind: str, window: str) -> int:
        account = self._account(kind)
        if account is None:
            return 0
        return self.tables.policies.counts.within(
            self.row.tenant,
            account,
            self.action,
            self.resource,
            self.now_ns // NS_PER_S,
            policy_words.WINDOWS[window],
        )

    def _spent(self, kind: str, unit: str) -> int:
        name = self._account(kind)
        account = self.tables.ledger.accounts.get((self.row.tenant, name)) if name else None
        if account is None:
            return 0
        account.roll(self.now_ns)
        amount = account.held if unit.startswith("held_") else account.used
        match unit.removeprefix("held_"):
            case "nano_dollars":
                return amount.nano_dollars
            case "tokens":
                return amount.tokens
            case _:
                return amount.calls

    def _time(self, unit: str) -> int:
        second = self.now_ns // NS_PER_S
        if unit == "unix":
            return second
        now = datetime.fromtimestamp(second, self.world.zone)
        match unit:
            case "hour":
                return now.hour
            case "minute":
                return now.minute
            case _:
                return now.isoweekday()


def subject(row: Row) -> Entity:
    """Who acts."""
    return policy_words.process(
        row.id,
        row.name,
        pid=row.pid,
        program=row.program,
        version=row.version,
        team=row.team,
        tenant=row.tenant,
    )


def things(tables: Tables, world: World, row: Row, call: Call) -> Iterator[tuple[str, Entity]]:
    """What a process does, and to what; nothing: no rule is asked."""
    for action, name in targets(call, row.name, row.id):
        other = tables.rows.get(ProcessId(name)) if action == "signal" else None
        if other is not None:
            yield action, subject(other)
            continue
        owner = owner_of(action, name)
        known = attributes(world, action, name) if owner is None else {"owner": owner[1]}
        yield action, policy_words.thing(action, name, known, (owner,) if owner else ())


def attributes(world: World, action: str, name: str) -> Mapping[str, object]:
    """What is known of a thing beside its name."""
    if action == "call_tool" and (tool := world.tool(name)) is not None:
        return of_tool(tool)
    if action in ("infer", "embed") and (model := world.model(name)) is not None:
        return {"kind": model.kind, "paid": model.paid}
    return {}


def of_tool(card: ToolCard) -> Mapping[str, object]:
    return {
        "effect": card.effect,
        "trust": card.trust,
        "server": card.server,
        "price": card.price,
        "labels": sorted(card.labels),
    }
