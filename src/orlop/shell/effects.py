"""`orlop effects` and `orlop sagas`: what nobody knows of, and a person's word on it."""

import getpass
import json
from typing import Final

import click
import msgspec

from orlop.abi.effects import EffectView, SettleOrder
from orlop.abi.sagas import SagaOrder, SagaStep, SagaView
from orlop.console.frame import Frame, framed
from orlop.console.screen import date, fields, show_json, table

PERSON: Final = click.option(
    "--as", "person", default=getpass.getuser, show_default="your login", help="Who says so."
)


@click.group(invoke_without_command=True)
@framed
def effects(frame: Frame) -> None:
    """List effects that may have happened.

    Their call was cut off, and their tool can't tell.  Nobody calls them again until somebody has
    looked in the system that the tool changes.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = frame.operator().effects()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("nothing is unknown")
    else:
        click.echo("\n\n".join(fields(_effect(view)) for view in found))


@effects.command()
@click.argument("id")
@click.option("--happened", "result", metavar="RESULT", help="It did; what it returned, as JSON.")
@click.option("--did-not", "did_not", is_flag=True, help="It did not: it may be called again.")
@click.option("--note", default="", help="For the record.")
@PERSON
@framed
def settle(
    frame: Frame, id: str, result: str | None, did_not: bool, note: str, person: str
) -> None:
    """Say whether an effect happened.

    One that did is answered with RESULT when its program calls it again, and undone with its saga.
    """
    if (result is None) is not did_not:
        raise click.UsageError("say --happened RESULT (null, if it returns nothing) or --did-not")
    value: object = None
    if result is not None:
        try:
            value = msgspec.json.decode(result)
        except msgspec.DecodeError as error:
            raise click.UsageError(f"RESULT is no JSON: {error}") from error
    order = SettleOrder(happened=not did_not, result=value, person=person, note=note)
    view = frame.operator().settle_effect(id, order)
    if frame.as_json:
        show_json(view)
    else:
        click.echo(f"{view.tool} ({view.id}): it {'did not happen' if did_not else 'happened'}")


@click.group(invoke_without_command=True)
@click.option("--all", "over", is_flag=True, help="Those that are over too.")
@framed
def sagas(frame: Frame, over: bool) -> None:
    """List sagas that are not over."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = frame.operator().sagas(over=over)
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no saga is open")
    else:
        titles = ("SAGA", "NAME", "PID", "STATE", "STEPS", "SINCE", "WHY")
        click.echo(table(titles, [_row(view) for view in found], frozenset({2, 4})))


@sagas.command("show")
@click.argument("id")
@framed
def show(frame: Frame, id: str) -> None:
    """Show a saga, step by step."""
    found = frame.operator().saga(id)
    if frame.as_json:
        show_json(found)
        return
    lines = [
        ("saga", found.id),
        ("name", found.name or "-"),
        ("process", f"{found.pid} ({found.process})"),
        ("state", found.state),
        ("why", found.reason or "-"),
    ]
    click.echo(fields(lines))
    titles = ("TOOL", "STATE", "CALL", "UNDONE BY", "TRIES", "WHY")
    click.echo(table(titles, [_step(step) for step in found.steps], frozenset({4})))


@sagas.command("settle")
@click.argument("id")
@click.option("--undone", is_flag=True, help="It is undone: by hand, or after all.")
@click.option("--again", is_flag=True, help="It is not: its compensation may be called again.")
@PERSON
@framed
def settle_saga(frame: Frame, id: str, undone: bool, again: bool, person: str) -> None:
    """Say what became of a step that could not be undone."""
    if undone is again:
        raise click.UsageError("say --undone or --again")
    order = SagaOrder(verdict="undone" if undone else "again", person=person)
    found = frame.operator().settle_saga(id, order)
    if frame.as_json:
        show_json(found)
    else:
        click.echo(f"{found.id}: {found.state}")


def _effect(view: EffectView) -> list[tuple[str, str]]:
    lines = [
        ("id", view.id),
        ("tool", f"{view.tool} ({view.class_})"),
        ("arguments", json.dumps(view.arguments, ensure_ascii=True)),
        ("key", view.key),
        ("process", f"{view.pid} ({view.name})"),
        ("since", date(view.since_ns)),
        ("ended in", view.code or "-"),
    ]
    return [*lines, ("saga", view.saga)] if view.saga else lines


def _row(view: SagaView) -> tuple[str, ...]:
    return (
        view.id,
        view.name or "-",
        str(view.pid),
        view.state,
        str(len(view.steps)),
        date(view.opened_ns),
        view.reason or "-",
    )


def _step(step: SagaStep) -> tuple[str, ...]:
    tries = str(step.attempts) if step.attempts else "-"
    return (step.tool, step.state, step.call, step.undo or "-", tries, step.reason or "-")
