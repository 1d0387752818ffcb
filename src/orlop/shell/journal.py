"""`orlop journal`: the append-only truth, exported; its offline checks live a floor above."""

import sys
from typing import ClassVar, Final

import click

from orlop.abi.kernels import CALL_KINDS, ForgetOrder, PruneOrder
from orlop.console.confirm import confirm
from orlop.console.frame import Frame, framed, homed
from orlop.console.lazy import Entry, LazyGroup
from orlop.console.screen import show_json

SECTION: Final = "Commands"


class Age(click.ParamType[float]):
    """Seconds, from `90d`."""

    name = "age"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value)
        number, unit = text[:-1], text[-1:]
        if unit not in UNITS or not number.replace(".", "", 1).isdecimal():
            self.fail(f"{text!r}: write a number and d, h, m or s, as in 90d", param, ctx)
        return float(number) * UNITS[unit]


UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
AGE: Final = Age()


class JournalGroup(LazyGroup):
    entries: ClassVar = {
        "verify": Entry(SECTION, "Check every event, on the files alone."),
        "accept-loss": Entry(SECTION, "Accept that events are gone, and sign for it."),
        "prove": Entry(SECTION, "Prove that one event is in the journal."),
        "check-proof": Entry(SECTION, "Check such a proof with a public key alone."),
        "prune": Entry(SECTION, "Forget what was said in old calls.", "orlop.shell.journal:prune"),
        "forget": Entry(SECTION, "Throw a tenant's key away.", "orlop.shell.journal:forget"),
        "export": Entry(SECTION, "Write events as JSON lines.", "orlop.shell.journal:export"),
    }
    prefix = "journal."


@click.group(cls=JournalGroup)
def journal() -> None:
    """Verify and export the journal."""


@click.command()
@click.option("--process", default="", help="Only this process's events: a pid, an id, a name.")
@click.option("--first", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--last", type=click.IntRange(min=1), help="Default: the newest.")
@framed
def export(frame: Frame, process: str, first: int, last: int | None) -> None:
    """Write events as JSON lines: the open header and the decoded body of each.

    first, last: sequence numbers.
    """
    for line in frame.operator().export(process=process, first=first, last=last):
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


@click.command()
@click.option("--older", required=True, type=AGE, help="As in 90d, 12h, 30m.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(CALL_KINDS),
    help="Only these kinds of events.  Default: all of them.",
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@homed
def prune(frame: Frame, older: float, kinds: tuple[str, ...], dry_run: bool) -> None:
    """Forget what was said in old calls of processes that have ended.

    That they were made, when, and by whom stays, and the chain verifies; they can be shown, but
    neither resumed nor replayed.
    """
    order = PruneOrder(older_s=older, kinds=kinds or CALL_KINDS, dry_run=dry_run)
    found = frame.operator().prune(order)
    if frame.as_json:
        show_json(found)
        return
    done = "would be forgotten" if dry_run else "are forgotten"
    click.echo(f"{found.events:,} events' bodies, {found.bodies:,} with their messages, {done}")
    click.echo(f"{found.shared:,} messages stay: younger events need them")
    click.echo(f"{found.live:,} events stay: their processes have not ended")


@click.command()
@click.argument("tenant")
@click.option("--reason", required=True, help="Why; it stays in the journal.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@homed
def forget(frame: Frame, tenant: str, reason: str, yes: bool) -> None:
    """Throw a tenant's key away: nothing that it sealed can be read again, by anybody.

    Copies of the keyring in backups are not ours to find: destroy them too.
    """
    if not yes:
        confirm(f"all that tenant {tenant} ever said will be unreadable; go on?")
    frame.operator().forget_tenant(tenant, ForgetOrder(reason=reason))
    if frame.as_json:
        show_json({"tenant": tenant})
    else:
        click.echo(f"the key of tenant {tenant} is gone; the chain still verifies")
