"""`orlop files sync`: work on the tree with ordinary tools."""

import threading
from pathlib import Path
from typing import Final

import click

from orlop.abi.errors import KernelError
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json_line
from orlop.machine import plain_clock
from orlop.sdk.file_sync import Pair
from orlop.shell.files import kernel, path_of

LOOK_S: Final = 1.0
"""Between two looks at the local folder."""

RETRY_S: Final = 5.0


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("path", default="/")
@click.option("--once", is_flag=True, help="Bring both up to date, and end.")
@framed
def sync(frame: Frame, folder: Path, path: str, once: bool) -> None:
    """Keep the local FOLDER and a folder of the tree (PATH) alike, until interrupted.

    What changed on both sides is kept twice: the local one gets a name beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def told(said: str) -> None:
        if frame.as_json:
            show_json_line({"said": said})
        else:
            click.echo(said)

    there = path_of(path)
    pair = Pair(kernel(frame).files, folder, there, told)
    while pair.bring():
        pass
    if once:
        return
    told(f"{folder} and {there} are alike; changes are brought as they come")
    moved = threading.Event()
    threading.Thread(target=_watch, args=(frame, there, moved), daemon=True).start()
    while True:
        if moved.is_set() or pair.is_changed_here():
            moved.clear()
            pair.bring()
        else:
            plain_clock.pause(LOOK_S)


def _watch(frame: Frame, there: str, moved: threading.Event) -> None:
    """Tell when something in the tree has changed.  A kernel that is away is waited for."""
    tree = kernel(frame).files
    at: int | None = None
    while True:
        try:
            at = tree.now(there) if at is None else tree.watch(there, at).at
            moved.set()
        except KernelError:
            plain_clock.pause(RETRY_S)
