"""Narrowing a token without asking the kernel: for a child, a sub-component, somebody else's agent.

token = orlop.narrowed(allow=["model:smollm2", "tool:shop.list"], expires_s=600)

Whoever gets it calls in this process's name, with these rights and no longer; he can narrow it
further and never widen it.  `orlop token revoke` ends it early.
"""

import os
from collections.abc import Iterable

from orlop.abi.calls import Budget
from orlop.abi.errors import BadCall, Unauthenticated
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import EXPIRY_S_MAX
from orlop.abi.rights import canonical
from orlop.machine import plain_clock
from orlop.wire import tokens
from orlop.wire.claims import NS_PER_S, Block, Said, require_readable, whole_seconds


def narrowed(
    token: str = "",
    *,
    allow: Iterable[str] | None = None,
    expires_s: float | None = None,
    budget: Budget | None = None,
) -> str:
    """`token` (this program's own, if none is given) with these rights only, for so long, for calls
    that together use no more than `budget`.

    Raises `Denied` for a right that it does not hold, `BadCall`, `Unauthenticated`.
    """
    if isinstance(allow, str):
        raise BadCall(f"allow: a list of rights, as in [{allow!r}]")
    if expires_s is not None and not 0 < expires_s <= EXPIRY_S_MAX:
        raise BadCall(f"expires_s: more than 0 and at most {EXPIRY_S_MAX:g}, not {expires_s:g}")
    expires_ns = None
    if expires_s is not None:
        expires_ns = whole_seconds(Nanoseconds(plain_clock.wall_ns() + round(expires_s * NS_PER_S)))
    rights = None if allow is None else canonical(allow)
    block = Block(allow=rights, expires_ns=expires_ns, budget=budget)
    require_readable(block)
    return tokens.narrow(token or own_token(), block)


def said(token: str) -> Said:
    """What a token says; nobody has checked who signed it.  Raises `Unauthenticated`."""
    return tokens.unverified(token)


def own_token() -> str:
    """This program's, as the kernel gave it.  Raises `Unauthenticated`."""
    token = os.environ.get("ORLOP_TOKEN", "")
    if not token:
        raise Unauthenticated("no token: ORLOP_TOKEN is not set, so no kernel started this program")
    return token
