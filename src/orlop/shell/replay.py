"""`orlop replay`: a process once more, from its record alone."""

import sys
from typing import Final

import click

from orlop.abi.admin import ProcessView
from orlop.sdk.operator import Operator
from orlop.shell.exits import CONFLICT, OK, status_of_process
from orlop.shell.follow import follow
from orlop.shell.frame import Frame, framed
from orlop.shell.screen import show_json

POLL_S: Final = 0.2
DIVERGED: Final = "diverged"


@click.command()
@click.argument("process")
@click.option("--strict", is_flag=True, help="Compare the order of calls too, and stop at once.")
@click.option("--output", is_flag=True, help="Show what the program prints, too.")
@framed
def replay(frame: Frame, process: str, strict: bool, output: bool) -> int:
    """Run a process again from its record alone.

    No engine and no tool is asked.  At the first call that the record does not hold it stops and
    shows the difference; the exit code is then 6.
    """
    operator = frame.operator()
    view = operator.replay(process, strict=strict)
    ended = follow(operator, view, as_json=frame.as_json) if output else _watch(operator, view)
    return _report(frame, ended)


def _watch(operator: Operator, view: ProcessView) -> ProcessView:
    """A bar of the calls that were answered, on a terminal."""
    ended: ProcessView | None = None
    with click.progressbar(length=max(view.calls, 1), label="calls", file=sys.stderr) as bar:
        while ended is None:
            ended = operator.wait(view.id, POLL_S)
            now = ended or operator.process(view.id)
            bar.update(max(0, now.calls_replayed - bar.pos))
    return ended


def _report(frame: Frame, ended: ProcessView) -> int:
    diverged = DIVERGED in ended.reason
    if frame.as_json:
        show_json(ended)
    elif diverged:
        click.echo(click.style("diverged from its record", fg="red", bold=True), err=True)
        click.echo(ended.reason, err=True)
    else:
        click.echo(f"{ended.calls_replayed:,} of {ended.calls:,} calls came from the record")
    return CONFLICT if diverged else OK if ended.status == 0 else status_of_process(ended.status)
