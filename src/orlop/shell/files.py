"""`orlop files`: the versioned tree that agents share, from the command line."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import click

from orlop.abi.errors import BadCall
from orlop.abi.files import FileView, MountOrder
from orlop.console.frame import Frame, framed
from orlop.console.lazy import Entry, LazyGroup
from orlop.console.screen import counted, date, show_json, show_json_line, size, table
from orlop.sdk.place import is_process
from orlop.sdk.sync import SyncKernel

READ_BYTES: Final = 1 << 20
TREE: Final = "The tree"
PAST: Final = "Versions"
SHARING: Final = "Together"
HERE: Final = "orlop.shell.files:"

COMMANDS: Final = {
    "ls": Entry(TREE, "List a folder.", HERE + "ls"),
    "cat": Entry(TREE, "Print files.", HERE + "cat"),
    "put": Entry(TREE, "Write a file from a local one, or from standard input.", HERE + "put"),
    "get": Entry(TREE, "Copy a file to a local one.", HERE + "get"),
    "rm": Entry(TREE, "Delete files or folders; their versions stay.", HERE + "rm"),
    "mv": Entry(TREE, "Move a file or a folder.", HERE + "mv"),
    "cp": Entry(TREE, "Copy a file or a folder; nothing is stored twice.", HERE + "cp"),
    "search": Entry(TREE, "Find text files by what is in them.", HERE + "search"),
    "sync": Entry(
        TREE, "Keep a local folder and a folder of the tree alike.", "orlop.shell.file_sync:sync"
    ),
    "do": Entry(TREE, "Do what you say in plain words.", "orlop.shell.file_words:do"),
    "versions": Entry(PAST, "List a file's versions.", HERE + "versions"),
    "diff": Entry(PAST, "Show what two versions differ in.", HERE + "diff"),
    "rollback": Entry(PAST, "Take a file or a folder back, as new versions.", HERE + "rollback"),
    "snapshot": Entry(
        PAST, "Name a folder's present state, or list such names.", HERE + "snapshot"
    ),
    "restore": Entry(PAST, "Bring a snapshot back, as new versions.", HERE + "restore"),
    "watch": Entry(SHARING, "Print changes as they happen.", HERE + "watch"),
    "share": Entry(SHARING, "Say who may do what with a folder.", HERE + "share"),
    "shares": Entry(SHARING, "List what was said of whom.", HERE + "shares"),
    "mount": Entry(SHARING, "Let agents see a folder of this machine.", HERE + "mount"),
    "unmount": Entry(SHARING, "Let them see it no longer.", HERE + "unmount"),
    "mounts": Entry(SHARING, "List such folders.", HERE + "mounts"),
    "send": Entry(SHARING, "Put a message into a pipe.", HERE + "send"),
    "take": Entry(SHARING, "Take a message out of a pipe; waits for one.", HERE + "take"),
}


class Files(LazyGroup):
    entries = COMMANDS


@click.group(cls=Files)
def files() -> None:
    """Agents' files: versions, search, sharing.

    A path begins at the root of the tree; inside a process a relative one begins at the agent's own
    folder, /home/NAME.
    """


def kernel(frame: Frame) -> SyncKernel:
    return SyncKernel(frame.link())


def path_of(text: str) -> str:
    """As the kernel takes it: an operator has no folder of his own."""
    return text if text.startswith("/") or is_process() else "/" + text


@click.command()
@click.argument("path", default="")
@click.option("--deep", "-R", is_flag=True, help="All files below.")
@click.option("--at", default="", help="As of a snapshot or a sequence number.")
@click.option("--since", type=int, help="What has changed after this sequence number.")
@framed
def ls(frame: Frame, path: str, deep: bool, at: str, since: int | None) -> None:
    """List a folder."""
    found = kernel(frame).files.list(path_of(path), deep=deep, at=at, since=since)
    show_views(frame, found, "nothing there")


@click.command()
@click.argument("path")
@framed
def versions(frame: Frame, path: str) -> None:
    """List a file's versions."""
    show_views(frame, kernel(frame).files.versions(path_of(path)), "nothing there")


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--version", type=int, help="Not the newest.")
@click.option("--at", default="", help="As of a snapshot or a sequence number.")
@framed
def cat(frame: Frame, paths: tuple[str, ...], version: int | None, at: str) -> None:
    """Print files."""
    for path in paths:
        data = kernel(frame).files.read(path_of(path), version=version, at=at)
        _print(frame, path_of(path), data)


@click.command()
@click.argument("path")
@click.argument("source", type=click.File("rb"), default="-")
@click.option("--append", is_flag=True, help="Add to what is there.")
@click.option("--if-version", type=int, help="Only if this is the newest; 0: if there is none.")
@framed
def put(frame: Frame, path: str, source: BinaryIO, append: bool, if_version: int | None) -> None:
    """Write a file from a local one, or from standard input."""
    first = source.read(READ_BYTES)
    content = first if len(first) < READ_BYTES else _pieces(first, source)
    made = kernel(frame).files.write(path_of(path), content, append=append, if_version=if_version)
    if frame.as_json:
        show_json({"path": path_of(path), "version": made})
    else:
        click.echo(f"{path_of(path)}: version {made}")


