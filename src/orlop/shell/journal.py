"""`orlop journal`: the append-only truth, exported; its offline checks live a floor above."""

import sys
from typing import ClassVar, Final

import click

from orlop.shell.frame import Frame, framed
from orlop.shell.lazy import Entry, LazyGroup

SECTION: Final = "Commands"


class JournalGroup(LazyGroup):
    entries: ClassVar = {
        "verify": Entry(SECTION, "Check every event, on the files alone."),
        "accept-loss": Entry(SECTION, "Accept that events are gone, and sign for it."),
        "export": Entry(SECTION, "Write events as JSON lines.", "orlop.shell.journal:export"),
    }
    prefix = "journal."


@click.group(cls=JournalGroup)
def journal() -> None:
    """Verify and export the journal."""


@click.command()
@click.option("--process", default="", help="Only this process's events: a pid, an id, a name.")
@click.option("--first", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--last", type=click.IntRange(min=1), help="Default: the newest.")
@framed
def export(frame: Frame, process: str, first: int, last: int | None) -> None:
    """Write events as JSON lines: the open header and the decoded body of each.

    first, last: sequence numbers.
    """
    for line in frame.operator().export(process=process, first=first, last=last):
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
