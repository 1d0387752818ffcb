"""Folders of the host that agents may see: operators mount them, the journal keeps where."""

from pathlib import Path

from orlop.abi.errors import BadCall, Conflict, Exhausted, NotFound
from orlop.abi.files import FileView, FolderMounted, FolderUnmounted, MountOrder
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS
from orlop.abi.limits import MOUNTS_MAX
from orlop.files import paths
from orlop.kernel.sys_file import mount_view
from orlop.machine import jail
from orlop.state.core import Kernel
from orlop.subsystems import files


async def mount(kernel: Kernel, order: MountOrder) -> FileView:
    """Raises `BadCall`, `NotFound` where the host has no such folder, `Conflict`."""
    path, table = paths.file(order.path, paths.ROOT), kernel.tables.files
    folder = Path(order.folder)
    if not folder.is_absolute() or "\0" in order.folder:
        raise BadCall(f"folder {order.folder[:100]!r}: write the host's folder in full, from / on")
    if len(table.mounts) >= MOUNTS_MAX:
        raise Exhausted(f"{MOUNTS_MAX} folders are mounted (MOUNTS_MAX)")
    for _, other in table.mounts:
        if paths.is_below(path, other) or paths.is_below(other, path):
            raise Conflict(f"{path} and {other}, which is mounted, lie in one another")
    store = files.store(kernel)
    await store.disk(jail.listed, folder, (), 1)
    await store.current()
    if store.heads(DEFAULT_TENANT, path, 1):
        raise Conflict(f"there are files at {path}: mount it where there are none")
    header = kernel.emit(
        KERNEL_PROCESS,
        DEFAULT_TENANT,
        FolderMounted(path=path, folder=str(folder), writable=order.writable),
    )
    await kernel.journal.durable(header.seq)
    return mount_view(table.mounts[DEFAULT_TENANT, path])


async def unmount(kernel: Kernel, path: str) -> None:
    """Raises `NotFound`.  What lies in the folder stays there."""
    path = paths.file(path, paths.ROOT)
    if (DEFAULT_TENANT, path) not in kernel.tables.files.mounts:
        raise NotFound(f"nothing is mounted at {path}; `orlop files mounts` lists what is")
    header = kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, FolderUnmounted(path=path))
    await kernel.journal.durable(header.seq)


def mounts(kernel: Kernel) -> list[FileView]:
    return [mount_view(row) for _, row in sorted(kernel.tables.files.mounts.items())]
