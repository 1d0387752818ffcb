"""What this kernel does when another one has changed what all have in common.

The tables are told by `Kernel.hear`; here is what follows of it: a tenant's policy is in force, one
that was removed has nothing left here, and of one that was forgotten nothing can be read.
"""

from functools import partial
from typing import Final

from orlop.abi.kernels import TenantForgotten
from orlop.abi.policy import PolicyRemoved, PolicySet
from orlop.abi.tenants import TenantRemoved
from orlop.kernel import forgetting
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.store.rows import Stored
from orlop.subsystems import policies, tenants

HEEDED: Final = frozenset(
    codec.KIND[kind] for kind in (PolicySet, PolicyRemoved, TenantRemoved, TenantForgotten)
)


def begin(kernel: Kernel) -> None:
    """Once the tables are whole and this kernel's processes are here."""
    if kernel.commons is None:
        return
    kernel.commons.told = partial(hear, kernel)
    kernel.on_arrival.append(partial(_arrived, kernel))
    _close_removed(kernel)


def hear(kernel: Kernel, stored: Stored) -> None:
    kernel.hear(stored)
    if stored.header.kind not in HEEDED:
        return
    match codec.decode(stored):
        case PolicySet() | PolicyRemoved():
            policies.follow(kernel, stored.header.tenant)
        case TenantRemoved() as event:
            kernel.tasks.start(tenants.close(kernel, event.tenant), f"{event.tenant} is removed")
        case TenantForgotten() as event:
            following = forgetting.follow(kernel, event.tenant)
            kernel.tasks.start(following, f"{event.tenant} is forgotten")
        case _:
            pass


async def _arrived(kernel: Kernel, number: int) -> None:
    """A lost kernel's processes may be of a tenant that was removed meanwhile."""
    _close_removed(kernel)


def _close_removed(kernel: Kernel) -> None:
    for row in kernel.tables.tenants.rows.values():
        if not row.is_open:
            kernel.tasks.start(tenants.close(kernel, row.name), f"{row.name} is removed")
