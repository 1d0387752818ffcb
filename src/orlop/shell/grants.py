"""`orlop grants`: approvals in advance."""

from collections.abc import Sequence
from decimal import Decimal

import click

from orlop.abi.grants import Condition, GrantOrder, GrantRevokeOrder, GrantView
from orlop.console.frame import Frame, framed
from orlop.console.screen import date, show_json, table
from orlop.shell.answers import MINUTES, PERSON, speaker, terms, terms_options

TITLES = ("ID", "STATE", "AGENT", "TOOL", "WHERE", "CALLS", "SUM", "UNTIL", "BY")


@click.group(invoke_without_command=True)
@click.option("--all", "closed", is_flag=True, help="Those that are over too.")
@framed
def grants(frame: Frame, closed: bool) -> None:
    """List, give and revoke grants: what agents may do without being asked about each call."""
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        return
    found = frame.people().grants(closed=closed)
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no grants; `orlop approve --always` or `orlop grants give` makes one")
    else:
        click.echo(table(TITLES, [_row(view) for view in found], frozenset({5, 6})))


@grants.command("give")
@click.argument("agent")
@click.argument("tool")
@terms_options
@click.option("--note", default="", help="For the record.")
@PERSON
@MINUTES
@framed
def give(
    frame: Frame,
    agent: str,
    tool: str,
    expires: float,
    count: int | None,
    sums: tuple[str, Decimal] | None,
    most: Sequence[tuple[str, Decimal]],
    least: Sequence[tuple[str, Decimal]],
    values: Sequence[tuple[str, str]],
    note: str,
    person: str,
    minutes: float,
) -> None:
    """Let processes called AGENT use TOOL, within the terms, until the grant is over."""
    order = GrantOrder(
        agent=agent,
        tool=tool,
        terms=terms(expires, count, sums, most, least, values, note),
        person=speaker(person),
        minutes=minutes,
    )
    _show(frame, frame.people().give(order))


@grants.command("revoke")
@click.argument("grant")
@click.option("--reason", default="", help="For the record.")
@PERSON
@framed
def revoke(frame: Frame, grant: str, reason: str, person: str) -> None:
    """Take a grant back; calls that run already go on."""
    order = GrantRevokeOrder(person=speaker(person), reason=reason)
    _show(frame, frame.people().revoke(grant, order))


def _show(frame: Frame, view: GrantView) -> None:
    if frame.as_json:
        show_json(view)
    else:
        click.echo(table(TITLES, [_row(view)], frozenset({5, 6})))


def _row(view: GrantView) -> tuple[str, ...]:
    grant, terms = view.grant, view.grant.terms
    return (
        grant.id,
        view.state,
        grant.agent,
        grant.tool,
        " and ".join(_where(condition) for condition in terms.where) or "-",
        f"{grant.calls}/{terms.calls_max}" if terms.calls_max is not None else str(grant.calls),
        f"{grant.sum}/{terms.sum_max} {terms.sum_of}" if terms.sum_of else "-",
        date(grant.expires_ns),
        grant.person,
    )


def _where(condition: Condition) -> str:
    parts = []
    if condition.min is not None:
        parts.append(f"{condition.argument} >= {condition.min}")
    if condition.max is not None:
        parts.append(f"{condition.argument} <= {condition.max}")
    if condition.values:
        parts.append(f"{condition.argument} in {', '.join(condition.values)}")
    return " and ".join(parts)
