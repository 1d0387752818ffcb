"""`orlop kill`, `stop`, `cont` and `wait`."""

from typing import get_args

import click

from orlop.abi.calls import SignalName
from orlop.abi.errors import Conflict, NotFound
from orlop.console.exits import OK, status_of_process
from orlop.console.frame import Frame, Refusal, framed
from orlop.console.screen import show_json, show_json_line
from orlop.shell.completing import any_process, live_process

SIGNALS: dict[str, SignalName] = {name: name for name in get_args(SignalName)}


@click.command()
@click.argument("processes", nargs=-1, required=True, shell_complete=live_process)
@click.option(
    "-s",
    "--signal",
    type=click.Choice(list(SIGNALS)),
    default="kill",
    show_default=True,
    help="`kill` lets the program clean up for a few seconds; `term` and `int` only ask.",
)
@framed
def kill(frame: Frame, processes: tuple[str, ...], signal: str) -> None:
    """End processes.

    The calls they have in flight end as killed.  `orlop resume` continues such a process later.
    """
    _send(frame, processes, SIGNALS[signal])


@click.command()
@click.argument("processes", nargs=-1, required=True, shell_complete=live_process)
@framed
def stop(frame: Frame, processes: tuple[str, ...]) -> None:
    """Pause processes: their calls wait at the door, their programs get SIGSTOP."""
    _send(frame, processes, "stop")


@click.command()
@click.argument("processes", nargs=-1, required=True, shell_complete=live_process)
@framed
def cont(frame: Frame, processes: tuple[str, ...]) -> None:
    """Let paused processes go on."""
    _send(frame, processes, "cont")


@click.command()
@click.argument("processes", nargs=-1, required=True, shell_complete=any_process)
@framed
def wait(frame: Frame, processes: tuple[str, ...]) -> int:
    """Wait until processes have ended; exits with the status of the first that failed."""
    operator = frame.operator()
    result = OK
    for ref in processes:
        view = operator.wait(ref)
        while view is None:
            view = operator.wait(ref)
        if frame.as_json:
            show_json_line(view)
        else:
            click.echo(f"{view.pid} {view.name or view.id} {view.state} {view.status}")
        result = result or status_of_process(view.status)
    return result


def _send(frame: Frame, processes: tuple[str, ...], signal: SignalName) -> None:
    """One that has ended meanwhile keeps no signal from the others."""
    operator = frame.operator()
    refused: dict[str, NotFound | Conflict] = {}
    for ref in processes:
        try:
            operator.signal(ref, signal)
        except (NotFound, Conflict) as error:
            refused[ref] = error
    if frame.as_json:
        show_json({"signal": signal, "processes": [ref for ref in processes if ref not in refused]})
    for each in (errors := list(refused.values()))[:-1]:
        Refusal(each, frame.as_json).show()
    if errors:
        raise errors[-1]
