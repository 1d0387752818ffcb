"""A page of a listing: the files of a folder with its subfolders, all below it, or versions."""

from typing import Final

from orlop.abi.files import FileView, ListFiles
from orlop.abi.ids import Seq, TenantId
from orlop.files import paths
from orlop.files.tree import FileTree, Version

Page = tuple[list[FileView], str]

STRETCH_MAX: Final = 256
"""Files that are looked at together."""


def view(row: Version) -> FileView:
    return FileView(
        path=row.path,
        kind="deleted" if row.deleted else "file",
        version=row.version,
        size=row.size,
        digest=row.digest,
        seq=row.seq,
        at_ns=row.at_ns,
        process=row.process,
        labels=row.labels,
    )


def page(tree: FileTree, tenant: TenantId, call: ListFiles, at: Seq | None) -> Page:
    """The lines, and the path after which there are more (empty: there are not)."""
    if call.what == "versions":
        return _versions(tree, tenant, call)
    if call.deep or call.reverse or at is not None or call.since is not None:
        return _deep(tree, tenant, call, at)
    return _shallow(tree, tenant, call)


def _versions(tree: FileTree, tenant: TenantId, call: ListFiles) -> Page:
    after = int(call.after) if call.after.isdecimal() else 0
    rows = tree.versions(tenant, call.path, after, call.limit + 1)
    more = str(rows[call.limit - 1].version) if len(rows) > call.limit else ""
    return [view(row) for row in rows[: call.limit]], more


def _deep(tree: FileTree, tenant: TenantId, call: ListFiles, at: Seq | None) -> Page:
    rows = tree.below(
        tenant,
        call.path,
        after=call.after,
        limit=call.limit + 1,
        at=at,
        since=call.since,
        reverse=call.reverse,
    )
    own = None if call.after else _own(tree, tenant, call, at)
    views = [view(row) for row in ([own] if own is not None else []) + rows]
    more = views[call.limit - 1].path if len(views) > call.limit else ""
    views = views[: call.limit]
    return (views if call.deep else _folded(views, call.path)), more


def _own(tree: FileTree, tenant: TenantId, call: ListFiles, at: Seq | None) -> Version | None:
    """The path itself, if it is a file."""
    row = tree.head(tenant, call.path) if at is None else tree.as_of(tenant, call.path, at)
    if row is None or (call.since is not None and row.seq <= call.since):
        return None
    return row if not row.deleted or call.since is not None else None


def _folded(views: list[FileView], folder: str) -> list[FileView]:
    """Files that lie deeper as the folder that they lie in."""
    shown: dict[str, FileView] = {}
    for row in views:
        name, slash, _ = row.path.removeprefix(paths.inside(folder)).partition("/")
        path = paths.inside(folder) + name
        shown.setdefault(path, FileView(path=path, kind="folder") if slash else row)
    return list(shown.values())


def _shallow(tree: FileTree, tenant: TenantId, call: ListFiles) -> Page:
    """What lies in a folder costs what is shown of it, not what lies deeper: files are looked at in
    stretches that double, and each folder is leapt over."""
    views: list[FileView] = []
    inside, at, count = paths.inside(call.path), call.after, 1
    if not at and (own := tree.head(tenant, call.path)) is not None and not own.deleted:
        views.append(view(own))
    while True:
        rows = tree.below(tenant, call.path, after=at, limit=count)
        leapt = False
        for row in rows:
            if len(views) == call.limit:
                return views, at
            name, slash, _ = row.path.removeprefix(inside).partition("/")
            if slash:
                views.append(FileView(path=inside + name, kind="folder"))
                at, count, leapt = paths.last_below(inside + name), 1, True
                break
            views.append(view(row))
            at = row.path
        if not leapt:
            if len(rows) < count:
                return views, ""
            count = min(2 * count, STRETCH_MAX)
