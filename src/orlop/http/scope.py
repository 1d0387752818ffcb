"""Within which tenant an order acts, and who may give it.

The installation's operator names a tenant by `Orlop-Tenant`; without it he means `default`.  A
tenant's own operator (`orlop key create --operator`) acts within it and nowhere else, and a person
with a token of his own is asked and answers there.  Each row of `operations` says who may ask, and
a kernel with a route that has no row does not start.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from orlop.abi.errors import BadCall, Broken, Denied
from orlop.http.auth import Caller
from orlop.http.exchange import Exchange
from orlop.http.operations.operation import By, Pattern
from orlop.http.operations.table import OPERATIONS

WITHIN_ONE: Final = (By.PERSON, By.TENANT, By.HOUSE)
"""What is ordered within a tenant."""

BY: Final[Mapping[Pattern, By]] = {row.pattern: row.by for row in OPERATIONS}


def require_rows(patterns: Iterable[Pattern]) -> None:
    """Nothing is served of which nobody has said who may ask it.  Raises `Broken`."""
    for pattern in patterns:
        if pattern not in BY:
            raise Broken(f"{' '.join(pattern)} has no row in http/operations: who may ask it?")


def admit(caller: Caller, exchange: Exchange, pattern: Pattern) -> None:
    """Whether the caller may give this order; from here on it acts within `exchange.tenant`.

    Raises `Denied`, `BadCall`.
    """
    by = BY[pattern]
    if not caller.person:
        _require_operator(caller, exchange, by)
    elif by is not By.PERSON:
        raise Denied(
            f"{caller.person}'s token is for questions and grants, not for {exchange.path}"
        )
    exchange.tenant, exchange.is_house = caller.tenant, caller.is_house
    exchange.is_whole = caller.is_house and not caller.named
    exchange.person = caller.person


def _require_operator(caller: Caller, exchange: Exchange, by: By) -> None:
    caller.require_operator()
    if by not in (By.PERSON, By.TENANT) and not caller.is_house:
        raise Denied(
            f"{exchange.method} {exchange.path} is the installation's: "
            f"an operator of {caller.tenant} may order what is within {caller.tenant}"
        )
    if by not in WITHIN_ONE and caller.named:
        raise BadCall(
            f"Orlop-Tenant: {exchange.path} is about the whole installation, not about "
            f"{caller.tenant}; leave it out"
        )
