"""`orlop key`: keys for clients that the kernel does not start."""

import click

from orlop.shell.frame import Frame, framed
from orlop.shell.screen import date, show_json, table


@click.group()
def key() -> None:
    """Make, list and revoke clients' keys.

    A client uses a key as OPENAI_API_KEY or ANTHROPIC_API_KEY, with the kernel's URL as base URL.
    """


@key.command()
@click.argument("name", default="")
@click.option("--team", default="", help="Whose budget its clients use: see `orlop budget`.")
@framed
def create(frame: Frame, name: str, team: str) -> None:
    """Make a key, and print it: it is not shown again."""
    made = frame.operator().create_key(name, team)
    if frame.as_json:
        show_json(made)
    else:
        click.echo(made.secret)


@key.command("list")
@framed
def list_keys(frame: Frame) -> None:
    """List keys, without their secrets."""
    found = frame.operator().keys()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no keys")
    else:
        rows = [
            (view.id, view.name or "-", view.team or "-", date(view.created_ns)) for view in found
        ]
        click.echo(table(("KEY", "NAME", "TEAM", "CREATED"), rows, frozenset()))


@key.command()
@click.argument("key_id")
@framed
def revoke(frame: Frame, key_id: str) -> None:
    """Make a key worthless, from now on."""
    frame.operator().revoke_key(key_id)
    if frame.as_json:
        show_json({"revoked": key_id})
