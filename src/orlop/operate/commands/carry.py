"""`orlop backup`, `orlop restore` and `orlop drill`."""

import asyncio
from pathlib import Path

import click

from orlop.console.frame import Frame, homed
from orlop.console.progress import bars
from orlop.console.screen import fields, show_json
from orlop.machine.clock import SystemClock
from orlop.operate.carrying import drilled, require_no_home, restored
from orlop.settings import read_settings
from orlop.store import backup as backups

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", type=FOLDER)
@homed
def backup(frame: Frame, folder: Path) -> None:
    """Copy the installation into FOLDER, also while it runs.

    The journal goes to FOLDER/data, and what it can't be read without to FOLDER/keys: keep the two
    apart.  The same FOLDER again takes what is new.
    """
    require_no_home(folder)
    settings = read_settings(None, frame.home, ())
    now_ns = SystemClock().wall_ns()
    with bars(quiet=frame.as_json) as report:
        made = backups.back_up(
            frame.home,
            settings.journal,
            folder,
            now_ns,
            lambda done, all_: report("events", done, all_),
        )
    if frame.as_json:
        show_json(made)
        return
    click.echo(f"{made.events_new:,} new events; {folder} holds journal {made.journal}")
    click.echo(f"up to event {made.seq:,}; keep {folder / 'keys'} elsewhere")


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--keys", type=FOLDER, help="Where its keys are kept.  Default: FOLDER/keys.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The lost home's journal.anchor, if it was saved: it tells what is missing.",
)
@homed
def restore(frame: Frame, folder: Path, keys: Path | None, against: Path | None) -> None:
    """Bring a backup back into an empty home (--home), proven event by event.

    The journal goes where the home's orlop.toml says, or the backup's.
    """
    with bars(quiet=frame.as_json) as report:
        made = asyncio.run(
            restored(
                folder,
                frame.home,
                keys,
                against,
                lambda done, all_: report("events", done, all_),
            )
        )
    if frame.as_json:
        show_json(made)
        return
    click.echo(f"journal {made.manifest.journal} is whole up to event {made.manifest.seq:,}")
    if made.lost is None:
        click.echo("what was acknowledged after it is lost; --against would have said how much")
    else:
        click.echo(f"{made.lost:,} acknowledged events are lost")
    click.echo("it goes on in an epoch of its own: `orlop up`")


@click.command()
@homed
def drill(frame: Frame) -> None:
    """Back up, restore elsewhere, verify, and say what a disaster now would cost."""
    settings = read_settings(None, frame.home, ())
    with bars(quiet=frame.as_json) as report:
        found = asyncio.run(
            drilled(frame.home, settings.journal, lambda done, all_: report("events", done, all_))
        )
    if frame.as_json:
        show_json(found)
        return
    rows = [
        ("events", f"{found.events:,} ({found.bytes / 1e6:,.1f} MB), whole"),
        ("processes", f"{found.processes:,}"),
        ("backup took", f"{found.backup_s:.2f} s"),
        ("lost (RPO)", f"{found.rpo_events:,} events, acknowledged while it was made"),
        ("back after (RTO)", f"{found.rto_s:.2f} s: copied, verified, opened, tables read"),
    ]
    click.echo(fields(rows))
