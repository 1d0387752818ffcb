"""`orlop logs`: what a process printed."""

import click

from orlop.shell.follow import follow, show_line
from orlop.shell.frame import Frame, framed
from orlop.shell.screen import show_json_line


@click.command()
@click.argument("process")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until it has ended.")
@click.option(
    "--stream",
    type=click.Choice(["all", "out", "err"]),
    default="all",
    show_default=True,
    help="Standard output, standard error, or both.",
)
@click.option("--incarnation", type=click.IntRange(min=1), help="Default: the newest.")
@framed
def logs(frame: Frame, process: str, following: bool, stream: str, incarnation: int | None) -> None:
    """Show what a process printed."""
    operator = frame.operator()
    if following:
        follow(operator, operator.process(process), as_json=frame.as_json)
        return
    for line in operator.output(process, stream=stream, incarnation=incarnation):
        if frame.as_json:
            show_json_line(line)
        else:
            show_line(line)
