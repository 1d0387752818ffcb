"""`orlop coverage`: which share of a process's effects passed the door."""

import click

from orlop.abi.egress import Coverage
from orlop.console.exits import OK
from orlop.console.frame import Frame, framed
from orlop.console.screen import fields, show_json, table
from orlop.shell.completing import any_process


@click.command()
@click.argument("process", shell_complete=any_process)
@framed
def coverage(frame: Frame, process: str) -> int:
    """Show how much of what a process did its record covers.

    What passed the door is recorded, so a resume and a replay answer it.  What went beside it is
    counted where a sandbox saw it, and unknown where there is none.
    """
    found = frame.operator().coverage(process)
    if frame.as_json:
        show_json(found)
        return OK
    click.echo(fields(_head(found)))
    rows = [
        (kind.kind, str(kind.through), "unknown" if kind.beside is None else str(kind.beside))
        for kind in found.kinds
    ]
    click.echo(table(("EFFECT", "THROUGH THE DOOR", "BESIDE IT"), rows, frozenset({1, 2})))
    return OK


def _head(found: Coverage) -> list[tuple[str, str]]:
    share = "unknown" if found.share is None else f"{100 * found.share:.0f} %"
    lines = [("process", str(found.pid)), ("covered", share)]
    lines.append(("sandbox", found.tier if found.sandboxed else "none"))
    if found.reason:
        lines.append(("because", found.reason))
    return lines
