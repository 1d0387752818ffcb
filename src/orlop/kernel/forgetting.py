"""A tenant is forgotten: its key goes, and with it all that the key has sealed; what lies beside
the journal goes too, and so do the snapshots that were made while it was there.

That it is to be forgotten is said first.  A kernel that is lost in the middle of it goes on at the
next boot, before anybody is answered.
"""

import logging

from orlop.abi.errors import BadCall, Conflict, NotReady
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, Seq, TenantId
from orlop.abi.kernels import TenantForgotten
from orlop.kernel.retention import BODIES_AT_ONCE, events_of
from orlop.state.core import Kernel
from orlop.store.journal import place_of
from orlop.subsystems import file_index, tenants

log = logging.getLogger(__name__)


async def forget(kernel: Kernel, name: str, reason: str) -> None:
    """For ever.  Raises `NotFound`, `BadCall`; `Conflict` where the tenant is still open.

    `default` is the installation's own: its processes must have ended, and its key goes alone.
    """
    if not reason:
        raise BadCall("reason: why? it stays in the journal")
    await kernel.alone()
    row = kernel.tables.tenants.rows.get(TenantId(name))
    if row is None:
        raise tenants.unknown(name)
    if row.is_open and row.name != DEFAULT_TENANT:
        raise Conflict(f"tenant {row.name} is open: `orlop tenant remove {row.name}` first")
    if row.name == DEFAULT_TENANT and kernel.commons is not None:
        raise Conflict(f"the key of {row.name} is all kernels': none of them could start again")
    tenants.require_ended(kernel, row.name)
    tenants.require_settled(kernel, row.name)
    # From here on only the journal can fail, and what is said is done, now or at the next boot.
    event = TenantForgotten(reason=f"{row.name}: {reason}", tenant=row.name)
    kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event)
    await follow(kernel, row.name)


async def follow(kernel: Kernel, tenant: TenantId) -> None:
    """What was said is done here: by this kernel, or by another one with the same keys."""
    await _forget(kernel, tenant)
    await _compact(kernel)


async def _forget(kernel: Kernel, tenant: TenantId) -> None:
    kernel.snapshot()
    await kernel.journal.flush()
    if tenant != DEFAULT_TENANT:
        kernel.guard.own.pop(tenant, None)
        kernel.forget()
        await _clear(kernel, tenant)
    await kernel.journal.forget(tenant)


async def _compact(kernel: Kernel) -> None:
    """What was deleted stays in a file, and in its log, until that is written anew."""
    if kernel.memories is not None:
        kernel.memories.forget_cached()
    for projection in kernel.all_projections:
        try:
            await projection.compact()
        except NotReady as error:
            log.warning("what was forgotten may be in an index still: %s", error.message)


async def finish(kernel: Kernel) -> None:
    """At boot: what an earlier kernel had said, and maybe not done."""
    for row in tuple(kernel.tables.tenants.rows.values()):
        if row.is_forgotten and kernel.journal.has_key(row.name):
            log.warning("tenant %s was being forgotten when the kernel was lost", row.name)
            await _forget(kernel, row.name)
            kernel.tasks.start(_compact(kernel), "indexes")  # They are not read yet.


async def _clear(kernel: Kernel, tenant: TenantId) -> None:
    """What is not sealed with its key: earlier snapshots, and the index of its files' words."""
    newest, old = kernel.snapshot_seq, list[Seq]()
    async for stored in events_of(kernel, Seq(newest - 1)):
        if stored.header.kind == "kernel.snapshot" and stored.body is not None:
            old.append(stored.header.seq)
    for at in range(0, len(old), BODIES_AT_ONCE):
        await kernel.journal.forget_bodies([place_of(seq) for seq in old[at : at + BODIES_AT_ONCE]])
    await file_index.forget(kernel, tenant)
