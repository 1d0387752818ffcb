"""`orlop schedule`: programs that start at set times."""

from typing import get_args

import click

from orlop.abi.admin import Missed, Overlap, ScheduleOrder, ScheduleView
from orlop.abi.calls import Budget
from orlop.console.frame import Frame, framed
from orlop.console.screen import date, show_json, table
from orlop.sdk.environment import here, with_named
from orlop.shell.options import (
    CLASSES,
    RESTARTS,
    allow_option,
    budget_option,
    class_option,
    command_argument,
    env_option,
    keep_env_option,
    restart_option,
)

MISSED: dict[str, Missed] = {name: name for name in get_args(Missed)}
OVERLAPS: dict[str, Overlap] = {name: name for name in get_args(Overlap)}


class ScheduleGroup(click.Group):
    """`orlop schedule WHEN -- COMMAND` is short for `orlop schedule add WHEN -- COMMAND`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, "-h", "--help"}
        return super().parse_args(ctx, args if not args or args[0] in known else ["add", *args])


@click.group(cls=ScheduleGroup)
def schedule() -> None:
    """Start a program at set times.

    \b
    orlop schedule "*/5 * * * *" -- COMMAND        cron: minute hour day month weekday
    orlop schedule "every 90s" -- COMMAND
    orlop schedule "at 2027-01-01T09:00" -- COMMAND
    """


@schedule.command()
@click.argument("when")
@command_argument
@click.option("--name", default="", help="A name, unique among schedules.")
@click.option("--zone", default="UTC", show_default=True, help="An IANA time zone.")
@click.option(
    "--missed",
    type=click.Choice(list(MISSED)),
    default="once",
    show_default=True,
    help="What becomes of runs that were due while no kernel ran.  `all` starts them at once, "
    "and so needs --overlap allow.",
)
@click.option(
    "--overlap",
    type=click.Choice(list(OVERLAPS)),
    default="forbid",
    show_default=True,
    help="What happens when the run before still runs.",
)
@class_option
@budget_option
@allow_option
@restart_option
@env_option
@keep_env_option
@framed
def add(
    frame: Frame,
    when: str,
    command: tuple[str, ...],
    name: str,
    zone: str,
    missed: str,
    overlap: str,
    latency_class: str | None,
    budget: Budget | None,
    allow: tuple[str, ...] | None,
    restart: str,
    named: tuple[str, ...],
    kept: tuple[str, ...],
) -> None:
    """Start COMMAND at the times WHEN, in this folder."""
    order = ScheduleOrder(
        when=when,
        command=command,
        name=name,
        zone=zone,
        missed=MISSED[missed],
        overlap=OVERLAPS[overlap],
        cwd=here(),
        env=with_named(named, kept),
        latency_class=CLASSES[latency_class or "batch"],
        budget=budget or Budget(),
        restart=RESTARTS[restart],
        allow=allow,
    )
    made = frame.operator().schedule(order)
    if frame.as_json:
        show_json(made)
    else:
        click.echo(f"{made.name or made.id}: next at {date(made.next_ns)}")


@schedule.command("list")
@framed
def list_schedules(frame: Frame) -> None:
    """List schedules and when they run next."""
    found = frame.operator().schedules()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no schedules")
    else:
        titles = ("NAME", "WHEN", "ZONE", "NEXT", "LAST", "RUNS", "SKIPPED", "COMMAND")
        click.echo(table(titles, [_row(view) for view in found], frozenset({5, 6})))


@schedule.command()
@click.argument("name")
@framed
def remove(frame: Frame, name: str) -> None:
    """Remove a schedule by its name or id; what already runs goes on."""
    frame.operator().remove_schedule(name)
    if frame.as_json:
        show_json({"removed": name})


def _row(view: ScheduleView) -> tuple[str, ...]:
    return (
        view.name or view.id,
        view.when,
        view.zone,
        date(view.next_ns),
        date(view.last_ns),
        str(view.runs),
        str(view.skipped),
        " ".join(view.command),
    )
