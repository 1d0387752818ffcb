"""Folders of the host that agents may see: operators mount them, the journal keeps where."""

from pathlib import Path

from orlop.abi.errors import BadCall, Conflict, Exhausted, NotFound
from orlop.abi.files import FileView, FolderMounted, FolderUnmounted, MountOrder
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, TenantId
from orlop.abi.limits import MOUNTS_MAX
from orlop.files import paths
from orlop.kernel.sys_file import mount_view
from orlop.machine import jail
from orlop.state.core import Kernel
from orlop.subsystems import files


async def mount(kernel: Kernel, order: MountOrder, tenant: TenantId = DEFAULT_TENANT) -> FileView:
    """Raises `BadCall`, `NotFound` where the host has no such folder, `Conflict`."""
    path, table = paths.file(order.path, paths.ROOT), kernel.tables.files
    folder = Path(order.folder)
    if not folder.is_absolute() or "\0" in order.folder:
        raise BadCall(f"folder {order.folder[:100]!r}: write the host's folder in full, from / on")
    if len(table.mounts) >= MOUNTS_MAX:
        raise Exhausted(f"{MOUNTS_MAX} folders are mounted (MOUNTS_MAX)")
    store = files.store(kernel)
    await store.disk(jail.listed, folder, (), 1)
    await store.current()
    await store.ready()
    for owner, other in table.mounts:
        if owner != tenant:
            continue
        if paths.is_below(path, other) or paths.is_below(other, path):
            raise Conflict(f"{path} and {other}, which is mounted, lie in one another")
    if store.heads(tenant, path, 1):
        raise Conflict(f"there are files at {path}: mount it where there are none")
    header = kernel.emit(
        KERNEL_PROCESS,
        tenant,
        FolderMounted(path=path, folder=str(folder), writable=order.writable),
    )
    await kernel.journal.durable(header.seq)
    return mount_view(table.mounts[tenant, path])


async def unmount(kernel: Kernel, path: str, tenant: TenantId = DEFAULT_TENANT) -> None:
    """Raises `NotFound`.  What lies in the folder stays there."""
    path = paths.file(path, paths.ROOT)
    await files.store(kernel).alone()
    if (tenant, path) not in kernel.tables.files.mounts:
        raise NotFound(f"nothing is mounted at {path}; `orlop files mounts` lists what is")
    header = kernel.emit(KERNEL_PROCESS, tenant, FolderUnmounted(path=path))
    await kernel.journal.durable(header.seq)


def mounts(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT) -> list[FileView]:
    rows = sorted(kernel.tables.files.mounts.items())
    return [mount_view(row) for (owner, _), row in rows if owner == tenant]
