"""`orlop replay`: a process once more, from its record alone."""

from typing import Final

import click

from orlop.abi.admin import ProcessView
from orlop.console.frame import Frame, framed
from orlop.console.progress import Report, bars
from orlop.console.screen import counted
from orlop.sdk.operator import Operator
from orlop.shell.completing import any_process
from orlop.shell.ending import report_end
from orlop.shell.follow import attend

POLL_S: Final = 0.2


@click.command()
@click.argument("process", shell_complete=any_process)
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
    if output:
        return _report(frame, attend(operator, view, as_json=frame.as_json))
    with bars(quiet=frame.as_json) as report:
        ended = _watch(operator, view, report)
    return _report(frame, ended)


def _watch(operator: Operator, view: ProcessView, report: Report) -> ProcessView:
    """Tell how many calls were answered until it has ended."""
    while True:
        ended = operator.wait(view.id, POLL_S)
        now = ended or operator.process(view.id)
        report("calls", now.calls_replayed, max(now.calls, now.calls_replayed))
        if ended is not None:
            return ended


def _report(frame: Frame, ended: ProcessView) -> int:
    if ended.divergence or frame.as_json:
        return report_end(frame, ended)
    left = ended.calls - ended.calls_replayed
    more = f"; {left:,} more in it were cut off, or not made this time" if left > 0 else ""
    click.echo(f"{counted(ended.calls_replayed, 'call')} came from the record{more}")
    return report_end(frame, ended)
