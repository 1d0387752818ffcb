"""What `orlop top` draws: one text of one look, and rates where there was a look before it."""

from collections.abc import Sequence
from typing import Final

import click

from orlop.abi.admin import EngineLoadView, ProcessView, ProgramView
from orlop.abi.overview import Overview
from orlop.abi.residency import ModelView
from orlop.console.screen import between, command, seconds, shortened, size, table
from orlop.shell.models import cold_start

ENGINES: Final = (
    *("ENGINE", "SEATS", "WAITING", "KV", "KEPT", "HOST"),
    *("IN/S", "OUT/S", "HIT", "WASTE", "CALL"),
)
MODELS: Final = ("MODEL", "ENGINE", "STATE", "SIZE", "CALLS", "A MINUTE", "COLD START")
PROGRAMS: Final = (
    *("PROGRAM", "AGENT", "STATE", "FOR", "CALLS", "HAD", "LEFT", "WAITED", "CONTEXT", "ENGINE"),
)
PROCESSES: Final = ("PID", "NAME", "CLASS", "STATE", "CALLS", "IN", "CACHED", "OUT", "COMMAND")
SHOWN_MAX: Final = 20
"""Rows of one table."""


def picture(before: Overview | None, now: Overview) -> str:
    """before: an earlier look at the same kernel, for rates; without it they are `-`."""
    parts = [_head(now), _engines(before, now), _models(now)]
    if now.scheduler.programs:
        parts.append(_programs(now.scheduler.programs))
    if now.processes:
        parts.append(_processes(now.processes))
    return "\n\n".join(parts)


def _head(now: Overview) -> str:
    scheduler = now.scheduler
    programs = ", ".join(f"{count} {state}" for state, count in scheduler.states.items())
    processes = ", ".join(f"{count} {state}" for state, count in now.states.items() if count)
    waiting = ", ".join(f"{count} {name}" for name, count in scheduler.waiting.items())
    lines = [
        f"orlop {now.version}, up {between(now.started_ns, now.wall_ns)}, "
        f"policy {scheduler.policy}",
        f"calls      {now.calls_in_flight} in flight, {now.calls_parked} parked",
        f"waiting    {waiting or 'none'}",
        f"programs   {programs or 'none'} ({scheduler.programs_known} known), "
        f"forecasts rank {scheduler.rank_quality:.2f}",
        f"processes  {processes or 'none'}",
        f"so far     {scheduler.grants:,} let on, {scheduler.promoted:,} early, "
        f"{scheduler.preempted:,} preempted, {scheduler.refused:,} refused, "
        f"{scheduler.paused:,} contexts paused, {now.residency.evictions:,} models sent away",
    ]
    return "\n".join([click.style(lines[0], bold=True), *lines[1:]])


def _engines(before: Overview | None, now: Overview) -> str:
    earlier = {} if before is None else {view.name: view for view in before.scheduler.engines}
    passed_s = 0.0 if before is None else now.now_s - before.now_s
    rows = [_engine(earlier.get(view.name), view, passed_s) for view in now.scheduler.engines]
    return (
        table(ENGINES, rows[:SHOWN_MAX], frozenset(range(1, len(ENGINES))))
        if rows
        else "no engines"
    )


def _engine(
    before: EngineLoadView | None, view: EngineLoadView, passed_s: float
) -> tuple[str, ...]:
    slots = "" if view.seats == view.slots else f" (of {view.slots})"
    used = f"{view.kv_used:,}" + ("" if view.kv_tokens is None else f"/{view.kv_tokens:,}")
    return (
        view.name + ("" if view.attached else " (lost)"),
        f"{view.running}/{view.seats}{slots}",
        str(view.waiting),
        used,
        f"{view.retained:,}",
        f"{view.host:,}",
        rate(None if before is None else before.input_tokens, view.input_tokens, passed_s),
        rate(None if before is None else before.output_tokens, view.output_tokens, passed_s),
        share(view.cached_tokens, view.input_tokens),
        share(view.wasted_tokens, view.input_tokens),
        seconds(view.call_s),
    )


def rate(before: int | None, now: int, passed_s: float) -> str:
    """A second; `-` where there is nothing to compare with."""
    if before is None or passed_s <= 0:
        return "-"
    return f"{max(0, now - before) / passed_s:,.0f}"


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _models(now: Overview) -> str:
    rows = [_model(view) for view in now.residency.models[:SHOWN_MAX]]
    pools = [
        f"{pool.device}: {size(pool.held_bytes)} of {size(pool.budget_bytes)} for models in use"
        for pool in now.residency.pools
        if pool.budget_bytes is not None
    ]
    shown = table(MODELS, rows, frozenset({3, 4, 5})) if rows else "no models"
    return "\n".join([shown, *pools])


def _model(view: ModelView) -> tuple[str, ...]:
    waiting = f"+{view.calls_waiting}" if view.calls_waiting else ""
    return (
        view.name,
        view.engine,
        view.state + (" (pinned)" if view.pinned else ""),
        size(view.bytes) if view.bytes else "-",
        f"{view.calls_running}{waiting}",
        f"{view.rate * 60:.1f}" if view.moved else "-",
        cold_start(view),
    )


def _programs(programs: Sequence[ProgramView]) -> str:
    rows = [_program(view) for view in programs[:SHOWN_MAX]]
    return table(PROGRAMS, rows, frozenset({3, 4, 5, 6, 7, 8}))


def _program(view: ProgramView) -> tuple[str, ...]:
    waiting = f"+{view.waiting}" if view.waiting else ""
    return (
        shortened(view.program),
        view.agent or "-",
        view.state,
        seconds(view.since_s),
        f"{view.running}{waiting}",
        seconds(view.attained_s),
        "-" if view.remaining_s is None else seconds(view.remaining_s),
        seconds(view.waited_s),
        f"{view.context_tokens:,}",
        view.engine or "-",
    )


def _processes(processes: Sequence[ProcessView]) -> str:
    rows = [_process(view) for view in processes[:SHOWN_MAX]]
    return table(PROCESSES, rows, frozenset({0, 4, 5, 6, 7}))


def _process(view: ProcessView) -> tuple[str, ...]:
    return (
        str(view.pid),
        shortened(view.name),
        view.latency_class,
        view.state,
        f"{view.calls_in_flight}/{view.calls:,}",
        f"{view.input_tokens:,}",
        share(view.cached_tokens, view.input_tokens),
        f"{view.output_tokens:,}",
        shortened(command(view.command)),
    )
