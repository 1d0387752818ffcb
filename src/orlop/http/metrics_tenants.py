"""Metrics by tenant: all for whoever looks after the installation, and each tenant its own."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from orlop.abi.budgets import ORGANISATION, Amount
from orlop.abi.ids import TenantId
from orlop.http.metric_family import Family, Sample
from orlop.people.question_table import OPEN
from orlop.state.core import Kernel

TENANTS: Final[Mapping[str, Family]] = {
    "orlop_tenant_processes": Family("gauge", "Its processes by state.", ("tenant", "state")),
    "orlop_tenant_calls_in_flight": Family("gauge", "Its system calls.", ("tenant",)),
    "orlop_tenant_used": Family(
        "counter", "All that it ever used: calls, tokens, dollars, seconds.", ("tenant", "unit")
    ),
    "orlop_tenant_held": Family(
        "gauge", "What its calls in flight hold: the same units.", ("tenant", "unit")
    ),
    "orlop_tenant_questions": Family("gauge", "Its questions that are open.", ("tenant",)),
}


def of_tenants(kernel: Kernel, only: TenantId | None) -> Iterator[Sample]:
    """only: of this one; None: of each that is open."""
    rows = [row for row in kernel.tables.rows.values() if only in (None, row.tenant)]
    states = Counter((row.tenant, row.state) for row in rows)
    for (tenant, state), count in states.items():
        yield "orlop_tenant_processes", (tenant, state), count
    running: Counter[TenantId] = Counter()
    for process in kernel.processes.values():
        running[process.row.tenant] += len(process.running)
    questions = kernel.office.questions.rows.values()
    waiting = Counter(row.tenant for row in questions if row.state in OPEN)
    for tenant in [only] if only is not None else _open(kernel):
        yield "orlop_tenant_calls_in_flight", (tenant,), running[tenant]
        yield "orlop_tenant_questions", (tenant,), waiting[tenant]
        account = kernel.tables.ledger.accounts.get((tenant, ORGANISATION))
        if account is not None:
            yield from amounts("orlop_tenant_used", (tenant,), account.ever)
            yield from amounts("orlop_tenant_held", (tenant,), account.held)


def _open(kernel: Kernel) -> list[TenantId]:
    return [row.name for row in kernel.tables.tenants.rows.values() if row.is_open]


def amounts(name: str, labels: tuple[str, ...], amount: Amount) -> Iterator[Sample]:
    yield name, (*labels, "calls"), amount.calls
    yield name, (*labels, "tokens"), amount.tokens
    yield name, (*labels, "dollars"), amount.nano_dollars / 1e9
    yield name, (*labels, "seconds"), amount.ns / 1e9
