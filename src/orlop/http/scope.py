"""Within which tenant an operator's order acts, and who may give it.

The installation's operator names a tenant by `Orlop-Tenant`; without it he means `default`.  A
tenant's own operator (`orlop key create --operator`) acts within it and nowhere else.  What is not
in `WITHIN` is about the machine that all of them share, and the installation's alone.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias

from orlop.abi.errors import BadCall, Denied
from orlop.http.auth import Caller
from orlop.http.exchange import Exchange

Pattern: TypeAlias = tuple[str, ...]
"""A method, and the words below `/orlop/v1`."""


class By(Enum):
    """Who may give an order about what is a tenant's."""

    TENANT = "its own operator too"
    HOUSE = "the installation's operator"


WITHIN: Final[Mapping[Pattern, By]] = {
    ("GET", "processes"): By.TENANT,
    ("POST", "processes"): By.TENANT,
    ("GET", "processes", "{ref}"): By.TENANT,
    ("POST", "processes", "{ref}", "signal"): By.TENANT,
    ("POST", "processes", "{ref}", "resume"): By.TENANT,
    ("POST", "processes", "{ref}", "replay"): By.TENANT,
    ("GET", "processes", "{ref}", "wait"): By.TENANT,
    ("GET", "processes", "{ref}", "logs"): By.TENANT,
    ("GET", "processes", "{ref}", "trace"): By.TENANT,
    ("GET", "processes", "{ref}", "rights"): By.TENANT,
    ("POST", "processes", "{ref}", "grant"): By.TENANT,
    ("POST", "processes", "{ref}", "revoke"): By.TENANT,
    ("GET", "processes", "{ref}", "coverage"): By.TENANT,
    ("GET", "processes", "{ref}", "egress"): By.TENANT,
    ("GET", "keys"): By.TENANT,
    ("POST", "keys"): By.TENANT,
    ("DELETE", "keys", "{ref}"): By.TENANT,
    ("POST", "tokens", "read"): By.TENANT,
    ("POST", "tokens", "revoke"): By.TENANT,
    ("GET", "tokens", "revoked"): By.TENANT,
    ("GET", "schedules"): By.TENANT,
    ("POST", "schedules"): By.TENANT,
    ("DELETE", "schedules", "{ref}"): By.TENANT,
    ("GET", "budgets"): By.TENANT,
    ("POST", "budgets"): By.TENANT,
    ("GET", "budgets", "{ref}"): By.TENANT,
    ("DELETE", "budgets", "{ref}"): By.TENANT,
    ("GET", "journal", "export"): By.TENANT,
    ("GET", "questions"): By.TENANT,
    ("GET", "questions", "{ref}"): By.TENANT,
    ("GET", "questions", "{ref}", "case"): By.TENANT,
    ("POST", "questions", "{ref}", "answer"): By.TENANT,
    ("POST", "answers"): By.TENANT,
    ("GET", "people"): By.TENANT,
    ("POST", "people"): By.TENANT,
    ("DELETE", "people", "{ref}"): By.TENANT,
    ("POST", "touches"): By.TENANT,
    ("GET", "grants"): By.TENANT,
    ("POST", "grants"): By.TENANT,
    ("POST", "grants", "{ref}", "revoke"): By.TENANT,
    ("GET", "autonomy"): By.TENANT,
    ("POST", "autonomy"): By.TENANT,
    ("POST", "incidents"): By.TENANT,
    ("GET", "effects"): By.TENANT,
    ("POST", "effects", "{ref}", "settle"): By.TENANT,
    ("GET", "sagas"): By.TENANT,
    ("GET", "sagas", "{ref}"): By.TENANT,
    ("POST", "sagas", "{ref}", "settle"): By.TENANT,
    ("GET", "memory"): By.TENANT,
    ("GET", "memories", "{ref}"): By.TENANT,
    ("GET", "memories", "{ref}", "why"): By.TENANT,
    ("GET", "memory", "diff"): By.TENANT,
    ("GET", "memory", "export"): By.TENANT,
    ("POST", "memory", "rollback"): By.TENANT,
    ("GET", "memory", "shares"): By.TENANT,
    ("POST", "memory", "shares"): By.TENANT,
    ("GET", "memory", "kinds"): By.TENANT,
    ("POST", "memory", "kinds"): By.TENANT,
    ("POST", "memory", "subjects"): By.TENANT,
    ("POST", "memory", "erasures"): By.TENANT,
    ("GET", "tools"): By.TENANT,
    ("GET", "tools", "{ref}"): By.TENANT,
    ("GET", "parts", "{ref}"): By.TENANT,
    ("GET", "mounts"): By.TENANT,
    ("DELETE", "mounts"): By.TENANT,
    ("GET", "policy"): By.TENANT,
    ("POST", "policy"): By.TENANT,
    ("DELETE", "policy"): By.TENANT,
    ("POST", "policy", "check"): By.TENANT,
    ("POST", "policy", "test"): By.TENANT,
    ("POST", "policy", "diff"): By.TENANT,
    ("POST", "policy", "backtest"): By.TENANT,
    ("GET", "policy", "templates"): By.TENANT,
    ("GET", "policy", "why", "{ref}"): By.TENANT,
    ("POST", "mounts"): By.HOUSE,
    ("POST", "memory", "model"): By.HOUSE,
    ("POST", "claims"): By.HOUSE,
}


def admit(caller: Caller, exchange: Exchange, pattern: Pattern) -> None:
    """Whether the caller may give this order; from here on it acts within `exchange.tenant`.

    Raises `Denied`, `BadCall`.
    """
    caller.require_operator()
    by = WITHIN.get(pattern)
    if by is not By.TENANT and not caller.is_house:
        raise Denied(
            f"{exchange.method} {exchange.path} is the installation's: "
            f"an operator of {caller.tenant} may order what is within {caller.tenant}"
        )
    if by is None and caller.named:
        raise BadCall(
            f"Orlop-Tenant: {exchange.path} is about the whole installation, not about "
            f"{caller.tenant}; leave it out"
        )
    exchange.tenant, exchange.is_house = caller.tenant, caller.is_house
    exchange.is_whole = caller.is_house and not caller.named
