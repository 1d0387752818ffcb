"""`orlop people`: who answers for agents, and what his work comes to."""

from collections.abc import Mapping
from typing import Final, get_args

import click

from orlop.abi.people import PeopleView, TouchOrder, Work
from orlop.abi.questions import Touch
from orlop.console.frame import Frame, framed
from orlop.console.screen import money, show_json, table
from orlop.shell.answers import PERSON, speaker
from orlop.shell.completing import any_process

NOTES: Final[Mapping[str, Touch]] = {name: name for name in get_args(Touch)}


@click.group(invoke_without_command=True)
@framed
def people(frame: Frame) -> None:
    """Show people's work and what it costs, by person and by process; keep their tokens."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    view = frame.people().people()
    if frame.as_json:
        show_json(view)
    else:
        click.echo(_text(view))


def _text(view: PeopleView) -> str:
    if not view.people:
        return "nobody has spoken yet; `orlop people add NAME` gives a person a token"
    rows = [
        (person.name, "yes" if person.secret_digest else "-", *_work(person.work))
        for person in view.people
    ]
    text = table(("PERSON", "TOKEN", "TOUCHES", "MINUTES", "COST"), rows, frozenset({3, 4}))
    if not view.processes:
        return text
    processes = [(str(one.pid), one.name, *_work(one.work)) for one in view.processes]
    titles = ("PID", "NAME", "TOUCHES", "MINUTES", "COST")
    return f"{text}\n\n{table(titles, processes, frozenset({0, 3, 4}))}"


def _work(work: Work) -> tuple[str, str, str]:
    touches = ", ".join(f"{count} {touch}" for touch, count in sorted(work.touches.items()))
    return touches or "-", f"{work.minutes:g}", money(work.cost)


@people.command("add")
@click.argument("name")
@framed
def add(frame: Frame, name: str) -> None:
    """Give NAME a token, so that nobody else speaks in that name.  It is shown once."""
    made = frame.people().add(name)
    if frame.as_json:
        show_json(made)
    else:
        click.echo(made.token)
        click.echo(f"{name} sets ORLOP_PERSON_TOKEN to this; it is not shown again", err=True)


@people.command("remove")
@click.argument("name")
@framed
def remove(frame: Frame, name: str) -> None:
    """Take NAME's token back; what the person has done stays."""
    frame.people().remove(name)
    if frame.as_json:
        show_json({"removed": name})
    else:
        click.echo(f"{name} has no token any more")


@people.command("note")
@click.argument("process", shell_complete=any_process)
@click.argument("minutes", type=float)
@click.option(
    "--kind",
    type=click.Choice(list(NOTES)),
    default="note",
    show_default=True,
    help="What kind of work it was.",
)
@click.option("--note", default="", help="What it was.")
@PERSON
@framed
def note(frame: Frame, process: str, minutes: float, kind: str, note: str, person: str) -> None:
    """Book MINUTES of work for a process that no answer holds."""
    order = TouchOrder(
        process=process,
        minutes=minutes,
        touch=NOTES[kind],
        person=speaker(person),
        note=note,
    )
    work = frame.people().note(order)
    if frame.as_json:
        show_json(work)
    else:
        click.echo("  ".join(_work(work)))
