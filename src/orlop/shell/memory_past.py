"""`orlop memory history`, `why`, `diff`, `rollback`: what was known, and where from."""

import click

from orlop.abi.ids import Seq
from orlop.abi.memory_orders import RollbackOrder
from orlop.console.frame import Frame, framed
from orlop.console.screen import date, show_json, table
from orlop.shell.memory import line_of, operator


@click.command()
@click.argument("memory")
@framed
def history(frame: Frame, memory: str) -> None:
    """Show all versions of MEMORY, from the event that taught it."""
    found = operator(frame).history(memory)
    if frame.as_json:
        show_json(found)
        return
    rows = [
        (
            str(one.version),
            one.state,
            f"{one.known_from}..{one.known_to or ''}",
            date(one.wall_ns),
            one.process,
            "blind" if one.blind else "",
            ", ".join(one.sources),
            one.text,
        )
        for one in found
    ]
    titles = ("version", "state", "known", "written", "by", "", "sources", "text")
    click.echo(table(titles, rows, frozenset({0})))


@click.command()
@click.argument("name")
@framed
def why(frame: Frame, name: str) -> None:
    """Of a memory (`mem_…`): what taught it and the answers that used it.  Of a call (`cal_…`):
    what its process had recalled before it."""
    found = operator(frame).evidence(name)
    if frame.as_json:
        show_json(found)
        return
    for one in found.history:
        taught = ", ".join(one.sources) or f"call {one.call or '-'}"
        there = _in(found.kernels.get(one.call, ""))
        click.echo(
            f"{line_of(one)}\n    taught by {taught}, event {one.known_from}, {one.process}{there}"
        )
    for use in found.uses:
        then = "; then " + ", ".join(use.then) if use.then else ""
        click.echo(
            f"recalled at event {use.seq} (version {use.version}) by {use.process}"
            f" in {use.call}{_in(use.kernel)}{then}"
        )


def _in(kernel: str) -> str:
    """Where another kernel than the one that was asked has it."""
    return f", on the kernel {kernel}" if kernel else ""


@click.command()
@click.argument("namespace")
@click.argument("before", type=int)
@click.argument("after", type=int, default=0)
@framed
def diff(frame: Frame, namespace: str, before: int, after: int) -> None:
    """Show what changed in NAMESPACE from event BEFORE to event AFTER (now)."""
    found = operator(frame).diff(namespace, Seq(before), Seq(after))
    if frame.as_json:
        show_json(found)
        return
    for one in found:
        if one.before is not None:
            click.echo(click.style(f"- {line_of(one.before)}", fg="red"))
        if one.after is not None:
            click.echo(click.style(f"+ {line_of(one.after)}", fg="green"))
    if not found:
        click.echo("nothing changed")


@click.command()
@click.argument("namespace")
@click.argument("seq", type=int)
@click.option("--reason", default="", help="For the record.")
@framed
def rollback(frame: Frame, namespace: str, seq: int, reason: str) -> None:
    """Take NAMESPACE back to what was known at event SEQ, as new versions."""
    order = RollbackOrder(namespace=namespace, seq=Seq(seq), reason=reason)
    done = operator(frame).rollback(order)
    if frame.as_json:
        show_json(done)
    else:
        click.echo(f"{len(done)} memories of {namespace} are as they were at event {seq}")
