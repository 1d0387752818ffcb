"""`orlop tools`: what there is, what its servers say of it, and agreeing to what has changed."""

import difflib
import json
from typing import Final

import click

from orlop.abi.tools import SystemView, ToolView
from orlop.console.frame import Frame, framed
from orlop.console.screen import fields, show_json, table
from orlop.shell.completing import any_tool

DIGEST_CHARS: Final = 12


@click.group(invoke_without_command=True)
@framed
def tools(frame: Frame) -> None:
    """List tools; agree to changed ones.

    EFFECT says what a second execution would do, and so what happens after a crash.  STATE is
    ready, changed (its server describes it otherwise than was agreed, so it is not called),
    refused (it can't be used) or away: NAME.* is all of a server or database that could not be
    reached, or would not do what is asked of it.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = frame.operator().tools()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no tools; they are named in orlop.toml")
    else:
        titles = ("TOOL", "STATE", "EFFECT", "AT ONCE", "LIMIT", "DESCRIPTION")
        click.echo(table(titles, [_row(view) for view in found], frozenset({3, 4})))
        for view in found:
            if view.fix and (view.card is None or view.state != "away"):
                click.echo(f"{view.name}: {view.fix}", err=True)


@tools.command()
@click.argument("name", shell_complete=any_tool)
@framed
def show(frame: Frame, name: str) -> None:
    """Show a tool's card, and what its server says otherwise than was agreed."""
    found = frame.operator().tool(name)
    if frame.as_json:
        show_json(found)
        return
    click.echo(fields(_lines(found)))
    for line in _difference(found):
        click.echo(line)


@tools.command()
@click.argument("name", shell_complete=any_tool)
@click.option("--digest", default="", help="Of what you have looked at; any other is refused.")
@framed
def trust(frame: Frame, name: str, digest: str) -> None:
    """Agree to what a server says of its tool now; `orlop tools show NAME` tells what is new."""
    found = frame.operator().trust(name, digest)
    if frame.as_json:
        show_json(found)
    else:
        click.echo(f"{found.name}: {found.state}, {found.digest[:DIGEST_CHARS]} from now on")


@click.command()
@framed
def systems(frame: Frame) -> None:
    """List external systems and their limits.

    RATE is in calls a second; a learned one is what the system bore before it complained.
    """
    found = frame.operator().systems()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no system has limits; they are named in orlop.toml, or learned")
    else:
        titles = ("SYSTEM", "RATE", "AT ONCE", "WAITING", "RESTS")
        click.echo(table(titles, [_system(view) for view in found], frozenset({1, 2, 3, 4})))


def _system(view: SystemView) -> tuple[str, ...]:
    learned = " (learned)" if view.is_learned else ""
    rate = "-" if view.rate_s is None else f"{view.rate_s:.3g}{learned}"
    rests = f"{view.paused_s:.0f} s" if view.paused_s else "-"
    return (view.name, rate, str(view.concurrency or "-"), str(view.waiting), rests)


def _row(view: ToolView) -> tuple[str, ...]:
    card = view.card
    if card is None:
        return (view.name, view.state, "-", "-", "-", view.reason)
    limit = f"{card.timeout_s:g} s"
    said = view.reason or card.description.partition("\n")[0] or "-"
    return (view.name, view.state, card.effect, str(card.concurrency), limit, said)


def _lines(view: ToolView) -> list[tuple[str, str]]:
    lines = [("tool", view.name), ("state", view.state)]
    if view.reason:
        lines.append(("why", view.reason))
    if view.fix:
        lines.append(("what to do", view.fix))
    if (card := view.card) is not None:
        lines += [
            ("description", card.description or "-"),
            ("effect", card.effect),
            ("server", card.server or "-"),
            ("at once", str(card.concurrency)),
            ("limit", f"{card.timeout_s:g} s"),
            ("retries", str(card.retries)),
            ("needs alone", ", ".join(card.conflicts) or "-"),
            ("arguments", json.dumps(card.parameters, ensure_ascii=False)),
            ("results", json.dumps(card.results, ensure_ascii=False)),
        ]
    if view.digest:
        lines.append(("agreed", view.digest))
    if view.offered_digest:
        lines.append(("offered now", view.offered_digest))
    return lines


def _difference(view: ToolView) -> list[str]:
    """Line by line, what was agreed and what is offered."""
    if view.offered is None:
        return []
    was, now = (
        json.dumps(said, indent=2, ensure_ascii=False, sort_keys=True).splitlines()
        for said in (view.agreed or {}, view.offered)
    )
    return list(difflib.unified_diff(was, now, "agreed", "offered", lineterm=""))