def _pieces(first: bytes, source: BinaryIO) -> Iterator[bytes]:
    yield first
    while data := source.read(READ_BYTES):
        yield data


@click.command()
@click.argument("path")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--version", type=int, help="Not the newest.")
@framed
def get(frame: Frame, path: str, target: Path, version: int | None) -> None:
    """Copy a file to a local one."""
    tree = kernel(frame).files
    found = tree.stretch(path_of(path), version=version)
    of = found.version if found.pieces else None  # A mounted file has no versions.
    if not target.parent.is_dir():
        raise BadCall(f"{target.parent}: there is no such folder")
    part, done = target.with_name(target.name + ".orlop-part"), 0
    try:
        with part.open("wb") as file:
            while True:
                file.write(found.data)
                done += len(found.data)
                if done >= found.size or not found.data:
                    break
                found = tree.stretch(path_of(path), version=of, offset=done)
        part.replace(target)
    except OSError as error:  # It names no file where the disk is full.
        part.unlink(missing_ok=True)
        raise BadCall(f"{target}: {error.strerror}") from error
    if frame.as_json:
        show_json({"path": path_of(path), "target": str(target), "size": done})
    else:
        click.echo(f"{target}: {size(done)}")


@click.command()
@click.argument("paths", nargs=-1, required=True)
@framed
def rm(frame: Frame, paths: tuple[str, ...]) -> None:
    """Delete files or folders; their versions stay."""
    for path in paths:
        kernel(frame).files.delete(path_of(path))
    _done(frame, deleted=[path_of(path) for path in paths])


@click.command()
@click.argument("path")
@click.argument("to")
@framed
def mv(frame: Frame, path: str, to: str) -> None:
    """Move a file or a folder."""
    kernel(frame).files.move(path_of(path), path_of(to))
    _done(frame, moved=path_of(path), to=path_of(to))


@click.command()
@click.argument("path")
@click.argument("to")
@framed
def cp(frame: Frame, path: str, to: str) -> None:
    """Copy a file or a folder; nothing is stored twice."""
    kernel(frame).files.copy(path_of(path), path_of(to))
    _done(frame, copied=path_of(path), to=path_of(to))


@click.command()
@click.argument("text")
@click.option("--path", default="/", show_default=True, help="Below this folder.")
@click.option("--limit", default=10, show_default=True)
@click.option("--model", default="", help="Search by meaning too, with this model's vectors.")
@framed
def search(frame: Frame, text: str, path: str, limit: int, model: str) -> None:
    """Find text files by what is in them."""
    found = kernel(frame).files.search(text, path=path_of(path), limit=limit, model=model)
    if frame.as_json:
        show_json(found)
        return
    for hit in found.hits:
        shown = " ".join(hit.text.split())[:160]
        click.echo(f"{click.style(hit.path, bold=True)} (version {hit.version}, {hit.score:.3g})")
        click.echo(f"    {shown}")
    if not found.hits:
        click.echo("nothing found")
    if found.unread:
        click.echo(f"{found.unread} files are not indexed yet", err=True)


@click.command()
@click.argument("path")
@click.argument("old", type=int)
@click.argument("new", type=int, required=False)
@framed
def diff(frame: Frame, path: str, old: int, new: int | None) -> None:
    """Show what two versions differ in; without NEW, what the newest differs in."""
    text = kernel(frame).files.diff(path_of(path), old, new)
    if frame.as_json:
        show_json({"path": path_of(path), "old": old, "new": new, "diff": text})
    elif text:
        click.echo(text)


@click.command()
@click.argument("path")
@click.argument("version", type=int, required=False)
@click.option("--at", default="", help="As of a snapshot or a sequence number.")
@framed
def rollback(frame: Frame, path: str, version: int | None, at: str) -> None:
    """Take a file back to a version, or a file or a folder to a moment, as new versions."""
    made = kernel(frame).files.rollback(path_of(path), version=version, at=at)
    if frame.as_json:
        show_json(made)
    else:
        click.echo("\n".join(f"{one.path}: version {one.version}" for one in made) or "as it was")


@click.command()
@click.argument("path", default="/")
@click.argument("name", required=False)
@framed
def snapshot(frame: Frame, path: str, name: str | None) -> None:
    """Give a folder's present state a NAME; without one, list such names."""
    tree = kernel(frame).files
    if name is None:
        show_views(frame, tree.said("snapshots", path_of(path)), "no snapshots")
        return
    at = tree.snapshot(path_of(path), name)
    if frame.as_json:
        show_json({"path": path_of(path), "name": name, "at": at})
    else:
        click.echo(f"{path_of(path)} as of event {at} is called {name}")


