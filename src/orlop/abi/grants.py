"""Approvals in advance: what an agent may do with a tool without being asked about each call."""

from decimal import Decimal

from msgspec import Struct

from orlop.abi.ids import Nanoseconds, TenantId


class Condition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one argument must be.  A call that lacks the argument is not covered."""

    argument: str
    """A name, or names joined by dots: `order.amount`."""
    max: Decimal | None = None
    min: Decimal | None = None
    values: tuple[str, ...] = ()
    """The only ones allowed; numbers and booleans as JSON writes them."""


class GrantTerms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a grant goes."""

    expires_s: float = 604_800.0
    """From now; there is no grant for ever."""
    where: tuple[Condition, ...] = ()
    """All of them must hold."""
    calls_max: int | None = None
    sum_of: str = ""
    """An argument that is a number, not below zero, whose sum over all calls has a limit."""
    sum_max: Decimal | None = None
    note: str = ""


class GrantOrder(Struct, frozen=True, kw_only=True):
    """`orlop grants give`."""

    agent: str
    """The name of the processes that it is for."""
    tool: str
    terms: GrantTerms = GrantTerms()
    person: str = ""
    minutes: float = 0.0


class GrantGiven(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.granted"):
    """From here on calls within the terms go through, and name the grant."""

    grant: str
    agent: str
    tool: str
    terms: GrantTerms
    expires_ns: Nanoseconds
    person: str
    question: str = ""
    """That was answered with it."""


class GrantRevoked(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.revoked"):
    grant: str
    person: str
    reason: str = ""


class Grant(Struct, frozen=True, kw_only=True):
    """A row of the table, and of `orlop grants`."""

    id: str
    tenant: TenantId
    agent: str
    tool: str
    terms: GrantTerms
    given_ns: Nanoseconds
    expires_ns: Nanoseconds
    person: str
    question: str = ""
    calls: int = 0
    """Let through so far."""
    sum: Decimal = Decimal(0)
    revoked_ns: Nanoseconds | None = None
    revoked_by: str = ""
    reason: str = ""

    def state(self, now_ns: Nanoseconds) -> str:
        """open, revoked, expired or used."""
        if self.revoked_ns is not None:
            return "revoked"
        if self.expires_ns <= now_ns:
            return "expired"
        spent = self.terms.calls_max is not None and self.calls >= self.terms.calls_max
        return "used" if spent else "open"


class GrantView(Struct, frozen=True, kw_only=True):
    grant: Grant
    state: str


class GrantRevokeOrder(Struct, frozen=True, kw_only=True):
    person: str = ""
    reason: str = ""
