"""`orlop ps` and `orlop show`."""

from typing import Final

import click

from orlop.abi.admin import ProcessView
from orlop.console.frame import Frame, framed
from orlop.console.screen import (
    between,
    command,
    date,
    fields,
    money,
    shortened,
    show_json,
    since,
    table,
)
from orlop.machine import plain_clock
from orlop.sdk.operator import Operator
from orlop.shell.budgets import budget_text
from orlop.shell.completing import any_process

WATCH_S: Final = 1.0
TITLES: Final = (
    "PID",
    "NAME",
    "STATE",
    "CLASS",
    "CALLS",
    "TOKENS",
    "COST",
    "AGE",
    "WHY",
    "COMMAND",
)
NUMBERS: Final = frozenset({0, 4, 5, 6, 7})


@click.command()
@click.option("-a", "--all", "ended", is_flag=True, help="Also those that have ended.")
@click.option("-w", "--watch", is_flag=True, help="Again each second, until Ctrl-C.")
@framed
def ps(frame: Frame, ended: bool, watch: bool) -> None:
    """List processes.

    CALLS counts calls that were made and, after a +, those in flight.
    """
    operator = frame.operator()
    while watch:
        listing = _listing(operator, ended)
        click.clear()
        click.echo(listing)
        plain_clock.pause(WATCH_S)
    if frame.as_json:
        show_json(operator.processes(ended=ended))
    else:
        click.echo(_listing(operator, ended))


@click.command()
@click.argument("process", shell_complete=any_process)
@framed
def show(frame: Frame, process: str) -> None:
    """Show all about a process: PROCESS is a pid, an id, or a name."""
    view = frame.operator().process(process)
    if frame.as_json:
        show_json(view)
    else:
        click.echo(fields(_details(view)))


def _listing(operator: Operator, ended: bool) -> str:
    views = operator.processes(ended=ended)
    if not views:
        return "no processes" if ended else "no processes run; --all shows those that have ended"
    if any(view.home for view in views):
        rows = [(*_row(view), view.home) for view in views]
        return table((*TITLES, "HOME"), rows, NUMBERS)
    return table(TITLES, [_row(view) for view in views], NUMBERS)


def _row(view: ProcessView) -> tuple[str, ...]:
    in_flight = f"+{view.calls_in_flight}" if view.calls_in_flight else ""
    return (
        str(view.pid),
        view.name or "-",
        view.state if view.status is None else f"{view.state} {view.status}",
        view.latency_class,
        f"{view.calls:,}{in_flight}",
        f"{view.input_tokens + view.output_tokens:,}",
        money(view.cost),
        since(view.spawned_ns),
        _now(view),
        command(view.command),
    )


def _progress(view: ProcessView) -> list[tuple[str, str]]:
    """What it has said of how far it is, and which people it waits for."""
    lines = []
    if (said := view.progress) is not None:
        share = f" ({said.share:.0%})" if said.share is not None else ""
        waits = f", waits for {said.waits_for}" if said.waits_for else ""
        lines.append(("progress", f"{said.step}{share}{waits}, {since(said.at_ns)} ago"))
        if said.ends_ns is not None:
            lines.append(("expects to end", date(said.ends_ns)))
    if view.questions:
        lines.append(("asks", ", ".join(view.questions)))
    if view.human_minutes:
        lines.append(("people", f"{view.human_minutes:g} min, {money(view.human_cost)}"))
    return lines


def _now(view: ProcessView) -> str:
    """In a few words: why it is in this state, whom it waits for, or how far it is."""
    if view.reason:
        return shortened(view.reason)
    if view.questions:
        return shortened(f"asks {view.questions[0]}")
    if view.progress is None or view.status is not None:
        return "-"
    share = f"{view.progress.share:.0%} " if view.progress.share is not None else ""
    return shortened(share + view.progress.step)


def _details(view: ProcessView) -> list[tuple[str, str]]:
    return [
        ("pid", str(view.pid)),
        ("id", view.id),
        ("name", view.name or "-"),
        ("state", f"{view.state} ({view.reason})" if view.reason else view.state),
        ("status", "-" if view.status is None else str(view.status)),
        ("outcome", view.outcome or "-"),
        *_progress(view),
        *([("divergence", "\n" + view.divergence)] if view.divergence else []),
        ("command", " ".join(view.command) or "(a client with a key)"),
        ("folder", view.cwd or "-"),
        ("parent", view.parent or "-"),
        ("program", view.program or "-"),
        ("team", view.team or "-"),
        ("version", view.version or "-"),
        ("class", view.latency_class),
        ("restart", f"{view.restart}; on divergence: {view.on_divergence}"),
        ("budget", budget_text(view)),
        ("incarnation", f"{view.incarnation} ({view.mode})"),
        ("system's pid", str(view.os_pid) if view.os_pid and view.status is None else "-"),
        (
            "calls",
            f"{view.calls:,} made, {view.calls_in_flight:,} in flight"
            + (f", {view.calls_replayed:,} from the record" * bool(view.calls_replayed)),
        ),
        (
            "tokens",
            f"{view.input_tokens:,} in ({view.cached_tokens:,} cached), {view.output_tokens:,} out",
        ),
        ("cost", money(view.cost)),
        ("started", f"{date(view.started_ns)}, ran {between(view.started_ns, view.ended_ns)}"),
    ]