@click.command()
@click.argument("path")
@click.argument("name")
@framed
def restore(frame: Frame, path: str, name: str) -> None:
    """Bring a snapshot back, as new versions; what came since is deleted."""
    made = kernel(frame).files.restore(path_of(path), name)
    if frame.as_json:
        show_json(made)
    else:
        click.echo(f"{counted(len(made), 'file')} changed")


@click.command()
@click.argument("path", default="/")
@click.option("--since", type=int, help="Begin after this sequence number; default: now.")
@click.option("--once", is_flag=True, help="End after the first change.")
@framed
def watch(frame: Frame, path: str, since: int | None, once: bool) -> None:
    """Print changes as they happen."""
    tree = kernel(frame).files
    at = tree.now(path_of(path)) if since is None else since
    while True:
        found = tree.watch(path_of(path), at)
        at = found.at
        for row in found.files:
            if frame.as_json:
                show_json_line(row)
            else:
                click.echo(f"{row.kind}  {row.path}  version {row.version}  {size(row.size)}")
        if once:
            return


@click.command()
@click.argument("path")
@click.argument("who")
@click.argument("right", type=click.Choice(["read", "write", "none", "forget"]), default="read")
@framed
def share(frame: Frame, path: str, who: str, right: str) -> None:
    """Say who may do what with a folder; `forget`: as if nothing had been said of him.

    WHO is agent:NAME, team:NAME, task:NAME or organisation.
    """
    rights = {"read": "read", "write": "write", "none": "none"}
    _share(frame, path_of(path), who, rights.get(right))
    _done(frame, path=path_of(path), who=who, right=right)


def _share(frame: Frame, path: str, who: str, right: str | None) -> None:
    tree = kernel(frame).files
    match right:
        case "read" | "write" | "none":
            tree.share(path, who, right)
        case _:
            tree.share(path, who, None)


@click.command()
@click.argument("path", default="/")
@framed
def shares(frame: Frame, path: str) -> None:
    """List what was said of whom."""
    show_views(frame, kernel(frame).files.said("shares", path_of(path)), "nothing is shared apart")


@click.command()
@click.argument("path")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--write", "writable", is_flag=True, help="Agents may change it too.")
@framed
def mount(frame: Frame, path: str, folder: Path, writable: bool) -> None:
    """Let agents see a FOLDER of this machine at PATH; no link leads out of it."""
    order = MountOrder(path=path_of(path), folder=str(folder.resolve()), writable=writable)
    made = frame.operator().mount(order)
    if frame.as_json:
        show_json(made)
    else:
        click.echo(f"{made.path}: {made.note}")


@click.command()
@click.argument("path")
@framed
def unmount(frame: Frame, path: str) -> None:
    """Let agents see it no longer; what lies in it stays."""
    frame.operator().unmount(path_of(path))
    _done(frame, unmounted=path_of(path))


@click.command()
@framed
def mounts(frame: Frame) -> None:
    """List the folders of this machine that agents see."""
    show_views(frame, frame.operator().mounts(), "nothing is mounted")


@click.command()
@click.argument("pipe")
@click.argument("source", type=click.File("rb"), default="-")
@framed
def send(frame: Frame, pipe: str, source: BinaryIO) -> None:
    """Put a message into a pipe, from a file or from standard input."""
    message = source.read()
    kernel(frame).files.put(path_of(pipe), message)
    _done(frame, pipe=path_of(pipe), size=len(message))


@click.command()
@click.argument("pipe")
@framed
def take(frame: Frame, pipe: str) -> None:
    """Take the oldest message out of a pipe; waits for one."""
    _print(frame, path_of(pipe), kernel(frame).files.take(path_of(pipe)))


def _print(frame: Frame, path: str, data: bytes) -> None:
    """Content as it is; as JSON in base 64, a line each."""
    if frame.as_json:
        show_json_line({"path": path, "data": data})
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _done(frame: Frame, **what: str | int | list[str]) -> None:
    """What was done, for `--json`; people see that nothing is wrong."""
    if frame.as_json:
        show_json(what)


def show_views(frame: Frame, rows: Sequence[FileView], nothing: str) -> None:
    if frame.as_json:
        show_json(rows)
    elif not rows:
        click.echo(nothing)
    else:
        titles = ("PATH", "KIND", "VERSION", "SIZE", "EVENT", "CHANGED", "NOTE")
        lines = [
            (
                row.path,
                row.kind,
                str(row.version or "-"),
                size(row.size) if row.kind == "file" else "-",
                str(row.seq or "-"),
                date(row.at_ns or None),
                row.note,
            )
            for row in rows
        ]
        click.echo(table(titles, lines, frozenset({2, 3, 4})))
