"""`orlop devices` and `orlop tools`."""

import click

from orlop.abi.cards import EngineCard, HardwareCard, ToolCard
from orlop.shell.frame import Frame, framed
from orlop.shell.screen import show_json, size, table

@click.command()
@framed
def devices(frame: Frame) -> None:
    """List engines and hardware."""
    found = frame.operator().inventory()
    if frame.as_json:
        show_json({"engines": found.engines, "hardware": found.hardware})
        return
    engine_titles = ("ENGINE", "DRIVER", "HEALTH", "BUSY", "WAITING", "MODELS", "URL", "WHY")
    rows = [_engine(card) for card in found.engines]
    click.echo(table(engine_titles, rows, frozenset({3, 4})) if rows else "no engines")
    click.echo()
    titles = ("DEVICE", "KIND", "NAME", "MEMORY", "FREE", "CORES", "FEATURES")
    click.echo(table(titles, [_hardware(card) for card in found.hardware], frozenset({3, 4, 5})))


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


def _engine(card: EngineCard) -> tuple[str, ...]:
    return (
        card.name,
        card.driver,
        card.health,
        f"{card.running}/{card.slots}",
        str(card.waiting),
        ",".join(card.models) or "-",
        card.url or "-",
        card.reason or "-",
    )


def _hardware(card: HardwareCard) -> tuple[str, ...]:
    return (
        card.id,
        card.kind,
        card.name,
        size(card.memory_bytes),
        size(card.memory_free_bytes),
        str(card.cores or "-"),
        " ".join(card.features) or "-",
    )


def _tool(card: ToolCard) -> tuple[str, ...]:
    return (
        card.name,
        card.effect,
        str(card.concurrency),
        f"{card.timeout_s:g} s",
        card.description or "-",
    )
