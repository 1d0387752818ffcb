"""The `write`, `read` and `list` system calls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orlop.abi.errors import BadCall, Conflict, Denied, NotFound, TooLarge
from orlop.abi.files import (
    Changed,
    Contents,
    FileChange,
    FileContent,
    FileRead,
    FilesChanged,
    FileVersion,
    FileView,
    FileWrite,
    ListFiles,
    Listing,
    Piece,
    PiecesStored,
    ReadFiles,
    WriteFiles,
)
from orlop.abi.hints import Facts
from orlop.abi.ids import Nanoseconds, Seq, TenantId
from orlop.abi.labels import together
from orlop.abi.limits import FILE_READ_BYTES_MAX
from orlop.files import listing, paths
from orlop.files.live import Head
from orlop.files.rules import MountRow
from orlop.files.tree import FileTree, Version
from orlop.kernel import brief
from orlop.machine import jail
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import file_content, files, tainted

DELETED: Final = "was deleted; `orlop files versions` shows what it was"


async def write(kernel: Kernel, process: Process, running: Running, call: WriteFiles) -> Changed:
    """All of them, or none.

    Between the look at the newest versions and the event nothing is waited for, so no other write
    comes between; nor between the event and the outcome, so both are in one commit.
    """
    store, tenant = files.store(kernel), process.row.tenant
    mounted = [kernel.tables.files.mount(tenant, one.path) for one in call.files]
    if any(mounted):
        return await _write_host(kernel, process, running, call, mounted)
    running.parts = await file_content.packed(kernel, running.parts)
    brought = {part.name.hex() for part in running.parts}
    if all(piece.name in brought for one in call.files for piece in one.pieces):
        await store.ready()
    else:
        await store.current()  # They were stored by an earlier event.
        await store.ready()
    sizes = [_size(kernel, tenant, running, one) for one in call.files]
    changes: list[FileChange] = []
    for place, one in enumerate(call.files):
        head = store.head(tenant, one.path)
        known = head.known if head is not None else 0
        require_version(one.path, one.if_version, known)
        origin = _origin(kernel, tenant, one, head)
        sizes[place] += origin.size if origin is not None else 0
        _require_size(kernel, one.path, sizes[place])
        change = FileChange(
            path=one.path,
            version=next_version(head),
            pieces=one.pieces,
            base=origin.version if origin is not None else None,
            source=one.onto,
            labels=tainted.kept(running, one.labels),
        )
        changes.append(change)
    return emit(kernel, process, running, changes, sizes)


def _origin(kernel: Kernel, tenant: TenantId, one: FileWrite, head: Head | None) -> Head | None:
    """What the new version begins with.  Raises `NotFound`."""
    if one.append:
        return head if head is not None and head.known else None
    if not one.onto:
        return None
    origin = files.store(kernel).head(tenant, one.onto)
    if origin is None or not origin.known:
        raise NotFound(f"{one.path} should begin with {one.onto}, and there is no such file")
    return origin


def emit(
    kernel: Kernel,
    process: Process,
    running: Running,
    changes: Sequence[FileChange],
    sizes: Sequence[int],
) -> Changed:
    """Record the versions that a call makes.  sizes: of each."""
    tenant = process.row.tenant
    changed = FilesChanged(changes=tuple(changes))
    made = tuple(FileVersion(path=change.path, version=change.version) for change in changes)
    if running.brief is not None:
        running.brief.changed, running.brief.sizes = changed, sizes
        return Changed(files=made, at=brief.next_seq(kernel), facts=Facts(call=running.id))
    header = kernel.emit(
        process.id,
        tenant,
        changed,
        call=running.id,
        cause=running.seq,
        parts=running.parts,
    )
    files.store(kernel).note(tenant, changes, sizes, header.moment)
    return Changed(files=made, at=header.moment, facts=Facts(call=running.id))


def next_version(head: Head | None) -> int:
    return 1 if head is None else head.version + 1


def require_version(path: str, wanted: int | None, known: int) -> None:
    """Raises `Conflict`.  known: 0 where there is no such file."""
    if wanted is None or wanted == known:
        return
    if known == 0:
        raise Conflict(f"{path} is not there, so it has no version {wanted}")
    if wanted == 0:
        raise Conflict(f"{path} is there already, at version {known}")
    raise Conflict(
        f"{path} is at version {known}, not {wanted}: somebody has changed it; read it again"
    )


def _size(kernel: Kernel, tenant: TenantId, running: Running, one: FileWrite) -> int:
    """Of what is written; pieces that did not come with this call must have been stored."""
    brought = {part.name.hex(): len(part.data) for part in running.parts}
    for piece in one.pieces:
        size = brought.get(piece.name)
        if size is None:
            size = files.store(kernel).look(FileTree.stored, tenant, piece.name)
        if size != piece.size:
            raise BadCall(
                f"files: {one.path} has a piece {piece.name[:64]} of {piece.size} bytes that was "
                "never stored; `POST /orlop/v1/pieces` stores it, and tells its name"
            )
    return sum(piece.size for piece in one.pieces)


def _require_size(kernel: Kernel, path: str, size: int) -> None:
    most = files.store(kernel).config.bytes_max
    if size > most:
        raise TooLarge(f"{path} would have {size} bytes; at most {most} (files.bytes_max)")


async def read(kernel: Kernel, process: Process, running: Running, call: ReadFiles) -> Contents:
    """Each as it was at one moment; together at most FILE_READ_BYTES_MAX."""
    left = FILE_READ_BYTES_MAX
    found: list[FileContent] = []
    for one in call.files:
        content = await read_file(kernel, process, one, left, call.at)
        left -= content.length
        found.append(content)
    return Contents(files=tuple(found), facts=Facts(call=running.id))


async def read_file(
    kernel: Kernel, process: Process, one: FileRead, left: int, at: str = ""
) -> FileContent:
    """At most `left` bytes of it."""
    mount = kernel.tables.files.mount(process.row.tenant, one.path)
    if mount is not None:
        return await _read_host(kernel, mount, one, left)
    return await _read_tree(kernel, process, one, at, left)


async def _read_tree(
    kernel: Kernel, process: Process, one: FileRead, at: str, left: int
) -> FileContent:
    store, tenant = files.store(kernel), process.row.tenant
    if at:
        await store.current()
    then = files.moment(kernel, process, one.path, at)
    row, pieces, skip, length = await store.read(_stretch, tenant, one, then, left)
    if row is None:
        return FileContent(path=one.path)
    return FileContent(
        path=one.path,
        version=row.version,
        size=row.size,
        offset=one.offset,
        data=await file_content.joined(kernel, tenant, pieces, skip, length),
        pieces=tuple(pieces),
        skip=skip,
        length=length,
        labels=row.labels,
    )


def _stretch(
    tree: FileTree, tenant: TenantId, one: FileRead, at: Seq | None, left: int
) -> tuple[Version | None, list[Piece], int, int]:
    """The version, the pieces that the stretch lies in, what to skip of them, and its length."""
    row = _wanted(tree, tenant, one, at)
    if row is None:
        return None, [], 0, 0
    most = left if one.length is None else min(left, one.length)
    length = min(most, max(0, row.size - one.offset))
    return row, *tree.pieces(row, one.offset, length), length


def _wanted(tree: FileTree, tenant: TenantId, one: FileRead, at: Seq | None) -> Version | None:
    """The version that is meant; None where it need not be there.  Raises `NotFound`."""
    if one.version is not None:
        row: Version | None = tree.version(tenant, one.path, one.version)
    elif at is not None:
        row = tree.as_of(tenant, one.path, at)
    else:
        row = tree.head(tenant, one.path)
    if one.optional and (row is None or row.deleted):
        return None
    if row is None:
        raise NotFound(f"there is no file {one.path}" + (f" at {at}" if at is not None else ""))
    if row.deleted:
        raise NotFound(f"{one.path} {DELETED}")
    return row


async def list_files(
    kernel: Kernel, process: Process, running: Running, call: ListFiles
) -> Listing:
    await files.store(kernel).current()
    at = files.store(kernel).durable_seq
    then = files.moment(kernel, process, call.path, call.at)
    mount = kernel.tables.files.mount(process.row.tenant, call.path)
    more = ""
    if call.what in ("snapshots", "shares", "mounts"):
        rows = said(kernel, process, call)
    elif mount is not None:
        rows = await _list_host(kernel, mount, call)
    else:
        rows, more = await files.store(kernel).read(listing.page, process.row.tenant, call, then)
        rows += _mounted(kernel, process, call)
    shown = [row for row in rows if files.may(kernel, process, row.path, "read")]
    if call.what == "versions" and not rows and not call.after:
        raise NotFound(f"there is no file {call.path}")
    return Listing(files=tuple(shown), more=more, at=at, facts=Facts(call=running.id))


def said(kernel: Kernel, process: Process, call: ListFiles) -> list[FileView]:
    """Snapshots, shares or mounts of a folder and of those below it."""
    table, tenant = kernel.tables.files, process.row.tenant
    rows: list[FileView] = []
    for (whose, path), named in table.snapshots.items():
        if call.what == "snapshots" and whose == tenant and paths.is_below(path, call.path):
            rows += [
                FileView(
                    path=path,
                    kind="snapshot",
                    note=row.name,
                    seq=row.at,
                    at_ns=row.made.at_ns,
                    process=row.made.process,
                )
                for row in named.values()
            ]
    for (whose, path), shares in table.shares.items():
        if call.what == "shares" and whose == tenant and paths.is_below(path, call.path):
            rows += [
                FileView(
                    path=path,
                    kind="share",
                    note=f"{row.who} {row.right}",
                    seq=row.made.seq,
                    at_ns=row.made.at_ns,
                    process=row.made.process,
                )
                for row in shares.values()
            ]
    if call.what == "mounts":
        rows += [
            mount_view(row)
            for (whose, path), row in table.mounts.items()
            if whose == tenant and paths.is_below(path, call.path)
        ]
    return sorted(rows, key=lambda row: (row.path, row.seq))


def mount_view(row: MountRow) -> FileView:
    return FileView(
        path=row.path,
        kind="mount",
        note=row.folder + ("" if row.writable else " (read only)"),
        seq=row.made.seq,
        at_ns=row.made.at_ns,
        process=row.made.process,
    )


def _mounted(kernel: Kernel, process: Process, call: ListFiles) -> list[FileView]:
    """Mounts that lie in the very folder that is listed."""
    if call.what != "files" or call.after or call.since is not None or call.at:
        return []
    rows = kernel.tables.files.mounts.values()
    return [
        mount_view(row)
        for row in rows
        if row.tenant == process.row.tenant and (row.path.rpartition("/")[0] or "/") == call.path
    ]


# Folders of the host.


def words(mount: MountRow, path: str) -> list[str]:
    """The way from a mount's folder to a path in it."""
    return [word for word in path.removeprefix(mount.path).split("/") if word]


