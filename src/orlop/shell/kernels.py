"""`orlop kernels`: who shares this kernel's database."""

from collections.abc import Mapping
from typing import Final

import click

from orlop.abi.ids import JournalId
from orlop.abi.kernels import KernelView
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json, table

TITLES: Final = ("SCHEMA", "STATE", "HOST", "URL", "EPOCH", "EVENTS", "LEASE", "TAKEN BY")
NUMBERS: Final = frozenset({4, 5, 6})


@click.command()
@framed
def kernels(frame: Frame) -> None:
    """List the kernels that share a database, and who has taken whom over.

    LEASE is how long it still holds; a kernel whose lease is over loses its processes to another.
    """
    found = frame.operator().kernels()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("this kernel shares its journal's database with nobody ([journal] key_file)")
    else:
        schemas = {view.journal: view.schema for view in found}
        click.echo(table(TITLES, [_row(view, schemas) for view in found], NUMBERS))


def _row(view: KernelView, schemas: Mapping[JournalId, str]) -> tuple[str, ...]:
    taken_by = view.taken_by
    return (
        view.schema + (" *" if view.here else ""),
        view.state,
        view.host,
        view.url,
        str(view.epoch),
        f"{view.head:,}",
        "-" if view.lease_s is None else f"{view.lease_s:.1f} s",
        "-" if taken_by is None else schemas.get(taken_by, taken_by),
    )
