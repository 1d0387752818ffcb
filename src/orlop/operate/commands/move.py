"""`orlop move` and `orlop upgrade`: where the journal lies, and in which form."""

from dataclasses import replace
from pathlib import Path

import click

from orlop.abi.errors import Conflict, Misconfigured
from orlop.console.frame import Frame, homed
from orlop.console.progress import bars
from orlop.console.screen import show_json
from orlop.machine import plain_clock
from orlop.operate.journal_settings import with_journal
from orlop.operate.running import down, holder, read_info
from orlop.settings import read_settings
from orlop.store import files, tapes
from orlop.store.home import Home
from orlop.store.moving import Move
from orlop.store.tapes import JournalConfig

DOWN_S = 30.0
ROUNDS_MAX = 5
"""Copies while the kernel runs: each is as long as what came during the last."""

FEW_EVENTS = 2_000
"""So many are copied while it is down, in a moment."""


@click.command()
@click.option("--to", "target", required=True, help="postgresql://…, or `sqlite`.")
@click.option("--schema", default="orlop", show_default=True, help="On PostgreSQL: one a kernel.")
@homed
def move(frame: Frame, target: str, schema: str) -> None:
    """Carry the journal to another place, and verify it there.

    Also while the kernel runs: it is stopped for the last events only, and started again.
    """
    home = frame.home.expanduser().resolve()
    old = read_settings(None, home, ()).journal
    new = _place(old, target, schema)
    tapes.check(new)
    Home(home).require()
    work = Move(home, old, new)
    with bars(quiet=frame.as_json) as report:

        def progress(done: int, all_: int) -> None:
            report("events", done, all_)

        if was_up := holder(home) is not None:
            for _ in range(ROUNDS_MAX):
                if work.bulk(progress) <= FEW_EVENTS:
                    break
        info = read_info(home)
        began_s = plain_clock.now_s()
        down(home, DOWN_S)
        moved = work.finish(lambda: _point(home, new), progress)
        if was_up and info is not None:
            _up(home, int(info.url.rpartition(":")[2]))
        moved = type(moved)(
            journal=moved.journal,
            events=moved.events,
            tail=moved.tail,
            kept=moved.kept,
            down_s=plain_clock.now_s() - began_s if was_up else 0.0,
        )
    if frame.as_json:
        show_json(moved)
        return
    click.echo(f"journal {moved.journal} is there, whole, up to event {moved.events:,}")
    click.echo(f"the old place is kept: {moved.kept}")
    if was_up:
        click.echo(f"the kernel was away for {moved.down_s:.1f} s")


@click.command()
@click.option("--plan", is_flag=True, help="Only show what would be done.")
@homed
def upgrade(frame: Frame, plan: bool) -> None:
    """Bring the journal's tables to this release's layout.

    A kernel does so itself when it starts; each step only adds.
    """
    home = frame.home.expanduser().resolve()
    Home(home).require()
    config = read_settings(None, home, ()).journal
    steps = tapes.pending(Home(home), config)
    if not plan and steps:
        if holder(home) is not None:
            raise Conflict("the kernel runs: `orlop down` first, or let its next start do it")
        tapes.upgrade(Home(home), config)
    if frame.as_json:
        show_json({"steps": steps, "done": bool(steps) and not plan})
    elif not steps:
        click.echo("nothing to do: the journal has this release's layout")
    else:
        for step in steps:
            click.echo(("would add: " if plan else "added: ") + step)


def _place(old: JournalConfig, target: str, schema: str) -> JournalConfig:
    if target == "sqlite":
        return replace(old, url="", schema="orlop", key_file="")
    if old.key_file:
        raise Misconfigured(
            "a kernel that shares a key can't be moved: its keys are the database's"
        )
    return replace(old, url=target, schema=schema)


def _point(home: Path, new: JournalConfig) -> None:
    """orlop.toml names the new place from here on."""
    path = home / "orlop.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    files.replace(path, with_journal(text, new.url, new.schema).encode())


def _up(home: Path, port: int) -> None:
    from orlop.operate.up import up  # Knows every floor.

    up(home, True, port, (), None, lambda line: None)
