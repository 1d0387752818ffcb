"""Grants: approvals in advance.  A fold of the journal; a call under one counts with its intent.

Invariants: 1. what calls have used is never more than the terms allow, since the look and the
intent are one step; 2. a grant that is over lets nothing through any more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from orlop.abi.errors import BadCall
from orlop.abi.grants import Condition, Grant, GrantGiven, GrantRevoked, GrantTerms
from orlop.abi.ids import CallId, Nanoseconds, TenantId
from orlop.abi.limits import GRANT_S_MAX, GRANTS_KEPT_MAX

MISSING = object()


@dataclass(eq=False, slots=True)
class Grants:
    """`by_place`: ids by agent and tool, the oldest first."""

    rows: dict[str, Grant] = field(default_factory=dict)
    by_place: dict[tuple[TenantId, str, str], list[str]] = field(default_factory=dict)
    running: dict[CallId, tuple[str, Decimal]] = field(default_factory=dict)
    """Calls that have begun under a grant: what they count as."""

    def given(self, tenant: TenantId, now_ns: Nanoseconds, event: GrantGiven) -> None:
        self.put(
            Grant(
                id=event.grant,
                tenant=tenant,
                agent=event.agent,
                tool=event.tool,
                terms=event.terms,
                given_ns=now_ns,
                expires_ns=event.expires_ns,
                person=event.person,
                question=event.question,
            )
        )
        self._forget(now_ns)

    def revoked(self, now_ns: Nanoseconds, event: GrantRevoked) -> None:
        row = self.rows.get(event.grant)
        if row is not None and row.revoked_ns is None:
            self.rows[row.id] = replace(
                row, revoked_ns=now_ns, revoked_by=event.person, reason=event.reason
            )

    def put(self, row: Grant) -> None:
        """Also of a snapshot, the oldest first."""
        if row.id not in self.rows:
            self.by_place.setdefault((row.tenant, row.agent, row.tool), []).append(row.id)
        self.rows[row.id] = row

    def covering(
        self,
        tenant: TenantId,
        agent: str,
        tool: str,
        arguments: Mapping[str, object],
        now_ns: Nanoseconds,
    ) -> Grant | None:
        """A grant that lets the call through: of several, the one that is over first."""
        found = [
            row
            for id in self.by_place.get((tenant, agent, tool), ())
            if covers(row := self.rows[id], arguments, now_ns)
        ]
        return min(found, key=lambda row: row.expires_ns, default=None)

    def entered(self, call: CallId, id: str, arguments: Mapping[str, object]) -> None:
        """A call has begun under grant `id`."""
        row = self.rows.get(id)
        if row is None:
            return
        self.rows[id] = after = used(row, arguments)
        self.running[call] = (id, after.sum - row.sum)

    def ended(self, call: CallId, *, has_begun: bool) -> None:
        """has_begun: its tool was asked; otherwise nothing is used up."""
        if call not in self.running:
            return
        id, counted = self.running.pop(call)
        if not has_begun and (row := self.rows.get(id)) is not None:
            self.rows[id] = replace(row, calls=row.calls - 1, sum=row.sum - counted)

    def forget(self, tenant: TenantId) -> None:
        self.rows = {id: row for id, row in self.rows.items() if row.tenant != tenant}
        self.by_place = {place: ids for place, ids in self.by_place.items() if place[0] != tenant}

    def open(self, now_ns: Nanoseconds) -> list[Grant]:
        return [row for row in self.rows.values() if row.state(now_ns) == "open"]

    def _forget(self, now_ns: Nanoseconds) -> None:
        over = [row for row in self.rows.values() if row.state(now_ns) != "open"]
        for row in over[: max(0, len(over) - GRANTS_KEPT_MAX)]:
            del self.rows[row.id]
            place = (row.tenant, row.agent, row.tool)
            self.by_place[place].remove(row.id)
            if not self.by_place[place]:
                del self.by_place[place]


def used(row: Grant, arguments: Mapping[str, object]) -> Grant:
    """As it is once a call with these arguments has begun under it."""
    amount = number(value_at(arguments, row.terms.sum_of)) if row.terms.sum_of else None
    return replace(row, calls=row.calls + 1, sum=row.sum + (amount or Decimal(0)))


def covers(row: Grant, arguments: Mapping[str, object], now_ns: Nanoseconds) -> bool:
    """Whether a call with these arguments may go through under it, now."""
    if row.state(now_ns) != "open":
        return False
    if not all(holds(condition, arguments) for condition in row.terms.where):
        return False
    if not row.terms.sum_of:
        return True
    amount = number(value_at(arguments, row.terms.sum_of))
    if amount is None or amount < 0:
        return False
    return row.terms.sum_max is None or row.sum + amount <= row.terms.sum_max


def holds(condition: Condition, arguments: Mapping[str, object]) -> bool:
    value = value_at(arguments, condition.argument)
    if value is MISSING:
        return False
    if condition.values and plain(value) not in condition.values:
        return False
    if condition.max is None and condition.min is None:
        return True
    amount = number(value)
    if amount is None:
        return False
    low_enough = condition.max is None or amount <= condition.max
    return low_enough and (condition.min is None or amount >= condition.min)


def value_at(arguments: Mapping[str, object], path: str) -> object:
    """What lies there, or `MISSING`.  A name with dots in it goes before a path."""
    if path in arguments:
        return arguments[path]
    value: object = arguments
    for word in path.split("."):
        if not isinstance(value, Mapping) or word not in value:
            return MISSING
        value = value[word]
    return value


def number(value: object) -> Decimal | None:
    """None: it is no number.  `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(repr(value))


def plain(value: object) -> str:
    """As an operator writes it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def check(terms: GrantTerms) -> None:
    """Raises `BadCall` naming the field."""
    if not 0 < terms.expires_s <= GRANT_S_MAX:
        raise BadCall(f"expires_s: more than 0 and at most {GRANT_S_MAX:g}")
    if terms.calls_max is not None and terms.calls_max < 1:
        raise BadCall("calls_max: 1 or more")
    if bool(terms.sum_of) != (terms.sum_max is not None):
        raise BadCall("sum_of, sum_max: both are needed, or neither")
    for condition in terms.where:
        _check_condition(condition)
    if terms.sum_max is not None and not (terms.sum_max.is_finite() and terms.sum_max >= 0):
        raise BadCall("sum_max: a number from 0")


def _check_condition(condition: Condition) -> None:
    if not condition.argument:
        raise BadCall("where.argument: which one?")
    if condition.max is None and condition.min is None and not condition.values:
        raise BadCall(f"where {condition.argument}: needs max, min or values")
    for bound in (condition.max, condition.min):
        if bound is not None and not bound.is_finite():
            raise BadCall(f"where {condition.argument}: bounds are finite numbers")


def restored(rows: Iterable[Grant], running: Iterable[tuple[CallId, str, Decimal]]) -> Grants:
    table = Grants(running={call: (id, counted) for call, id, counted in running})
    for row in rows:
        table.put(row)
    return table
