"""The `change` system call: what is done to files and folders that are there."""

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from orlop.abi.errors import BadCall, Denied, Exhausted, NotFound
from orlop.abi.files import (
    Changed,
    ChangeFiles,
    FileChange,
    FileShared,
    FileSnapshot,
    FileVersion,
)
from orlop.abi.hints import Facts
from orlop.abi.ids import Seq, TenantId
from orlop.abi.limits import FILE_SHARES_MAX, FILES_AT_ONCE_MAX
from orlop.files import paths
from orlop.files.live import FileStore, Head
from orlop.files.tree import FileTree, Version
from orlop.kernel import sys_file
from orlop.kernel.sys_file import next_version, require_version
from orlop.machine import jail
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import files, tainted

Plan = list[tuple[FileChange, int]]
"""Each with the size that its file has afterwards."""


async def change(kernel: Kernel, process: Process, running: Running, call: ChangeFiles) -> Changed:
    store, tenant = files.store(kernel), process.row.tenant
    if call.action in ("snapshot", "share"):
        await store.alone()
        return _said(kernel, process, running, call)
    if kernel.tables.files.mount(tenant, call.path) is not None:
        return await _delete_host(kernel, process, running, call)
    if call.to and kernel.tables.files.mount(tenant, call.to) is not None:
        raise BadCall(f"to: {call.to} lies in a mounted folder: read and write the file instead")
    await store.current()
    then = moment(kernel, process, call)
    past = await _past(store, tenant, call, then)
    await store.ready()
    # From here on nothing is waited for: what is compared with is what is changed.
    heads = store.heads(tenant, call.path, FILES_AT_ONCE_MAX + 1)
    if call.if_version is not None:
        own = heads.get(call.path)
        require_version(call.path, call.if_version, own.version if own is not None else 0)
    plan = _plan(store, tenant, call, heads, past)
    for one, _ in plan:
        files.require(kernel, process, one.path, "write")
    if not plan:
        return Changed(facts=Facts(call=running.id))
    labels = tainted.kept(running)
    changes = [one if one.deleted else replace(one, labels=labels) for one, _ in plan]
    return sys_file.emit(kernel, process, running, changes, [size for _, size in plan])


def moment(kernel: Kernel, process: Process, call: ChangeFiles) -> Seq | None:
    """When what is to come back was.  Raises `NotFound`."""
    name = call.to if call.action == "restore" else call.at
    return files.moment(kernel, process, call.path, name)


async def _past(
    store: FileStore, tenant: TenantId, call: ChangeFiles, then: Seq | None
) -> Mapping[str, Version]:
    """What lay there then, by path."""
    if call.action == "rollback" and call.version is not None:
        row = await store.read(FileTree.version, tenant, call.path, call.version)
        return {} if row.deleted else {row.path: row}
    if then is None:
        if call.action in ("rollback", "restore"):
            raise BadCall("version or at: back to what?")
        return {}
    rows = await store.read(FileTree.below, tenant, call.path, at=then, limit=FILES_AT_ONCE_MAX + 1)
    own = await store.read(FileTree.as_of, tenant, call.path, then)
    found = {row.path: row for row in rows}
    if own is not None and not own.deleted:
        found[own.path] = own
    return found


def _plan(
    store: FileStore,
    tenant: TenantId,
    call: ChangeFiles,
    heads: Mapping[str, Head],
    past: Mapping[str, Version],
) -> Plan:
    """Raises `NotFound` where there is nothing, `Exhausted` where there is too much."""
    plan: Plan = []
    if call.action in ("delete", "move", "copy"):
        if not heads:
            raise NotFound(f"there is nothing at {call.path}")
        if call.action != "delete":
            for path, head in heads.items():
                plan.append(_copied(store, tenant, head, paths.moved(path, call.path, call.to)))
        if call.action != "copy":
            plan += [(_deleted(head), 0) for head in heads.values()]
    else:
        plan = _back(store, tenant, heads, past)
    if len(plan) > FILES_AT_ONCE_MAX:
        raise Exhausted(
            f"{call.path} has too many files for one change: at most {FILES_AT_ONCE_MAX} "
            "(FILES_AT_ONCE_MAX); take its folders one by one"
        )
    return plan


def _copied(store: FileStore, tenant: TenantId, head: Head, to: str) -> tuple[FileChange, int]:
    version = next_version(store.head(tenant, to))
    made = FileChange(path=to, version=version, base=head.version, source=head.path)
    return made, head.size


def _deleted(head: Head) -> FileChange:
    return FileChange(path=head.path, version=head.version + 1, deleted=True)


def _back(
    store: FileStore, tenant: TenantId, heads: Mapping[str, Head], past: Mapping[str, Version]
) -> Plan:
    """Each file as it was; one that was not there then is deleted."""
    plan: Plan = []
    for path, row in past.items():
        head = store.head(tenant, path)
        if head is None or not _holds(store, tenant, head, row):
            again = FileChange(path=path, version=next_version(head), base=row.version)
            plan.append((again, row.size))
    plan += [(_deleted(head), 0) for path, head in heads.items() if path not in past]
    return plan


def _holds(store: FileStore, tenant: TenantId, head: Head, row: Version) -> bool:
    """Whether a file is as `row` says already: no version is made for nothing."""
    now = store.look(FileTree.head, tenant, row.path)
    if now is None or now.deleted or now.version != head.version:
        return False
    return (now.content, now.pieces) == (row.content, row.pieces)


def _said(kernel: Kernel, process: Process, running: Running, call: ChangeFiles) -> Changed:
    """A name for a moment, or who may do what."""
    table, head = kernel.tables.files, files.store(kernel).head_seq
    there = sum(len(rows) for rows in table.shares.values())
    there += sum(len(rows) for rows in table.snapshots.values())
    if there >= FILE_SHARES_MAX:
        raise Exhausted(f"{there} shares and snapshots are there (FILE_SHARES_MAX)")
    # From here on only the journal can fail.
    event: FileShared | FileSnapshot
    if call.action == "share":
        event = FileShared(path=call.path, who=call.who, right=call.right)
    else:
        event = FileSnapshot(path=call.path, name=call.to, at=head)
    header = kernel.emit(process.id, process.row.tenant, event, call=running.id, cause=running.seq)
    at = header.moment if call.action == "share" else head
    return Changed(at=at, facts=Facts(call=running.id))


async def _delete_host(
    kernel: Kernel, process: Process, running: Running, call: ChangeFiles
) -> Changed:
    mount = kernel.tables.files.mount(process.row.tenant, call.path)
    assert mount is not None
    if call.action != "delete":
        raise BadCall(
            f"{call.path} lies in a mounted folder, which keeps no versions: {call.action} can't be"
        )
    if not mount.writable:
        raise Denied(f"{mount.path} is mounted to be read only")
    way, root, store = sys_file.words(mount, call.path), Path(mount.folder), files.store(kernel)
    if not way:
        raise BadCall(f"{call.path} is mounted: `orlop files unmount` takes it away")
    there = await store.disk(jail.look, root, way)
    require_version(call.path, call.if_version, there.version if there is not None else 0)
    await store.disk(jail.remove, root, way)
    gone = FileVersion(path=call.path, version=there.version if there is not None else 0)
    return Changed(files=(gone,), facts=Facts(call=running.id))
