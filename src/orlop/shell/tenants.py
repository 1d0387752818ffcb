"""`orlop tenant`: who shares this installation."""

import os

import click
from msgspec.structs import asdict

from orlop.abi.sandbox import Sandbox
from orlop.abi.tenants import TenantOrder, TenantView
from orlop.console.frame import Frame, homed
from orlop.console.screen import date, fields, money, show_json, table


@click.group()
def tenant() -> None:
    """Make, list and remove tenants: those who share this installation and see nothing of one
    another.

    `orlop key create --tenant NAME` makes a key for its clients, with --operator one for whoever
    runs it; all other commands take --tenant too.
    """


@tenant.command()
@click.argument("name")
@click.option("--read", multiple=True, metavar="DIR", help="Its programs may read this.")
@click.option("--write", multiple=True, metavar="DIR", help="Its programs may change this.")
@click.option("--net", multiple=True, metavar="HOST[:PORT][=MODE]", help="They may reach this.")
@click.option("--unconfined", is_flag=True, help="They need no sandbox: they run as you.")
@click.option("--note", default="", help="For people.")
@homed
def create(
    frame: Frame,
    name: str,
    read: tuple[str, ...],
    write: tuple[str, ...],
    net: tuple[str, ...],
    unconfined: bool,
    note: str,
) -> None:
    """Make a tenant.  Its programs run in sandboxes, which hold what these options name."""
    if unconfined and (read or write or net):
        raise click.UsageError("--unconfined: without --read, --write and --net")
    for path in (*read, *write):
        if not os.path.exists(path):
            raise click.UsageError(f"{path}: there is no such file or folder")
    sandbox = Sandbox(
        read=tuple(os.path.abspath(path) for path in read),
        write=tuple(os.path.abspath(path) for path in write),
        net=net,
    )
    order = TenantOrder(name=name, sandbox=None if unconfined else sandbox, note=note)
    _tell(frame, frame.operator().create_tenant(order))


@tenant.command("list")
@click.option("-a", "--all", "removed", is_flag=True, help="Also those that were removed.")
@homed
def list_tenants(frame: Frame, removed: bool) -> None:
    """List tenants."""
    found = frame.operator().tenants(removed=removed)
    if frame.as_json:
        show_json(found)
        return
    rows = []
    for view in found:
        counts = (view.processes, view.keys, view.schedules, view.calls, view.tokens)
        rows.append((view.name, view.state, *map(str, counts), money(view.cost), view.note or "-"))
    titles = ("TENANT", "STATE", "RUNNING", "KEYS", "SCHEDULES", "CALLS", "TOKENS", "COST", "NOTE")
    click.echo(table(titles, rows, frozenset(range(2, 8))))


@tenant.command()
@click.argument("name")
@homed
def show(frame: Frame, name: str) -> None:
    """Show all about a tenant."""
    _tell(frame, frame.operator().tenant(name))


@tenant.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why: it stays in the journal.")
@homed
def remove(frame: Frame, name: str, reason: str) -> None:
    """End its clients, take its keys and schedules back, and close its name for ever.

    What it has said stays until `orlop journal forget NAME`.
    """
    _tell(frame, frame.operator().remove_tenant(name, reason))


def _tell(frame: Frame, view: TenantView) -> None:
    if frame.as_json:
        show_json(view)
        return
    since = "the start" if view.created_ns is None else date(view.created_ns)
    words = [("name", view.name), ("state", view.state), ("since", since)]
    words += [("note", view.note or "-"), ("programs", _held_to(view))]
    counts = ("processes", "keys", "schedules", "calls", "tokens")
    words += [(name, str(value)) for name, value in asdict(view).items() if name in counts]
    click.echo(fields([*words, ("cost", money(view.cost))]))


def _held_to(view: TenantView) -> str:
    box = view.sandbox
    if box is None:
        return "run as the kernel's user"
    named = (("read", box.read), ("write", box.write), ("reach", box.net))
    words = [f"{verb} {', '.join(what)}" for verb, what in named if what]
    return "run in sandboxes" + (f": {'; '.join(words)}" if words else "")
