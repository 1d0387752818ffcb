"""`orlop plan`."""

from pathlib import Path

import click

from orlop.abi.errors import Misconfigured
from orlop.console.frame import Frame, homed
from orlop.console.progress import bars
from orlop.console.screen import fields, seconds, show_json, table
from orlop.operate.plan import fleet as fleets
from orlop.operate.plan import trace as traces
from orlop.operate.plan.picture import draw
from orlop.operate.plan.predict import (
    PASSTHROUGH,
    Prediction,
    check,
    drawn,
    misfits,
    policies,
    predict,
)
from orlop.operate.plan.tasks import Arrival, scaled

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("trace", type=_FILE)
@click.option("--fleet", "fleet_file", type=_FILE, required=True, help="The engines: fleet.toml.")
@click.option(
    "--policy",
    "named",
    multiple=True,
    type=click.Choice(policies()),
    help=f"May be repeated.  Default: {PASSTHROUGH} and the fleet's own.",
)
@click.option("--tasks", type=click.IntRange(1, 100_000), help="So many, drawn at random.")
@click.option("--rate", "rate_hour", type=click.FloatRange(min=0.001), help="Tasks an hour.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of what is drawn.")
@click.option(
    "--scale", type=click.FloatRange(0.001, 1000), default=1.0, help="Of the contexts' lengths."
)
@click.option("--leave-out", is_flag=True, help="Leave out tasks that fit no engine.")
@click.option("--picture", type=_FILE, help="Write the job times there, as SVG.")
@homed
def plan(
    frame: Frame,
    trace: Path,
    fleet_file: Path,
    named: tuple[str, ...],
    tasks: int | None,
    rate_hour: float | None,
    seed: int,
    scale: float,
    leave_out: bool,
    picture: Path | None,
) -> None:
    """Foretell how a workload does on a fleet, with the kernel's own scheduler.

    Job times, goals met, cost.  Nothing is started; the fleet need not exist.  With --tasks or
    --rate the trace's tasks are drawn at random; otherwise they come as recorded.
    """
    if picture is not None and not picture.parent.is_dir():
        raise Misconfigured(f"--picture: {picture} can't be written: there is no {picture.parent}")
    planned = fleets.read(fleet_file)
    arrivals = _arrivals(trace, scale, tasks, rate_hour, seed)
    if leave_out:
        arrivals = _fitting(planned, arrivals)
    check(planned, arrivals)
    chosen = named or (PASSTHROUGH, planned.scheduler.policy)
    found = []
    with bars(quiet=frame.as_json) as report:
        for number, policy in enumerate(chosen):
            report("policies", number, len(chosen))
            found.append(predict(planned, arrivals, policy))
        report("policies", len(chosen), len(chosen))
    if picture is not None:
        _write(picture, draw(f"{trace.name} on {fleet_file.name}", found))
    if frame.as_json:
        show_json(found)
        return
    click.echo(_summary(planned, found))
    click.echo(_table(found))
    if picture is not None:
        click.echo(f"\nthe picture: {picture}")


def _arrivals(
    trace: Path, scale: float, tasks: int | None, rate_hour: float | None, seed: int
) -> list[Arrival]:
    recorded = traces.read(trace)
    if scale != 1.0:
        recorded = [Arrival(at_s=one.at_s, task=scaled(one.task, scale)) for one in recorded]
    if tasks is None and rate_hour is None:
        return recorded
    count = tasks or len(recorded)
    # Without a rate, as often as recorded.
    span_hours = max(1.0, recorded[-1].at_s) / 3600
    return drawn(recorded, count, rate_hour or len(recorded) / span_hours, seed)


def _fitting(planned: fleets.Plan, arrivals: list[Arrival]) -> list[Arrival]:
    lost = {id(one) for one in misfits(planned, arrivals)}
    if lost:
        click.echo(f"left out: {len(lost):,} of {len(arrivals):,} tasks fit no engine", err=True)
    kept = [arrival for arrival in arrivals if id(arrival) not in lost]
    if not kept:
        raise Misconfigured("no task of this trace fits any engine of this fleet")
    return kept


def _write(path: Path, svg: str) -> None:
    try:
        path.write_text(svg)
    except OSError as error:
        raise Misconfigured(f"--picture: {path} can't be written: {error}") from error


def _summary(planned: fleets.Plan, found: list[Prediction]) -> str:
    first = found[0]
    price = f"${planned.price_hour:,.2f} an hour" if planned.price_hour else "no prices given"
    goals = planned.goals
    return fields(
        [
            ("engines", ", ".join(host.name for host in planned.hosts)),
            ("price", price),
            ("workload", f"{first.tasks:,} tasks, {first.calls:,} calls"),
            ("goals", f"first token in {goals.first_token_s:g} s, slowdown {goals.slowdown:g}"),
        ]
    )


def _table(found: list[Prediction]) -> str:
    titles = (
        "POLICY",
        "JOB MEAN",
        "P50",
        "P95",
        "FIRST TOKEN P95",
        "IN TIME",
        "SLOWDOWN",
        "MAX",
        "WITHIN",
        "BUSY",
        "CACHED",
        "WASTE",
        "HOURS",
        "COST",
    )
    rows = [
        (
            one.policy,
            seconds(one.mean_s),
            seconds(one.p50_s),
            seconds(one.p95_s),
            seconds(one.first_token_s_p95),
            f"{one.first_token_met:.1%}",
            f"{one.slowdown_mean:.2f}",
            f"{one.slowdown_max:.0f}",
            f"{one.slowdown_met:.1%}",
            f"{one.busy:.0%}",
            f"{one.hit_rate:.0%}",
            f"{one.waste:.2f}",
            f"{one.hours:.1f}",
            f"${one.cost:,.2f}" if one.cost else "-",
        )
        for one in found
    ]
    return "\n" + table(titles, rows, frozenset(range(1, len(titles))))