async def _read_host(kernel: Kernel, mount: MountRow, one: FileRead, left: int) -> FileContent:
    if one.version is not None:
        raise BadCall(f"{one.path} lies in a mounted folder, which keeps no versions")
    length = min(left, one.length if one.length is not None else left)
    found, data = await files.store(kernel).disk(
        jail.read, Path(mount.folder), words(mount, one.path), one.offset, length
    )
    known = await files.store(kernel).read(FileTree.outside, mount.tenant, one.path)
    return FileContent(
        path=one.path,
        version=found.version,
        size=found.size,
        offset=one.offset,
        data=data,
        length=len(data),
        labels=together(known, (tainted.OUTSIDE,)),
    )


async def _list_host(kernel: Kernel, mount: MountRow, call: ListFiles) -> list[FileView]:
    if call.at or call.since is not None or call.deep or call.what == "versions":
        raise BadCall(f"{call.path} lies in a mounted folder: it has no versions and no past")
    rows = await files.store(kernel).disk(
        jail.listed, Path(mount.folder), words(mount, call.path), call.limit
    )
    return [
        FileView(
            path=paths.inside(call.path) + row.name,
            kind="folder" if row.is_folder else "file",
            version=row.version,
            size=row.size,
            at_ns=Nanoseconds(row.version),
        )
        for row in rows
    ]


