"""How a followed process ended: for people, for scripts, and as an exit code."""

import click

from orlop.abi.admin import ProcessView
from orlop.abi.errors import Diverged
from orlop.console.exits import CONFLICT, OK, status_of_process
from orlop.console.frame import Frame
from orlop.console.screen import show_json_line


def report_end(frame: Frame, ended: ProcessView) -> int:
    """The process's own status, or `CONFLICT` where it left its record."""
    status = CONFLICT if ended.divergence else status_of_process(ended.status)
    if frame.as_json:
        show_json_line(ended)
    elif ended.divergence:
        title = click.style(f"process {ended.pid} diverged from its record", fg="red", bold=True)
        click.echo(f"{title}\n{ended.divergence}\n  fix: {Diverged.fix}", err=True)
    elif status != OK:
        why = f" ({ended.reason})" if ended.reason else ""
        title = click.style(f"process {ended.pid} ended with {ended.status}{why}", fg="red")
        click.echo(f"{title}\n  more: orlop trace {ended.pid}", err=True)
    return status
