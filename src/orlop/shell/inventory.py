"""`orlop tools`."""

import click

from orlop.abi.cards import ToolCard
from orlop.shell.frame import Frame, framed
from orlop.shell.screen import show_json, table


@click.command()
@framed
def tools(frame: Frame) -> None:
    """List tools.

    EFFECT says what a second execution would do, and so what happens after a crash.
    """
    found = frame.operator().inventory().tools
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no tools; they are named in orlop.toml")
    else:
        titles = ("TOOL", "EFFECT", "AT ONCE", "LIMIT", "DESCRIPTION")
        click.echo(table(titles, [_tool(card) for card in found], frozenset({2, 3})))


def _tool(card: ToolCard) -> tuple[str, ...]:
    return (
        card.name,
        card.effect,
        str(card.concurrency),
        f"{card.timeout_s:g} s",
        card.description or "-",
    )