async def _write_host(
    kernel: Kernel,
    process: Process,
    running: Running,
    call: WriteFiles,
    mounted: Sequence[MountRow | None],
) -> Changed:
    """One file, whole: there is nothing that could make several appear at once."""
    mount, one = mounted[0], call.files[0]
    if mount is None or len(call.files) > 1:
        raise BadCall(f"{mount.path if mount else one.path}: a mounted file is written by itself")
    if not mount.writable:
        raise Denied(f"{mount.path} is mounted to be read only")
    if one.append and one.if_version is None:
        raise BadCall(
            f"{one.path}: a mounted file grows with `if_version` only: nothing is added twice"
        )
    store, way, root = files.store(kernel), words(mount, one.path), Path(mount.folder)
    there = await store.disk(jail.look, root, way)
    require_version(one.path, one.if_version, there.version if there is not None else 0)
    _require_size(kernel, one.path, _size(kernel, process.row.tenant, running, one))
    await store.alone()
    labels = tainted.kept(running, one.labels)
    header = kernel.emit(
        process.id,
        process.row.tenant,
        PiecesStored(pieces=one.pieces, path=one.path if labels else "", labels=labels),
        call=running.id,
        cause=running.seq,
        parts=running.parts,
    )
    await kernel.journal.durable(header.seq)
    length = sum(piece.size for piece in one.pieces)
    data = await file_content.joined(kernel, process.row.tenant, one.pieces, 0, length)
    if one.append and there is not None:
        _, before = await store.disk(jail.read, root, way, 0, there.size)
        data = before + data
    made = await store.disk(jail.write, root, way, data, f".{running.id}")
    version = FileVersion(path=one.path, version=made.version)
    return Changed(files=(version,), at=header.moment, facts=Facts(call=running.id))
