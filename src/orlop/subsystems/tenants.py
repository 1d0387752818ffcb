"""Tenants: made, looked at, and removed with all that speaks for them."""

from orlop.abi.budgets import ORGANISATION
from orlop.abi.egress import read_rules
from orlop.abi.errors import BadCall, Conflict, Exhausted, NotFound
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, NanoDollars, TenantId
from orlop.abi.keys import KeyRevoked
from orlop.abi.limits import NAME_CHARS_MAX, TENANTS_MAX
from orlop.abi.schedules import ScheduleRemoved
from orlop.abi.tenants import TenantCreated, TenantOrder, TenantRemoved, TenantView, read_name
from orlop.state.core import Kernel
from orlop.state.process_table import ALIVE, OVER
from orlop.state.saga_table import OVER as SAGAS_OVER
from orlop.state.tenant_table import TenantRow
from orlop.subsystems import lifecycle


def unknown(name: str) -> NotFound:
    """Also for a tenant that is there, to whoever has no business with it."""
    return NotFound(f"no tenant {name[:NAME_CHARS_MAX]!r}; `orlop tenant list` lists all")


def find(kernel: Kernel, name: str) -> TenantId:
    """Raises `NotFound` for one that was removed, too."""
    row = kernel.tables.tenants.find(name)
    if row is None:
        raise unknown(name)
    return row.name


def known(kernel: Kernel, name: str) -> TenantId:
    """For the installation's operator: also one that was removed, until it is forgotten.

    Raises `NotFound`.
    """
    row = kernel.tables.tenants.known(name)
    if row is None:
        raise unknown(name)
    return row.name


async def create(kernel: Kernel, order: TenantOrder) -> TenantView:
    """Durable when it returns.  Raises `BadCall`, `Conflict`, `Exhausted`."""
    name, table = read_name(order.name), kernel.tables.tenants
    await kernel.alone()
    if len(order.note) > NAME_CHARS_MAX or not order.note.isprintable():
        raise BadCall(f"note: at most {NAME_CHARS_MAX} printable characters")
    if order.sandbox is not None:
        read_rules(order.sandbox.net)
    if name in table.rows:
        was = "is here already" if table.rows[name].is_open else "was removed: its name stays its"
        raise Conflict(f"tenant {name} {was}")
    if len(table.rows) >= TENANTS_MAX:
        raise Exhausted(f"{TENANTS_MAX} tenants have been made (TENANTS_MAX)")
    # From here on only the journal can fail.
    event = TenantCreated(tenant=name, sandbox=order.sandbox, note=order.note)
    await kernel.journal.durable(kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event).seq)
    return view(kernel, table.rows[name])


async def remove(kernel: Kernel, name: str, reason: str) -> TenantView:
    """End its clients, take its keys and schedules back, and close its name.  What it has said
    stays in the journal until its key is forgotten (`orlop journal forget`).

    Its programs at other kernels are ended.  Raises `NotFound`, `BadCall`; `Conflict` while
    programs of it have not ended here.
    """
    await kernel.alone()
    tenant = find(kernel, name)
    if tenant == DEFAULT_TENANT:
        raise BadCall(f"tenant {tenant} is the installation's own: it stays")
    if not reason or len(reason) > NAME_CHARS_MAX or not reason.isprintable():
        raise BadCall(f"reason: why? 1 to {NAME_CHARS_MAX} printable characters; it stays")
    require_ended(kernel, tenant)
    # From here on only the journal can fail; a removal that was cut off is made again.
    tables = kernel.tables
    _end_clients(kernel, tenant)
    for key in [row.id for row in tables.keys.rows.values() if row.tenant == tenant]:
        kernel.emit(KERNEL_PROCESS, tenant, KeyRevoked(key_id=key))
    _unschedule(kernel, tenant)
    removed = TenantRemoved(tenant=tenant, reason=reason)
    header = kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, removed)
    await kernel.journal.durable(header.seq)
    return view(kernel, tables.tenants.rows[tenant])


def _end_clients(kernel: Kernel, tenant: TenantId) -> None:
    for row in [row for row in kernel.tables.rows.values() if row.tenant == tenant]:
        if row.state not in OVER and (row.is_client or row.state not in ALIVE):
            lifecycle.end(kernel, kernel.get(row.id), 0, f"tenant {tenant} is removed")


def _unschedule(kernel: Kernel, tenant: TenantId) -> None:
    rows = kernel.tables.schedules.rows.items()
    for id in [id for id, row in rows if row.tenant == tenant]:
        kernel.emit(KERNEL_PROCESS, tenant, ScheduleRemoved(schedule=id))


async def close(kernel: Kernel, tenant: TenantId) -> None:
    """Another kernel has removed it: what it has here ends, its programs too."""
    _end_clients(kernel, tenant)
    _unschedule(kernel, tenant)
    for row in [row for row in kernel.tables.rows.values() if row.tenant == tenant]:
        if row.state not in OVER and not kernel.is_over(row.id):
            await lifecycle.signal(kernel, kernel.get(row.id), "kill", f"{tenant} is removed")


def require_ended(kernel: Kernel, tenant: TenantId) -> None:
    """Clients may be there: nobody can wait for them.  Raises `Conflict`."""
    own = [row for row in kernel.tables.rows.values() if row.tenant == tenant]
    alive = [row.pid for row in own if row.state not in OVER and not row.is_client]
    if alive:
        shown = " ".join(str(pid) for pid in alive[:5])
        raise Conflict(
            f"{len(alive)} programs of {tenant} have not ended: "
            f"`orlop kill --tenant {tenant} {shown}` first"
        )


def require_settled(kernel: Kernel, tenant: TenantId) -> None:
    """Raises `Conflict`."""
    open_sagas = [
        row.id
        for row in kernel.tables.sagas.rows.values()
        if row.tenant == tenant and row.state not in SAGAS_OVER
    ]
    if open_sagas:
        raise Conflict(
            f"{len(open_sagas)} sagas of {tenant} are not over: `orlop sagas --tenant {tenant}`"
        )


def listed(kernel: Kernel, *, removed: bool = False) -> list[TenantView]:
    rows = kernel.tables.tenants.rows.values()
    return [view(kernel, row) for row in rows if removed or row.is_open]


def one(kernel: Kernel, name: str) -> TenantView:
    """Raises `NotFound`."""
    row = kernel.tables.tenants.rows.get(TenantId(name))
    if row is None:
        raise unknown(name)
    return view(kernel, row)


def state_of(row: TenantRow) -> str:
    if row.is_open:
        return "open"
    return "forgotten" if row.is_forgotten else "removed"


def view(kernel: Kernel, row: TenantRow) -> TenantView:
    tables = kernel.tables
    own = [one for one in tables.rows.values() if one.tenant == row.name]
    account = tables.ledger.accounts.get((row.name, ORGANISATION))
    return TenantView(
        name=row.name,
        state=state_of(row),
        sandbox=row.sandbox,
        note=row.note,
        created_ns=row.created_ns,
        processes=sum(one.state not in OVER for one in own),
        keys=sum(key.tenant == row.name for key in tables.keys.rows.values()),
        schedules=sum(one.tenant == row.name for one in tables.schedules.rows.values()),
        calls=account.ever.calls if account is not None else 0,
        tokens=account.ever.tokens if account is not None else 0,
        cost=account.ever.nano_dollars if account is not None else NanoDollars(0),
    )
