"""`orlop context`: what a model was shown, kept as a file for another engine or kernel."""

import click

from orlop.abi.contexts import Context
from orlop.console.frame import Frame, framed
from orlop.console.screen import counted, fields, shortened, show_json
from orlop.shell.files import kernel, path_of


@click.group()
def context() -> None:
    """Contexts as files: save, show, shorten.

    A saved one is a file like any other (`orlop files`).
    """


@context.command()
@click.argument("call")
@click.argument("path")
@framed
def save(frame: Frame, call: str, path: str) -> None:
    """Write what CALL was shown, with its answer, to the file PATH.

    `orlop trace PID --json` tells the names of calls.
    """
    _show(frame, kernel(frame).files.save_context(call, path_of(path)))


@context.command()
@click.argument("path")
@click.option("--model", default="", help="That will go on with it.")
@framed
def show(frame: Frame, path: str, model: str) -> None:
    """Show a saved context, and whether MODEL is the one that it was made with."""
    _show(frame, kernel(frame).files.open_context(path_of(path), model=model))


@context.command()
@click.argument("call")
@click.argument("path")
@click.option("--keep-last", default=8, show_default=True, help="So many of the newest messages.")
@click.option("--pin", "pins", multiple=True, type=int, help="A message that must stay, from 0.")
@click.option("--model", default="", help="That writes the summary; default: the call's own.")
@click.option("--summary", default="", help="Instead of a model's.")
@framed
def compact(
    frame: Frame,
    call: str,
    path: str,
    keep_last: int,
    pins: tuple[int, ...],
    model: str,
    summary: str,
) -> None:
    """Write what CALL was shown to PATH without its middle, which a summary stands for."""
    made = kernel(frame).files.compact(
        call, path_of(path), keep_last=keep_last, pins=pins, model=model, summary=summary
    )
    _show(frame, made)


def _show(frame: Frame, found: Context) -> None:
    if frame.as_json:
        show_json(found)
        return
    lines = [
        ("file", f"{found.path}, version {found.version}"),
        ("model", found.model),
        ("weights", found.artefact or "not known"),
        ("goes on", "exactly" if found.exact else "as text"),
    ]
    if found.dropped:
        lines.append(("left out", counted(found.dropped, "message")))
    click.echo(fields(lines))
    for place, message in enumerate(found.messages):
        click.echo(f"{place:4}  {message.role:9}  {shortened(' '.join(message.text().split()))}")
