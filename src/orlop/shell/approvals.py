"""`orlop approvals`, `approve`, `deny`, `answer`: what waits for a person, and his word."""

import getpass
import json
from typing import Final

import click

from orlop.abi.questions import AnswerOrder, Question, Verdict
from orlop.shell.frame import Frame, framed
from orlop.shell.screen import date, fields, show_json

PERSON: Final = click.option(
    "--as", "person", default=getpass.getuser, show_default="your login", help="Who says so."
)
MINUTES: Final = click.option(
    "--minutes", type=float, default=0.0, help="How long you took, for the accounts."
)


@click.command()
@click.argument("question", required=False)
@click.option("--all", "closed", is_flag=True, help="Those that are closed too.")
@framed
def approvals(frame: Frame, question: str | None, closed: bool) -> None:
    """List what waits for a person's word, or show one.

    Arguments are shown exactly as the tool will get them.
    """
    operator = frame.operator()
    found = [operator.question(question)] if question else operator.questions(closed=closed)
    if frame.as_json:
        show_json(found[0] if question else found)
    elif not found:
        click.echo("nothing waits for you")
    else:
        click.echo("\n\n".join(fields(_lines(row)) for row in found))


@click.command()
@click.argument("question")
@click.option("--note", default="", help="For the record.")
@PERSON
@MINUTES
@framed
def approve(frame: Frame, question: str, note: str, person: str, minutes: float) -> None:
    """Let an agent call a tool, once and with these arguments only."""
    _say(frame, question, "approve", person, note, minutes)


@click.command()
@click.argument("question")
@click.option("--note", default="", help="The agent is told.")
@PERSON
@MINUTES
@framed
def deny(frame: Frame, question: str, note: str, person: str, minutes: float) -> None:
    """Refuse an agent a call of a tool."""
    _say(frame, question, "deny", person, note, minutes)


@click.command()
@click.argument("question")
@click.argument("text")
@PERSON
@MINUTES
@framed
def answer(frame: Frame, question: str, text: str, person: str, minutes: float) -> None:
    """Answer an agent's question."""
    _say(frame, question, "answer", person, text, minutes)


def _say(frame: Frame, id: str, verdict: Verdict, person: str, text: str, minutes: float) -> None:
    order = AnswerOrder(verdict=verdict, person=person, answer=text, minutes=minutes)
    row = frame.operator().answer(id, order)
    if frame.as_json:
        show_json(row)
    else:
        click.echo(f"{row.id}: {row.state}")


def _lines(row: Question) -> list[tuple[str, str]]:
    lines = [("id", row.id), ("state", row.state), ("question", row.text)]
    if row.choices:
        lines.append(("choices", ", ".join(row.choices)))
    if row.tool:
        lines += [
            ("tool", row.tool),
            ("arguments", json.dumps(row.arguments, ensure_ascii=True)),
            ("effect", row.effect),
        ]
    lines += [
        ("process", f"{row.pid} ({row.name})"),
        ("asked", date(row.asked_ns)),
        ("expires", date(row.expires_ns)),
    ]
    if row.person:
        lines.append(("answered", f"{date(row.answered_ns)} by {row.person}: {row.answer or '-'}"))
    if row.call:
        lines.append(("call", row.call))
    return lines
