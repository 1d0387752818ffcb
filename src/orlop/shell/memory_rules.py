"""`orlop memory share`, `kind`, `subject`, `erase`, `model`: what holds for all of it."""

import json
from pathlib import Path
from typing import Final

import click

from orlop.abi.errors import NotFound
from orlop.abi.memory import ShareAccess
from orlop.abi.memory_orders import (
    EraseOrder,
    KindOrder,
    ReembedOrder,
    ShareOrder,
    SubjectOrder,
)
from orlop.console.confirm import confirm
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json, table
from orlop.shell.memory import operator

ACCESS: Final[dict[str, tuple[ShareAccess, ...]]] = {
    "read": ("read",),
    "write": ("read", "write"),
    "none": (),
}


@click.command()
@click.argument("namespace", default="")
@click.argument("whom", default="")
@click.option("--access", type=click.Choice(list(ACCESS)), default="read", show_default=True)
@framed
def share(frame: Frame, namespace: str, whom: str, access: str) -> None:
    """Open NAMESPACE to WHOM (`agent:NAME`, `team:NAME` or `*`); without both, list all."""
    here = operator(frame)
    if namespace:
        order = ShareOrder(namespace=namespace, whom=whom, access=ACCESS[access])
        found = here.share(order)
    else:
        found = here.shares()
    if frame.as_json:
        show_json(found)
        return
    if not found:
        click.echo(
            "every namespace is as it began: `agents/NAME` is that agent's, the rest is open"
        )
        return
    rows = [(one.namespace, one.whom, ", ".join(one.access)) for one in found]
    click.echo(table(("NAMESPACE", "WHOM", "ACCESS"), rows, frozenset()))


@click.command()
@click.argument("name", default="")
@click.argument("schema", type=click.Path(path_type=Path, exists=True), required=False)
@framed
def kind(frame: Frame, name: str, schema: Path | None) -> None:
    """Give the kind NAME the JSON schema in the file SCHEMA; without a file show the one that it
    has, and without both list them."""
    here = operator(frame)
    if schema is None:
        found = [one for one in here.kinds() if name in ("", one.memory_kind)]
        if name and not found:
            raise NotFound(f"the kind {name!r} has no schema")
    else:
        try:
            text: object = json.loads(schema.read_text())
        except ValueError as error:
            raise click.BadParameter(f"{schema}: {error}") from error
        if not isinstance(text, dict):
            raise click.BadParameter(f"{schema}: a JSON object")
        found = [here.set_kind(KindOrder(name=name, schema=text))]
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no kind has a schema")
    elif name and schema is None:
        show_json(found[0].schema)
    else:
        rows = [(one.memory_kind, str(one.version)) for one in found]
        click.echo(table(("KIND", "VERSION"), rows, frozenset({1})))


@click.command()
@click.argument("identifiers", nargs=-1, required=True)
@click.option("--split", is_flag=True, help="They are a subject of their own.")
@click.option("--reason", default="", help="For the record.")
@framed
def subject(frame: Frame, identifiers: tuple[str, ...], split: bool, reason: str) -> None:
    """Say that IDENTIFIERS are one subject's, as in `mail:ann@example.com chat:77`."""
    order = SubjectOrder(identifiers=identifiers, split=split, reason=reason)
    done = operator(frame).subjects(order)
    if frame.as_json:
        show_json(done)
    else:
        click.echo(f"{done.subject}: {', '.join(done.identifiers)}")


@click.command()
@click.argument("who")
@click.option("--reason", default="", help="For the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@framed
def erase(frame: Frame, who: str, reason: str, yes: bool) -> None:
    """Erase all memories of WHO, in all versions, and print the certificate."""
    if not yes:
        confirm(f"erase all that is known of {who}, for ever?")
    show_json(operator(frame).erase(EraseOrder(subject=who, reason=reason)))


@click.command()
@click.argument("name")
@framed
def model(frame: Frame, name: str) -> None:
    """Embed all memories by the model NAME in the background, then search by it.

    The vectors of before stay: naming the old model again goes back at once.
    """
    found = operator(frame).reembed(ReembedOrder(model=name))
    if frame.as_json:
        show_json(found)
    else:
        have = found.vectors.get(name, 0)
        by = (
            f"until all have, recalls search by {found.model}" if found.wanted else "it is searched"
        )
        click.echo(f"{have} of {found.versions} versions have a vector by {name}; {by}")
