"""`orlop files versions`, `diff`, `rollback`, `snapshot`, `restore`: what was there before."""

import click

from orlop.console.frame import Frame, framed
from orlop.console.screen import counted, show_json
from orlop.shell.files import kernel, path_of, show_views


@click.command()
@click.argument("path")
@framed
def versions(frame: Frame, path: str) -> None:
    """List a file's versions."""
    show_views(frame, kernel(frame).files.versions(path_of(path)), "nothing there")


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
