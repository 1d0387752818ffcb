"""What happened, in figures, and what they are worth."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

import desk
from straight import Way

CLASSES_RIGHT_MIN: Final = 7 / 8
"""Of the tickets, by the embedded embedding model: 21 of 24."""

SMALL: Final = """\
What the drafts are worth: little.  SmolLM2 has 135 million parameters: it writes fluent English, \
but often not what was decided, and it invents.  It is here because it runs on any computer, so \
that all of this is real: real tokens, real streams, real crashes.  What is decided does not come \
from it, but from embeddings (MiniLM) and rules.  The same desk on a better model, on any server \
that speaks OpenAI's dialect:
    make demo ENGINE=name=http://host:8000/v1 MODEL=its-name"""

OTHER: Final = """\
What the drafts are worth: as much as {model} is.  What is decided does not come from it, but from \
embeddings (MiniLM) and rules."""

ARITHMETIC: Final = "What the drafts are worth: nothing, an engine of arithmetic has made them."


class Written(Struct, frozen=True):
    """A row of the shop's `decision` table."""

    order: int
    label: str
    verdict: str
    reply: str


class Report(Struct, frozen=True, kw_only=True):
    """All figures; `--json` writes exactly these.  Times are in seconds."""

    fake: bool
    model: str
    tickets: int
    tickets_finished: int
    classes_right: int
    calls_made: int
    """By all incarnations of all agents; those that a kill cut off were made again."""
    calls_from_journal: int
    """Answered from the record, to agents that were started again."""
    agents_restarted: int
    input_tokens: int
    output_tokens: int
    wall_s: float
    ticket_s_p50: float
    ticket_s_p95: float
    outage_s: float
    """The longest that a client waited for an answer of the kernel, over its crash."""
    refused: int
    """Connections that were refused meanwhile."""
    attempts: int
    """Executions of `shop.decide`, counted by the shop."""
    effects: int
    """Decisions in the shop's table."""
    orders_decided_once: int
    decisions: list[Written]
    journal_events: int = 0
    """Verified on the files, after all had stopped."""
    straight: Way | None = None
    through: Way | None = None

    @property
    def broken(self) -> list[str]:
        """Promises that were not kept; a demo that has any ends with status 1."""
        promises = {
            "all tickets are finished": self.tickets_finished == self.tickets,
            "each order is decided exactly once": (
                self.effects == self.orders_decided_once == self.tickets
            ),
            "nobody is refused while the kernel is away": self.refused == 0,
            "at least 7 of 8 classes are right": self.fake
            or self.classes_right >= CLASSES_RIGHT_MIN * self.tickets,
        }
        return [promise for promise, kept in promises.items() if not kept]


def right(tickets: Sequence[desk.Ticket], decisions: Sequence[Written]) -> int:
    """Tickets that were put into the class that a person put them into."""
    labels = {decision.order: decision.label for decision in decisions}
    return sum(labels.get(ticket.order) == ticket.label for ticket in tickets)


def spread(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    return statistics.median(seconds), statistics.quantiles(seconds, n=20, method="inclusive")[-1]


def save(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def honestly(report: Report) -> str:
    """What to make of the drafts."""
    if report.fake:
        return ARITHMETIC
    return SMALL if report.model == desk.CHAT_MODEL else OTHER.format(model=report.model)


def show(report: Report) -> None:
    """On the terminal: figures, two drafts, and what to make of them."""
    console = Console(highlight=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in _rows(report):
        table.add_row(name, value)
    console.print()
    console.print(table)
    for decision in report.decisions[:2]:
        console.print(f"\n[bold]A draft[/bold] (order {decision.order}, {decision.verdict}):")
        console.print(decision.reply.strip(), markup=False, style="dim")
    console.print("\n" + honestly(report), markup=False)
    for promise in report.broken:
        console.print(f"[red]broken:[/red] {promise}")


def _rows(report: Report) -> list[tuple[str, str]]:
    rows = [
        ("tickets finished", f"{report.tickets_finished} of {report.tickets}"),
        (
            "classes right",
            "(an engine of arithmetic: of no meaning)"
            if report.fake
            else f"{report.classes_right} of {report.tickets}",
        ),
        (
            "shop.decide",
            f"{report.attempts} attempts, {report.effects} effects, "
            f"{report.orders_decided_once} orders decided once (counted by the shop)",
        ),
        (
            "calls",
            f"{report.calls_made} made; {report.calls_from_journal} more answered from the journal "
            f"to {report.agents_restarted} agent{'s' * (report.agents_restarted != 1)} "
            "that had to start again",
        ),
        ("tokens", f"{report.input_tokens:,} in, {report.output_tokens:,} out"),
        ("wall time", f"{report.wall_s:.1f} s"),
        ("a ticket", f"p50 {report.ticket_s_p50:.1f} s, p95 {report.ticket_s_p95:.1f} s"),
        (
            "kernel away",
            f"{report.outage_s:.2f} s was a client's longest wait, {report.refused} were refused",
        ),
        ("journal", f"whole: {report.journal_events:,} events verified on the files"),
    ]
    if report.straight is not None and report.through is not None:
        rows += _comparison(report.straight, report.through)
    return rows


def _comparison(straight: Way, through: Way) -> list[tuple[str, str]]:
    def line(figures: Way) -> str:
        return (
            f"{figures.drafts} in {figures.seconds:.1f} s, p50 {figures.draft_s_p50:.1f} s, "
            f"{figures.tokens_per_s:.0f} tokens/s"
        )

    added = straight.tokens_per_s / through.tokens_per_s - 1
    return [
        ("drafts, straight", line(straight)),
        ("through the kernel", line(through)),
        ("", f"{added:+.0%} time a token; so few drafts tell less than 20% from noise"),
    ]
