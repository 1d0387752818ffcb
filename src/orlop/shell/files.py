"""`orlop files`: the versioned tree that agents share, from the command line."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import click

from orlop.abi.errors import BadCall
from orlop.abi.files import FileView
from orlop.console.frame import Frame, framed
from orlop.console.lazy import Entry, LazyGroup
from orlop.console.screen import date, show_json, show_json_line, size, table
from orlop.sdk.place import is_process
from orlop.sdk.sync import SyncKernel

READ_BYTES: Final = 1 << 20
TREE: Final = "The tree"
PAST: Final = "Versions"
SHARING: Final = "Together"
HERE: Final = "orlop.shell.files:"
BEFORE: Final = "orlop.shell.file_past:"
TOGETHER: Final = "orlop.shell.file_sharing:"

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
    "versions": Entry(PAST, "List a file's versions.", BEFORE + "versions"),
    "diff": Entry(PAST, "Show what two versions differ in.", BEFORE + "diff"),
    "rollback": Entry(PAST, "Take a file or a folder back, as new versions.", BEFORE + "rollback"),
    "snapshot": Entry(
        PAST, "Name a folder's present state, or list such names.", BEFORE + "snapshot"
    ),
    "restore": Entry(PAST, "Bring a snapshot back, as new versions.", BEFORE + "restore"),
    "watch": Entry(SHARING, "Print changes as they happen.", TOGETHER + "watch"),
    "share": Entry(SHARING, "Say who may do what with a folder.", TOGETHER + "share"),
    "shares": Entry(SHARING, "List what was said of whom.", TOGETHER + "shares"),
    "mount": Entry(SHARING, "Let agents see a folder of this machine.", TOGETHER + "mount"),
    "unmount": Entry(SHARING, "Let them see it no longer.", TOGETHER + "unmount"),
    "mounts": Entry(SHARING, "List such folders.", TOGETHER + "mounts"),
    "send": Entry(SHARING, "Put a message into a pipe.", TOGETHER + "send"),
    "take": Entry(SHARING, "Take a message out of a pipe; waits for one.", TOGETHER + "take"),
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
@click.argument("paths", nargs=-1, required=True)
@click.option("--version", type=int, help="Not the newest.")
@click.option("--at", default="", help="As of a snapshot or a sequence number.")
@framed
def cat(frame: Frame, paths: tuple[str, ...], version: int | None, at: str) -> None:
    """Print files."""
    for path in paths:
        data = kernel(frame).files.read(path_of(path), version=version, at=at)
        show_content(frame, path_of(path), data)


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
    show_done(frame, deleted=[path_of(path) for path in paths])


@click.command()
@click.argument("path")
@click.argument("to")
@framed
def mv(frame: Frame, path: str, to: str) -> None:
    """Move a file or a folder."""
    kernel(frame).files.move(path_of(path), path_of(to))
    show_done(frame, moved=path_of(path), to=path_of(to))


@click.command()
@click.argument("path")
@click.argument("to")
@framed
def cp(frame: Frame, path: str, to: str) -> None:
    """Copy a file or a folder; nothing is stored twice."""
    kernel(frame).files.copy(path_of(path), path_of(to))
    show_done(frame, copied=path_of(path), to=path_of(to))


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


def show_content(frame: Frame, path: str, data: bytes) -> None:
    """Content as it is; as JSON in base 64, a line each."""
    if frame.as_json:
        show_json_line({"path": path, "data": data})
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def show_done(frame: Frame, **what: str | int | list[str]) -> None:
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
