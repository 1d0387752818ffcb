"""`orlop approvals`, `approve`, `deny`, `take`, `answer`: what waits for a person, and his word."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import click

from orlop.abi.questions import AnswerOrder, Question
from orlop.console.confirm import confirm
from orlop.console.exits import FAILED
from orlop.console.frame import Frame, framed
from orlop.console.screen import date, fields, money, show_json
from orlop.sdk.people import People
from orlop.shell.answers import (
    MINUTES,
    PERSON,
    harmless,
    read_json,
    read_object,
    speaker,
    terms,
    terms_options,
)
from orlop.shell.case import show_case

TOOL: Final = click.option("--tool", default="", help="Only about this tool.")
AGENT: Final = click.option("--agent", default="", help="Only of processes of this name.")
ALL: Final = click.option("--all", "everything", is_flag=True, help="All that wait.")
YES: Final = click.option("--yes", is_flag=True, help="Do not ask whether all of them are meant.")


@click.command()
@click.argument("words", nargs=-1, metavar="[[show] QUESTION]")
@click.option("--all", "closed", is_flag=True, help="Those that are closed too.")
@click.option("--case", is_flag=True, help="With all that is needed to take over.")
@click.option("--for", "asked", default="", help="Only those that this person is asked.")
@TOOL
@AGENT
@framed
def approvals(
    frame: Frame,
    words: tuple[str, ...],
    closed: bool,
    case: bool,
    asked: str,
    tool: str,
    agent: str,
) -> None:
    """List what waits for a person's word, or show one.

    Arguments are shown exactly as the tool will get them.  With --case comes the whole hand-over:
    the conversation, what was done so far, and what else was asked.
    """
    people = frame.people()
    id = _only(words[1:] if words[:1] == ("show",) else words)
    if case:
        show_case(frame, people.case(_required(id)))
        return
    found = (
        [people.question(id)]
        if id
        else people.questions(closed=closed, tool=tool, agent=agent, asked=asked)
    )
    if frame.as_json:
        show_json(found[0] if id else found)
    elif not found:
        click.echo("nothing waits for you")
    else:
        click.echo("\n\n".join(fields(lines(row)) for row in found))


def _only(words: tuple[str, ...]) -> str:
    if len(words) > 1:
        raise click.UsageError("show one question at a time")
    return words[0] if words else ""


def _required(id: str) -> str:
    if not id:
        raise click.UsageError("--case: of which question?")
    return id


@click.command()
@click.argument("questions", nargs=-1)
@ALL
@TOOL
@AGENT
@YES
@click.option("--note", default="", help="For the record.")
@click.option(
    "--edit",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the arguments that the tool gets instead, as JSON.",
)
@click.option("--always", is_flag=True, help="Give a grant too, within:")
@terms_options
@PERSON
@MINUTES
@framed
def approve(
    frame: Frame,
    questions: tuple[str, ...],
    everything: bool,
    tool: str,
    agent: str,
    yes: bool,
    note: str,
    edit: Path | None,
    always: bool,
    expires: float,
    count: int | None,
    sums: tuple[str, Decimal] | None,
    most: Sequence[tuple[str, Decimal]],
    least: Sequence[tuple[str, Decimal]],
    values: Sequence[tuple[str, str]],
    person: str,
    minutes: float,
) -> int:
    """Let an agent call a tool, once and with these arguments only.

    With --edit the tool gets other arguments, and the agent is told.  With --always a grant is
    made as well: `orlop grants` shows it.
    """
    order = AnswerOrder(
        verdict="approve",
        person=speaker(person),
        answer=note,
        minutes=minutes,
        arguments=read_object(edit) if edit is not None else None,
        grant=terms(expires, count, sums, most, least, values, note) if always else None,
    )
    return _say(frame, _meant(frame, questions, everything, tool, agent, yes), order)


@click.command()
@click.argument("questions", nargs=-1)
@ALL
@TOOL
@AGENT
@YES
@click.option("--note", default="", help="The agent is told.")
@PERSON
@MINUTES
@framed
def deny(
    frame: Frame,
    questions: tuple[str, ...],
    everything: bool,
    tool: str,
    agent: str,
    yes: bool,
    note: str,
    person: str,
    minutes: float,
) -> int:
    """Refuse an agent a call of a tool, or an answer."""
    order = AnswerOrder(verdict="deny", person=speaker(person), answer=note, minutes=minutes)
    return _say(frame, _meant(frame, questions, everything, tool, agent, yes), order)


@click.command()
@click.argument("question")
@click.option("--result", required=True, help="What came of it, as JSON: the agent gets this.")
@click.option(
    "--edit",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the arguments that you really used, as JSON.",
)
@click.option("--note", default="", help="For the record.")
@PERSON
@MINUTES
@framed
def take(
    frame: Frame,
    question: str,
    result: str,
    edit: Path | None,
    note: str,
    person: str,
    minutes: float,
) -> int:
    """Say that you have done it yourself: the tool is not called."""
    order = AnswerOrder(
        verdict="take",
        person=speaker(person),
        answer=note,
        minutes=minutes,
        arguments=read_object(edit) if edit is not None else None,
        result=read_json(result),
    )
    return _say(frame, [question], order)


@click.command()
@click.argument("question")
@click.argument("text")
@PERSON
@MINUTES
@framed
def answer(frame: Frame, question: str, text: str, person: str, minutes: float) -> int:
    """Answer an agent's question."""
    order = AnswerOrder(verdict="answer", person=speaker(person), answer=text, minutes=minutes)
    return _say(frame, [question], order)


