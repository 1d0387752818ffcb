"""`orlop trace`: a process's calls and children as a tree, with times, tokens and costs."""

from collections.abc import Iterator
from typing import Final

import click

from orlop.abi.admin import ProcessView, Trace, TraceCall
from orlop.abi.ids import NanoDollars, Nanoseconds
from orlop.console.frame import Frame, framed
from orlop.console.screen import between, counted, money, seconds, shortened, show_json, visible
from orlop.shell.completing import any_process

BRANCH: Final = "├─ "
LAST: Final = "└─ "
TRUNK: Final = "│  "
AIR: Final = "   "
_NS_PER_S: Final = 1_000_000_000


@click.command()
@click.argument("process", shell_complete=any_process)
@click.option("--ids", is_flag=True, help="End each line with its call's id, for other commands.")
@framed
def trace(frame: Frame, process: str, ids: bool) -> None:
    """Show a process's calls and children as a tree.

    Each call: when it began after its process, how long it took, and of that queue, prefill and
    decode; tokens in (cached) and out; cost; engine.
    """
    found = frame.operator().trace(process)
    if frame.as_json:
        show_json(found)
        return
    for line in drawn(found, ids=ids):
        click.echo(line)


def drawn(found: Trace, *, ids: bool = False) -> Iterator[str]:
    """The tree's lines."""
    yield _title(found)
    yield from _below(found, "", ids)


def total_cost(found: Trace) -> NanoDollars:
    """Of a process and all below it."""
    return NanoDollars(found.process.cost + sum(map(total_cost, found.children)))


def _below(found: Trace, indent: str, ids: bool) -> Iterator[str]:
    start_ns = found.process.spawned_ns
    items: list[tuple[Nanoseconds, TraceCall | Trace]] = [
        *((call.start_ns, call) for call in found.calls),
        *((child.process.spawned_ns, child) for child in found.children),
    ]
    items.sort(key=lambda item: item[0])
    for place, (_, item) in enumerate(items, start=1):
        is_last = place == len(items)
        head = indent + (LAST if is_last else BRANCH)
        if isinstance(item, TraceCall):
            yield head + _call(item, start_ns) + f"  {item.call}" * ids
        else:
            yield head + _title(item)
            yield from _below(item, indent + (AIR if is_last else TRUNK), ids)


def _title(found: Trace) -> str:
    view = found.process
    name = click.style(view.name or view.id, bold=True)
    parts = [
        f"{name} (pid {view.pid})",
        _state(view),
        _lasted(view),
        counted(view.calls, "call")
        + (f", {view.calls_replayed:,} from the record" * bool(view.calls_replayed)),
        f"{view.input_tokens:,} → {counted(view.output_tokens, 'token')}",
        money(total_cost(found)),
    ]
    return "  ".join(parts)


def _state(view: ProcessView) -> str:
    text = view.state if view.status is None else f"{view.state} {view.status}"
    colour = None if view.status is None else "green" if view.status == 0 else "red"
    return click.style(text, fg=colour)


def _lasted(view: ProcessView) -> str:
    """Of the newest incarnation; calls are told from where the first one began."""
    lasted = between(view.started_ns, view.ended_ns)
    if view.incarnation == 1:
        return lasted
    return f"{lasted} in incarnation {view.incarnation} ({view.mode})"


def _call(call: TraceCall, start_ns: Nanoseconds) -> str:
    begun_s = (call.start_ns - start_ns) / _NS_PER_S
    parts = [
        f"{call.kind} {shortened(call.what)}".rstrip(),
        f"at {begun_s:+.2f} s",
        _duration(call),
    ]
    if call.input_tokens or call.output_tokens:
        cached = f" ({call.cached_tokens:,} cached)" if call.cached_tokens else ""
        parts.append(f"{call.input_tokens:,}{cached} → {counted(call.output_tokens, 'token')}")
    if call.cost:
        parts.append(money(call.cost))
    if call.engine:
        parts.append(f"on {call.engine}")
    if call.cleared_by:
        parts.append(f"by {call.cleared_by}")
    if call.status != "ok":
        why = f"{call.status}: {call.message}" if call.message else call.status
        parts.append(click.style(_one_line(why), fg="yellow" if call.status == "open" else "red"))
    return "  ".join(parts)


def _one_line(why: str) -> str:
    """An error of many lines, as a tool's traceback is, by its first and its last."""
    lines = [line for line in why.splitlines() if line.strip()]
    return visible(" … ".join([lines[0], *lines[1:][-1:]]) if lines else "")


def _duration(call: TraceCall) -> str:
    if call.seconds is None:
        return "not finished" if call.status == "open" else "refused"
    phases = {
        "load": call.load_s,
        "queue": call.queue_s,
        "prefill": call.prefill_s,
        "decode": call.decode_s,
    }
    shown = ", ".join(f"{name} {value_s:.2f}" for name, value_s in phases.items() if value_s)
    return seconds(call.seconds) + (f" ({shown})" if shown else "")
