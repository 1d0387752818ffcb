"""`orlop journal verify` and `accept-loss`."""

import asyncio
from pathlib import Path

import click

from orlop.console.exits import JOURNAL, OK
from orlop.console.frame import Frame, homed
from orlop.console.progress import bars
from orlop.console.screen import fields, show_json
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock
from orlop.machine.offload import ThreadOffload
from orlop.settings import read_settings
from orlop.store.verify import Verdict
from orlop.store.verify import accept_loss as give_up
from orlop.store.verify import verify as examine


@click.command()
@click.option(
    "--checkpoints",
    "outside",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Checkpoints that were kept elsewhere; the journal must still fit them.",
)
@homed
def verify(frame: Frame, outside: tuple[Path, ...]) -> int:
    """Check every event, on the files alone.

    Changes nothing and needs no secret key.  Exits with 8 where the journal is damaged.
    """
    with bars(quiet=frame.as_json) as report:
        verdict = examine(
            frame.home,
            outside,
            lambda done, all_: report("events", done, all_),
            read_settings(None, frame.home, ()).journal,
        )
    if frame.as_json:
        show_json(verdict)
    else:
        click.echo(_report(verdict))
    return OK if verdict.is_whole else JOURNAL


@click.command("accept-loss")
@click.option("--reason", required=True, help="Why; it is signed and stays in the journal.")
@homed
def accept_loss(frame: Frame, reason: str) -> None:
    """Accept that events are gone, and sign for it.

    What is damaged is set aside, not deleted.  Restore a backup instead if there is one.
    """
    given_up = asyncio.run(
        give_up(
            frame.home,
            reason,
            SystemClock(),
            SystemChance(),
            ThreadOffload("journal"),
            read_settings(None, frame.home, ()).journal,
        )
    )
    if frame.as_json:
        show_json(given_up)
        return
    for damage in given_up:
        click.echo(f"given up: {damage}")
    click.echo("the journal can be written again: `orlop up`")


def _report(verdict: Verdict) -> str:
    lines = [
        ("journal", verdict.journal or "unknown"),
        ("good events", f"{verdict.events:,}"),
        ("head", verdict.head or "-"),
        ("root", verdict.root or "-"),
        ("signing key", verdict.key or "-"),
        ("checkpoints", f"{verdict.checkpoints:,}"),
    ]
    damage = [click.style(f"damaged: {item}", fg="red") for item in verdict.damage]
    warnings = [click.style(f"warning: {text}", fg="yellow") for text in verdict.warnings]
    end = [] if damage else [click.style("the journal is whole", fg="green")]
    return "\n".join([fields(lines), *warnings, *damage, *end])