def _meant(
    frame: Frame,
    ids: tuple[str, ...],
    everything: bool,
    tool: str,
    agent: str,
    yes: bool,
) -> list[str]:
    """The questions that a command is about: never one that was not seen."""
    if bool(ids) == everything:
        raise click.UsageError("name the questions, or say --all (with --tool or --agent)")
    if ids:
        return list(ids)
    rows = [
        row
        for row in frame.people().questions(tool=tool, agent=agent)
        if row.form in ("approval", "suggestion")
    ]
    for row in rows:
        click.echo(f"{row.id}  {row.name}  {row.tool}  {json.dumps(row.arguments)}", err=True)
    if rows and not yes:
        confirm(f"all {len(rows)}?")
    return [row.id for row in rows]


def _say(frame: Frame, ids: Sequence[str], order: AnswerOrder) -> int:
    people = frame.people()
    if len(ids) == 1:
        row = people.answer(ids[0], order)
        if frame.as_json:
            show_json(row)
        else:
            click.echo(f"{row.id}: {row.state}")
        return 0
    return say_to_all(frame, people, ids, order)


def say_to_all(frame: Frame, people: People, ids: Sequence[str], order: AnswerOrder) -> int:
    """The same word on many; the exit code says whether all were open."""
    if not ids:
        click.echo("nothing waits for that")
        return 0
    told = people.together(ids, order)
    if frame.as_json:
        show_json(told)
    else:
        for line in told:
            click.echo(f"{line.id}: {line.state or f'{line.code} {line.message}'}")
    return FAILED if any(line.code for line in told) else 0


def lines(row: Question) -> list[tuple[str, str]]:
    """One question, truthfully: what would be done, who asks, and why a person is asked."""
    found = [("id", row.id), ("state", row.state), ("question", harmless(row.text))]
    if row.choices:
        found.append(("choices", ", ".join(row.choices)))
    if row.tool:
        found += [
            ("tool", row.tool),
            ("arguments", json.dumps(row.arguments, ensure_ascii=True)),
            *_compared(row),
            *([("preview", harmless(row.preview))] if row.preview else []),
            ("effect", row.effect or "-"),
            ("cost", money(row.cost)),
            ("asked by", harmless(row.asked_by or "-")),
        ]
    found += [
        ("process", f"{row.pid} ({row.name})"),
        ("asked", date(row.asked_ns)),
        ("expires", date(row.expires_ns)),
    ]
    if row.chain:
        found.append(("asked of", f"{', '.join(row.asked_of) or 'everybody'} ({row.chain})"))
    if row.state != "pending" and row.answered_ns is not None:
        who = row.person or "nobody"
        said = harmless(row.answer or "-")
        found.append(("answered", f"{date(row.answered_ns)} by {who} ({row.proof}): {said}"))
    if row.edited is not None:
        found.append(("edited", json.dumps(row.edited, ensure_ascii=True)))
    if row.call:
        found.append(("call", row.call))
    return found


def _compared(row: Question) -> list[tuple[str, str]]:
    if row.compared is None:
        return []
    if not row.changes:
        return [("as before", f"the same arguments as {row.compared}")]
    return [
        ("changed", harmless(f"{change.path}: {change.was or '-'} -> {change.now or '-'}"))
        for change in row.changes
    ]
