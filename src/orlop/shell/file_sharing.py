"""`orlop files watch`, `share`, `mount`, `send`, `take`: a tree that several work on."""

from pathlib import Path
from typing import BinaryIO, Literal

import click

from orlop.abi.files import MountOrder
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json, show_json_line, size
from orlop.shell.files import kernel, path_of, show_content, show_done, show_views


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
def share(
    frame: Frame, path: str, who: str, right: Literal["read", "write", "none", "forget"]
) -> None:
    """Say who may do what with a folder; `forget`: as if nothing had been said of him.

    WHO is agent:NAME, team:NAME, task:NAME or organisation.
    """
    kernel(frame).files.share(path_of(path), who, None if right == "forget" else right)
    show_done(frame, path=path_of(path), who=who, right=right)


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
    show_done(frame, unmounted=path_of(path))


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
    show_done(frame, pipe=path_of(pipe), size=len(message))


@click.command()
@click.argument("pipe")
@framed
def take(frame: Frame, pipe: str) -> None:
    """Take the oldest message out of a pipe; waits for one."""
    show_content(frame, path_of(pipe), kernel(frame).files.take(path_of(pipe)))
