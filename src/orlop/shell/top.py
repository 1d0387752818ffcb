"""`orlop top`: queues, seats, models, tokens a second, programs and processes, again and again."""

import sys
from collections.abc import Iterator
from typing import Final

import click

from orlop.abi.errors import NotReady
from orlop.abi.overview import Overview
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json, show_json_line
from orlop.console.terminal import lent
from orlop.machine import plain_clock
from orlop.sdk.exchange import LostAnswer
from orlop.sdk.operator import Operator
from orlop.sdk.operator import operator as connect
from orlop.shell.top_picture import picture

ONCE_S: Final = 0.5
"""Between the two looks of `--once`: rates need two."""

INTERVAL_S_MIN: Final = 0.1


@click.command()
@click.option("--once", is_flag=True, help="Show it once, and end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=INTERVAL_S_MIN),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@framed
def top(frame: Frame, once: bool, interval: float) -> None:
    """Show what runs and what waits, live.

    On a terminal it is drawn in place until `q` or Ctrl-C; elsewhere one look is printed after the
    other, with --json as one line each.  Rates are of the time since the last look.  HIT is the
    share of input tokens that no engine had to compute again, WASTE the share that was computed
    again although the program had sent it before.
    """
    operator = frame.operator()
    if once:
        _once(operator, as_json=frame.as_json)
    elif frame.as_json:
        for _, now in looks(operator, interval):
            show_json_line(now)
    elif sys.stdout.isatty():
        operator.overview()  # What is wrong from the start is said on the user's own screen.
        _live(connect(home=frame.given_home, tenant=frame.tenant, patience_s=0), interval)
    else:
        for before, now in looks(operator, interval):
            click.echo(picture(before, now) + "\n")


def looks(operator: Operator, interval_s: float) -> Iterator[tuple[Overview | None, Overview]]:
    """Each look with the one before it, if that was of the same kernel."""
    before: Overview | None = None
    while True:
        now = operator.overview()
        yield _same(before, now), now
        before = now
        plain_clock.pause(interval_s)


def _same(before: Overview | None, now: Overview) -> Overview | None:
    """None where the kernel has started anew: its counters began again."""
    return before if before is not None and before.started_ns == now.started_ns else None


def _once(operator: Operator, *, as_json: bool) -> None:
    if as_json:
        show_json(operator.overview())
        return
    before = operator.overview()
    plain_clock.pause(ONCE_S)
    now = operator.overview()
    click.echo(picture(_same(before, now), now))


def _live(operator: Operator, interval_s: float) -> None:
    """operator: without patience, so that the keyboard is heard while the kernel is away."""
    before: Overview | None = None
    with lent() as terminal:
        while True:
            try:
                now = operator.overview()
            except (NotReady, LostAnswer) as error:
                before = None
                terminal.draw(f"the kernel is away: {error}")
            else:
                terminal.draw(picture(_same(before, now), now))
                before = now
            if terminal.pause(interval_s):
                return
