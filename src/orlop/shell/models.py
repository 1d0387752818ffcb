"""`orlop models`: where each model lies, what its cold start costs; load, unload, pin, unpin."""

from typing import Final

import click

from orlop.abi.residency import ModelOrder, ModelView, PoolView, ResidencyView
from orlop.console.frame import Frame, framed
from orlop.console.screen import seconds, show_json, size, table
from orlop.shell.forms import forms, measure

DIGEST_CHARS: Final = 12
TITLES: Final = (
    *("MODEL", "ENGINE", "KIND", "STATE", "SIZE", "CALLS", "A MINUTE", "COLD START"),
    *("CONTEXT", "$ IN/1M", "$ OUT/1M", "ARTEFACT", "PATH"),
)
NUMBERS: Final = frozenset({4, 5, 6, 8, 9, 10})


@click.group(invoke_without_command=True)
@framed
def models(frame: Frame) -> None:
    """List models; load, unload and pin them.

    STATE is hot (on its device), asleep (its engine has given the memory back), host (its file is
    in RAM) or disk; loading and leaving are on the way.  COLD START is the median of measured
    loads, by where the model lay; without any it says nothing.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = frame.operator().residency()
    if frame.as_json:
        show_json(found)
    elif not found.models:
        click.echo("no models; `orlop pull smollm2 minilm` fetches the embedded ones")
    else:
        click.echo(table(TITLES, [_row(view) for view in found.models], NUMBERS))
        for line in filter(None, map(_pool, found.pools)):
            click.echo(line)
        for view in found.models:
            if view.reason:
                click.echo(f"{view.name}: {view.reason}")


models.add_command(forms)
models.add_command(measure)


@models.command()
@click.argument("name")
@framed
def load(frame: Frame, name: str) -> None:
    """Bring a model to its device, and wait until it is there.

    Idle models that are worth less make room.  NAME is a model, an alias, or engine/name.
    """
    _order(frame, ModelOrder(order="load", model=name))


@models.command()
@click.argument("name")
@framed
def unload(frame: Frame, name: str) -> None:
    """Give a model's memory back; the next call loads it again.

    Refused while calls use it.
    """
    _order(frame, ModelOrder(order="unload", model=name))


@models.command()
@click.argument("name")
@framed
def pin(frame: Frame, name: str) -> None:
    """Load a model, and keep it on its device whatever others need; a restart keeps the pin."""
    _order(frame, ModelOrder(order="pin", model=name))


@models.command()
@click.argument("name")
@framed
def unpin(frame: Frame, name: str) -> None:
    """Let a model leave again when it idles or others need its memory."""
    _order(frame, ModelOrder(order="unpin", model=name))


def _order(frame: Frame, order: ModelOrder) -> None:
    found = frame.operator().order_model(order)
    if frame.as_json:
        show_json(found)
        return
    for view in _named(found, order.model):
        pinned = ", pinned" if view.pinned else ""
        click.echo(f"{view.name} on {view.engine}: {view.state}{pinned}, {size(view.bytes)}")


def _named(found: ResidencyView, name: str) -> list[ModelView]:
    """Those that `name` names; of an alias, all that the kernel moves."""
    named = [view for view in found.models if name in (view.name, f"{view.engine}/{view.name}")]
    return named or [view for view in found.models if view.moved]


def _row(view: ModelView) -> tuple[str, ...]:
    return (
        view.name,
        view.engine,
        view.kind,
        view.state + (" (pinned)" if view.pinned else ""),
        size(view.bytes) if view.bytes else "-",
        f"{view.calls_running}+{view.calls_waiting}"
        if view.calls_waiting
        else f"{view.calls_running}",
        f"{view.rate * 60:.1f}" if view.moved else "-",
        cold_start(view),
        "-" if view.context_tokens is None else f"{view.context_tokens:,}",
        f"{view.input_price / 1e9:g}",
        f"{view.output_price / 1e9:g}",
        view.artefact[:DIGEST_CHARS] or "-",
        view.path or "-",
    )


def cold_start(view: ModelView) -> str:
    """`0.35 s from host, 0.61 s from disk`."""
    shown = [f"{seconds(start.seconds)} from {start.origin}" for start in view.cold_starts]
    return ", ".join(shown) or "-"


def _pool(pool: PoolView) -> str:
    if pool.budget_bytes is None:
        return ""
    return f"{pool.device}: {size(pool.held_bytes)} of {size(pool.budget_bytes)} for models in use"
