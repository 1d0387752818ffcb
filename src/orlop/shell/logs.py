"""`orlop logs`: what a process printed."""

import click

from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json_line
from orlop.shell.completing import any_process
from orlop.shell.follow import Follower, show_line


@click.command()
@click.argument("process", shell_complete=any_process)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until it has ended.")
@click.option(
    "--stream",
    type=click.Choice(["all", "out", "err"]),
    default="all",
    show_default=True,
    help="Standard output, standard error, or both.",
)
@click.option(
    "--incarnation",
    type=click.IntRange(min=1),
    help="Which run of it; not with -f.  Default: the newest.",
)
@framed
def logs(frame: Frame, process: str, following: bool, stream: str, incarnation: int | None) -> None:
    """Show what a process printed.

    With -f Ctrl-C ends the following, not the process.
    """
    if following and incarnation is not None:
        raise click.UsageError("--incarnation and --follow don't go together")
    operator = frame.operator()
    if following:
        follower = Follower(operator, operator.process(process), stream, as_json=frame.as_json)
        while follower.read_on() is None:
            pass
        return
    for line in operator.output(process, stream=stream, incarnation=incarnation):
        if frame.as_json:
            show_json_line(line)
        else:
            show_line(line)
