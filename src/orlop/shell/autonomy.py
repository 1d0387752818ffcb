"""`orlop autonomy`: how far agents may go by themselves, why, and by whose word."""

from typing import Final, get_args

import click

from orlop.abi.autonomy import AutonomyView, IncidentOrder, Level, LevelOrder
from orlop.abi.errors import NotFound
from orlop.abi.questions import AnswerOrder
from orlop.console.frame import Frame, framed
from orlop.console.screen import date, fields, show_json, table
from orlop.shell.answers import MINUTES, PERSON, speaker
from orlop.shell.approvals import say_to_all

TITLES: Final = (
    "AGENT", "TOOL", "TASK", "LEVEL", "CEILING", "AGREED", "BOUND", "OVERRIDES", "UNSEEN", "SINCE",
)  # fmt: skip
NUMBERS: Final = frozenset({5, 6, 7, 8})
LEVELS: Final[dict[str, Level]] = {name: name for name in get_args(Level)}
TASK: Final = click.option("--task", default="", help="The type of its task.")


@click.group(invoke_without_command=True)
@framed
def autonomy(frame: Frame) -> None:
    """List, explain and move agents' levels; judge what was only observed.

    A level is kept for each agent, tool and type of task.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = frame.people().autonomy()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no agent has called a tool under a rule of [autonomy] yet")
    else:
        click.echo(table(TITLES, [_row(view) for view in found], NUMBERS))


@autonomy.command("why")
@click.argument("agent")
@click.argument("tool")
@TASK
@framed
def why(frame: Frame, agent: str, tool: str, task: str) -> None:
    """Explain one level: what a call meets, what moves it, and what has moved it so far."""
    for view in frame.people().autonomy():
        key = view.row.key
        if (key.agent, key.tool, key.task) == (agent, tool, task):
            _show(frame, view)
            return
    raise NotFound(f"{agent} has no level for {tool}; `orlop autonomy` lists all")


@autonomy.command("set")
@click.argument("agent")
@click.argument("tool")
@click.argument("level", type=click.Choice(list(LEVELS)))
@TASK
@click.option("--reason", default="", help="For the record.")
@PERSON
@MINUTES
@framed
def set_level(
    frame: Frame,
    agent: str,
    tool: str,
    level: str,
    task: str,
    reason: str,
    person: str,
    minutes: float,
) -> None:
    """Set a level by hand; its evidence begins anew."""
    order = LevelOrder(
        agent=agent,
        tool=tool,
        task=task,
        level=LEVELS[level],
        reason=reason,
        person=speaker(person),
        minutes=minutes,
    )
    _show(frame, frame.people().set_level(order))


@autonomy.command("incident")
@click.argument("agent")
@click.argument("tool")
@click.argument("reason")
@TASK
@PERSON
@MINUTES
@framed
def incident(
    frame: Frame, agent: str, tool: str, reason: str, task: str, person: str, minutes: float
) -> None:
    """Say that something went wrong: at once back to where the rule starts."""
    order = IncidentOrder(
        agent=agent,
        tool=tool,
        task=task,
        reason=reason,
        person=speaker(person),
        minutes=minutes,
    )
    _show(frame, frame.people().incident(order))


@autonomy.command("agree")
@click.argument("questions", nargs=-1, required=True)
@click.option("--note", default="", help="For the record.")
@PERSON
@MINUTES
@framed
def agree(frame: Frame, questions: tuple[str, ...], note: str, person: str, minutes: float) -> int:
    """Judge observed calls: they would have been right."""
    order = AnswerOrder(verdict="agree", person=speaker(person), answer=note, minutes=minutes)
    return say_to_all(frame, frame.people(), questions, order)


@autonomy.command("disagree")
@click.argument("questions", nargs=-1, required=True)
@click.option("--note", default="", help="For the record.")
@PERSON
@MINUTES
@framed
def disagree(
    frame: Frame, questions: tuple[str, ...], note: str, person: str, minutes: float
) -> int:
    """Judge observed calls: they would have been wrong."""
    order = AnswerOrder(verdict="disagree", person=speaker(person), answer=note, minutes=minutes)
    return say_to_all(frame, frame.people(), questions, order)


def _row(view: AutonomyView) -> tuple[str, ...]:
    row = view.row
    return (
        row.key.agent,
        row.key.tool,
        row.key.task or "-",
        row.level,
        view.ceiling,
        f"{row.agreed}/{row.judged}",
        f"{view.bound:.0%} of {view.wanted:.0%}",
        f"{row.overrides}/{row.decisions}",
        str(row.passed),
        date(row.since_ns),
    )


def _show(frame: Frame, view: AutonomyView) -> None:
    if frame.as_json:
        show_json(view)
        return
    row = view.row
    lines = [
        ("agent", row.key.agent),
        ("tool", row.key.tool),
        ("task", row.key.task or "-"),
        ("level", f"{row.level} (ceiling {view.ceiling}, rule {view.rule or '-'})"),
        ("now", view.why),
        ("evidence", f"about {', '.join(row.known) or 'nothing yet'}"),
        ("people", f"{row.decisions} decisions, {row.overrides} overrides"),
        *(
            (
                "moved",
                f"{date(one.at_ns)} {one.move.was or '-'} -> {one.move.level} "
                f"({one.move.cause}{f', {one.move.person}' if one.move.person else ''}): "
                f"{one.move.reason}",
            )
            for one in row.moves
        ),
    ]
    click.echo(fields(lines))
