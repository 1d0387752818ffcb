"""Which tenants there are: a fold of the journal.

A name that was removed stays, so that nobody else ever gets what lies under it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.errors import Conflict
from orlop.abi.events import Header
from orlop.abi.ids import DEFAULT_TENANT, Nanoseconds, TenantId
from orlop.abi.sandbox import Sandbox
from orlop.abi.tenants import TenantCreated, TenantEvent


class TenantRow(Struct, frozen=True, kw_only=True):
    name: TenantId
    sandbox: Sandbox | None = None
    note: str = ""
    created_ns: Nanoseconds | None = None
    removed_ns: Nanoseconds | None = None
    is_forgotten: bool = False
    """Its key is thrown away, or is to be before anything else."""

    @property
    def is_open(self) -> bool:
        return self.removed_ns is None


@dataclass(eq=False, slots=True)
class Tenants:
    """`default` was there before there were others, and stays."""

    rows: dict[TenantId, TenantRow] = field(
        default_factory=lambda: {DEFAULT_TENANT: TenantRow(name=DEFAULT_TENANT)}
    )

    def fold(self, header: Header, event: TenantEvent) -> None:
        if isinstance(event, TenantCreated):
            self.rows[event.tenant] = TenantRow(
                name=event.tenant,
                sandbox=event.sandbox,
                note=event.note,
                created_ns=header.wall_ns,
            )
        elif (row := self.rows.get(event.tenant)) is not None:
            self.rows[row.name] = replace(row, removed_ns=header.wall_ns)

    def forget(self, tenant: TenantId) -> None:
        if (row := self.rows.get(tenant)) is not None:
            self.rows[tenant] = replace(row, note="", is_forgotten=True)

    def find(self, name: str) -> TenantRow | None:
        """None: there is none, or it was removed."""
        row = self.rows.get(TenantId(name))
        return row if row is not None and row.is_open else None

    def require_open(self, tenant: TenantId) -> None:
        """Raises `Conflict` where nothing may begin in it any more."""
        if self.find(tenant) is None:
            raise Conflict(f"tenant {tenant} was removed: nothing begins in it")

    def known(self, name: str) -> TenantRow | None:
        """Also one that was removed, as long as what it has said can be read."""
        row = self.rows.get(TenantId(name))
        return row if row is not None and not row.is_forgotten else None

    def state(self) -> list[TenantRow]:
        return [row for row in self.rows.values() if row.name != DEFAULT_TENANT]


def restored(rows: Iterable[TenantRow]) -> Tenants:
    tenants = Tenants()
    tenants.rows.update((row.name, row) for row in rows)
    return tenants
