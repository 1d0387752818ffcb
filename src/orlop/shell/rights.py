"""`orlop rights`: what a process may do."""

import click

from orlop.abi.capabilities import RightsView
from orlop.console.frame import Frame, framed
from orlop.console.screen import counted, show_json
from orlop.shell.completing import any_process


class RightsGroup(click.Group):
    """`orlop rights PID` is short for `orlop rights show PID`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, "-h", "--help"}
        return super().parse_args(ctx, args if not args or args[0] in known else ["show", *args])


@click.group(cls=RightsGroup)
def rights() -> None:
    """Show what a process may do; give and take.

    \b
    orlop rights PID                        what it may do
    orlop rights grant PID tool:shop.buy    also this, if its parent may
    orlop rights revoke PID 'tool:shop.*'   this no more, nor its children
    """


@rights.command()
@click.argument("process", shell_complete=any_process)
@framed
def show(frame: Frame, process: str) -> None:
    """Show what a process (pid, id or name) may do."""
    _show(frame, frame.operator().rights(process))


@rights.command()
@click.argument("process", shell_complete=any_process)
@click.argument("right")
@framed
def grant(frame: Frame, process: str, right: str) -> None:
    """Give a process a right.  A child may not hold more than its parent."""
    _show(frame, frame.operator().grant(process, right))


@rights.command()
@click.argument("process", shell_complete=any_process)
@click.argument("right")
@framed
def revoke(frame: Frame, process: str, right: str) -> None:
    """Take a right from a process, and from all its descendants."""
    _show(frame, frame.operator().revoke(process, right))


def _show(frame: Frame, view: RightsView) -> None:
    if frame.as_json:
        show_json(view)
        return
    click.echo(f"process {view.pid} ({view.name}) may:")
    for right in view.rights:
        click.echo(f"  {'everything' if right == '*' else right}")
    if not view.rights:
        click.echo("  nothing")
    if view.refused:
        click.echo(f"{counted(view.refused, 'call')} refused for want of a right")
