"""`orlop key`: keys for clients that the kernel does not start, and the key that signs tokens."""

import click

from orlop.console.frame import Frame, framed
from orlop.console.screen import date, show_json, table
from orlop.shell.options import DURATION, allow_option


@click.group()
def key() -> None:
    """Make, list and revoke clients' keys; rotate the key that signs tokens.

    A client uses a key as OPENAI_API_KEY or ANTHROPIC_API_KEY, with the kernel's URL as base URL.
    """


@key.command()
@click.argument("name", default="")
@click.option("--team", default="", help="Whose budget its clients use: see `orlop budget`.")
@allow_option
@click.option("--expires", "expires_s", type=DURATION, help="After how long: 30m, 24h, 90d.")
@click.option("--operator", is_flag=True, help="For an operator of the tenant, not for clients.")
@framed
def create(
    frame: Frame,
    name: str,
    team: str,
    allow: tuple[str, ...] | None,
    expires_s: float | None,
    operator: bool,
) -> None:
    """Make a key, and print it: it is not shown again."""
    rights = ("*",) if allow is None else allow
    made = frame.operator().create_key(
        name, team, allow=rights, expires_s=expires_s, operator=operator
    )
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
            (
                view.id,
                view.name or "-",
                view.team or "-",
                ", ".join(view.rights) or "nothing",
                date(view.created_ns),
                date(view.expires_ns),
            )
            for view in found
        ]
        titles = ("KEY", "NAME", "TEAM", "MAY", "CREATED", "EXPIRES")
        click.echo(table(titles, rows, frozenset()))


@key.command()
@click.argument("key_id")
@framed
def revoke(frame: Frame, key_id: str) -> None:
    """Make a key worthless, from now on."""
    frame.operator().revoke_key(key_id)
    if frame.as_json:
        show_json({"revoked": key_id})


@key.command()
@click.option(
    "--accept",
    "accept_s",
    type=DURATION,
    default="7d",
    show_default=True,
    help="How long tokens that were signed before are accepted; 0: no longer.",
)
@framed
def rotate(frame: Frame, accept_s: float) -> None:
    """Sign the tokens of processes with a new key.

    Processes that run keep theirs until then; `orlop resume` gives one a new token.
    """
    operator = frame.operator()
    made = operator.rotate_key(accept_s)
    if frame.as_json:
        show_json(made)
        return
    click.echo(f"key {made.key} signs now")
    for earlier in operator.signing_keys():
        if earlier.until_ns is not None:
            click.echo(f"key {earlier.key} is accepted until {date(earlier.until_ns)}")
