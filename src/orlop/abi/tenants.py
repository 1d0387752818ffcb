"""Tenants: who shares an installation without seeing one another."""

import re
from typing import Final

from msgspec import Struct

from orlop.abi.errors import BadCall
from orlop.abi.ids import NanoDollars, Nanoseconds, TenantId
from orlop.abi.sandbox import Sandbox

TENANT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def read_name(text: str) -> TenantId:
    """Raises `BadCall`."""
    if not TENANT_NAME.fullmatch(text):
        raise BadCall(
            f"tenant {text[:100]!r}: 1 to 63 of a-z, 0-9, `-` and `_`, the first no `-` and no `_`"
        )
    return TenantId(text)


class TenantCreated(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tenant.created"):
    """From here on it can have keys and processes."""

    tenant: TenantId
    sandbox: Sandbox | None
    """What its programs may touch at most; None: whatever the installation's own may."""
    note: str = ""


class TenantRemoved(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tenant.removed"):
    """Nobody speaks for it any more, and nobody else gets its name."""

    tenant: TenantId
    reason: str


TenantEvent = TenantCreated | TenantRemoved


class TenantOrder(Struct, frozen=True, kw_only=True):
    """`orlop tenant create NAME`."""

    name: str
    sandbox: Sandbox | None = Sandbox()
    note: str = ""


class TenantRemoval(Struct, frozen=True, kw_only=True):
    """`orlop tenant remove NAME`."""

    reason: str


class TenantView(Struct, frozen=True, kw_only=True):
    """A row of `orlop tenant list`."""

    name: TenantId
    state: str
    """`open`, `removed`, or `forgotten`: removed, and its key thrown away."""
    sandbox: Sandbox | None
    note: str
    created_ns: Nanoseconds | None
    """None: it was there from the start."""
    processes: int
    """That have not ended."""
    keys: int
    schedules: int
    calls: int
    """That it has made; tokens and cost likewise."""
    tokens: int
    cost: NanoDollars
