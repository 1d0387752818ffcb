"""The process table's rows, and how each event of the journal changes them.

Invariants:
1. A row is changed by `reduce` and `book` alone, live and at boot: it is a fold of the journal.
2. A process moves by `TRANSITIONS` alone; what is not in them is refused before it is recorded.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.budgets import AccountName
from orlop.abi.calls import METERED, Budget, DivergenceRule, Normalizer, Progress, RestartRule
from orlop.abi.capabilities import RightGranted, RightsTaken
from orlop.abi.errors import Conflict
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event, Header
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import (
    KeyId,
    NanoDollars,
    Nanoseconds,
    Pid,
    ProcessId,
    ScheduleId,
    TenantId,
)
from orlop.abi.kernels import ProcessLeft
from orlop.abi.limits import STEADY_S
from orlop.abi.processes import (
    Diverged,
    OutcomeStated,
    ProcessCaughtUp,
    ProcessChanged,
    ProcessEnded,
    ProcessLaunched,
    ProcessSpawned,
    ProcessStarted,
    ProgressView,
)
from orlop.abi.rights import EVERYTHING, Rights, canonical
from orlop.abi.sandbox import Sandbox
from orlop.machine.clock import NS_PER_S


class State(StrEnum):
    NEW = "new"
    RUNNING = "running"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    EXITED = "exited"
    ELSEWHERE = "elsewhere"
    """Another kernel has taken it over."""


TRANSITIONS: Final[Mapping[tuple[State, str], State]] = {
    (State.NEW, "start"): State.RUNNING,
    (State.NEW, "end"): State.EXITED,
    (State.RUNNING, "stop"): State.STOPPED,
    (State.RUNNING, "interrupt"): State.INTERRUPTED,
    (State.RUNNING, "end"): State.EXITED,
    (State.STOPPED, "cont"): State.RUNNING,
    (State.STOPPED, "interrupt"): State.INTERRUPTED,
    (State.STOPPED, "end"): State.EXITED,
    (State.INTERRUPTED, "start"): State.RUNNING,
    (State.INTERRUPTED, "end"): State.EXITED,
    (State.EXITED, "start"): State.RUNNING,
    (State.NEW, "leave"): State.ELSEWHERE,
    (State.RUNNING, "leave"): State.ELSEWHERE,
    (State.STOPPED, "leave"): State.ELSEWHERE,
    (State.INTERRUPTED, "leave"): State.ELSEWHERE,
}

NAMELESS: Final = "client"
"""What a client is called that sends no `Orlop-Process`."""

ALIVE: Final = (State.RUNNING, State.STOPPED)
"""States in which an incarnation exists."""

OVER: Final = (State.EXITED, State.ELSEWHERE)
"""States in which nothing more comes from it here."""


def step(state: State, event: str) -> State:
    """Raises `Conflict` where the table has no such step."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Conflict(f"a process that is {state} can't {event}") from None


def check(state: State, event: Event) -> None:
    """Raises `Conflict` where `reduce` would: an event that can't be folded is never recorded."""
    if isinstance(event, (CallEntered, CallReturned, CallFailed)):  # As most are.
        return
    match event:
        case ProcessStarted():
            step(state, "start")
        case ProcessChanged():
            step(state, event.event)
        case ProcessEnded():
            step(state, "end")
        case ProcessLeft():
            step(state, "leave")
        case _:
            pass


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the journal says of one process."""

    id: ProcessId
    pid: Pid
    tenant: TenantId
    name: str
    parent: ProcessId | None
    command: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    latency_class: LatencyClass
    budget: Budget
    restart: RestartRule
    on_divergence: DivergenceRule
    program: str
    version: str
    spawned_ns: Nanoseconds
    key_id: KeyId | None = None
    schedule: ScheduleId | None = None
    team: str = ""
    accounts: tuple[AccountName, ...] = ()
    """What its calls use: its own first, then its parent's, its task's, its agent's and so on."""
    normalize: tuple[Normalizer, ...] = ()
    sandbox: Sandbox | None = None
    state: State = State.NEW
    reason: str = ""
    incarnation: int = 0
    mode: str = "first"
    strict: bool = False
    status: int | None = None
    outcome: str = ""
    os_pid: int | None = None
    os_started: float | None = None
    started_ns: Nanoseconds | None = None
    ended_ns: Nanoseconds | None = None
    calls: int = 0
    progress: ProgressView | None = None
    calls_metered: int = 0
    """Of the calls, those that count against a budget."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    tokens_lost: int = 0
    """Booked for calls whose outcome, or whose usage, is unknown."""
    cost: NanoDollars = NanoDollars(0)
    caught_up: bool = True
    """False while an incarnation may still be answered from the record."""
    divergence: str = ""
    """How this incarnation left its record, if it was stopped for it."""
    restarts: int = 0
    """Restarts in a row of incarnations that did not live long; bounds a crash loop."""
    rights: Rights = EVERYTHING
    """What it may do; none that its parent has not."""
    home: str = ""
    """Where it lives, if another kernel has taken it over."""

    @property
    def is_client(self) -> bool:
        """A client that came with a key: there is no program of ours to start."""
        return not self.command

    @property
    def is_nameless(self) -> bool:
        """A client that did not name its run: it has a trace, and nobody can resume it."""
        return self.is_client and self.name == NAMELESS


def spawn_row(header: Header, event: ProcessSpawned, accounts: tuple[AccountName, ...] = ()) -> Row:
    return Row(
        id=header.process,
        pid=event.pid,
        tenant=header.tenant,
        name=event.name,
        parent=event.parent,
        command=event.command,
        cwd=event.cwd,
        env=event.env,
        latency_class=event.latency_class,
        budget=event.budget,
        restart=event.restart,
        on_divergence=event.on_divergence,
        program=event.program,
        version=event.version,
        key_id=event.key_id,
        schedule=event.schedule,
        team=event.team,
        accounts=accounts,
        normalize=event.normalize,
        rights=event.rights,
        sandbox=event.sandbox,
        spawned_ns=header.wall_ns,
    )


def reduce(row: Row, header: Header, event: Event) -> Row:  # noqa: C901 (one row a kind)
    """The row after `event` (of a call: `book`); what says nothing of it leaves it as it is."""
    match event:
        case ProcessStarted():
            return start(row, header, event)
        case ProcessLaunched():
            return replace(row, os_pid=event.os_pid, os_started=event.os_started)
        case ProcessChanged():
            return replace(
                row,
                state=step(row.state, event.event),
                reason=event.reason,
                restarts=0 if was_steady(row, header) else row.restarts,
            )
        case ProcessLeft():
            where = event.url or event.host
            return replace(
                row, state=step(row.state, "leave"), home=where, reason=f"taken over by {where}"
            )
        case ProcessEnded():
            return replace(
                row,
                state=step(row.state, "end"),
                status=event.status,
                reason=event.reason,
                ended_ns=header.wall_ns,
                restarts=0 if was_steady(row, header) or is_done(row, event) else row.restarts,
            )
        case OutcomeStated():
            return replace(row, outcome=event.status)
        case Diverged():
            return replace(row, divergence=event.difference if event.rule == "stop" else "")
        case ProcessCaughtUp():
            return replace(row, caught_up=True)
        case RightGranted():
            return replace(row, rights=canonical((*row.rights, event.right)))
        case RightsTaken():
            kept = tuple(right for right in row.rights if right not in event.rights)
            return replace(row, rights=kept)
        case _:
            return row


def start(row: Row, header: Header, event: ProcessStarted) -> Row:
    """With a new incarnation: of the last one's end nothing stays."""
    return replace(
        row,
        state=step(row.state, "start"),
        reason="",
        divergence="",
        incarnation=event.incarnation,
        mode=event.mode,
        strict=event.strict,
        status=None,
        os_pid=None,
        os_started=None,
        started_ns=header.wall_ns,
        ended_ns=None,
        restarts=row.restarts + 1 if event.incarnation > 1 else 0,
        caught_up=event.mode == "first",
        budget=event.budget or row.budget,
        on_divergence=event.on_divergence or row.on_divergence,
    )


def was_steady(row: Row, header: Header) -> bool:
    """Whether the incarnation has lived too long by now to be part of a crash loop."""
    lived_ns = header.wall_ns - (row.started_ns or header.wall_ns)
    return lived_ns >= STEADY_S * NS_PER_S


def is_done(row: Row, event: ProcessEnded) -> bool:
    """Whether the process has ended well; one that is always restarted goes round instead."""
    return event.status == 0 and row.restart != "always"


def told(row: Row, header: Header, event: CallEntered) -> ProgressView | None:
    """How far the process is, by its newest word."""
    said = event.body
    if not isinstance(said, Progress):
        return row.progress
    ends_ns = None
    if said.ends_s is not None:
        ends_ns = Nanoseconds(header.wall_ns + round(said.ends_s * NS_PER_S))
    return ProgressView(
        step=said.step,
        share=said.share,
        waits_for=said.waits_for,
        ends_ns=ends_ns,
        at_ns=header.wall_ns,
    )


def book(row: Row, header: Header, event: CallEntered | CallFailed | CallReturned) -> Row:
    """Count a call that begins, and the usage of one that ends."""
    match event:
        case CallEntered():
            metered = row.calls_metered + isinstance(event.body, METERED)
            return replace(
                row, calls=row.calls + 1, calls_metered=metered, progress=told(row, header, event)
            )
        case CallFailed():
            return replace(
                row,
                tokens_lost=row.tokens_lost + event.booked,
                cost=NanoDollars(row.cost + event.booked_cost),
            )
    usage, facts = event.done.facts.usage, event.done.facts
    return replace(
        row,
        input_tokens=row.input_tokens + usage.input_tokens,
        cached_tokens=row.cached_tokens + usage.cached_tokens,
        output_tokens=row.output_tokens + usage.output_tokens,
        tokens_lost=row.tokens_lost + event.booked,
        cost=NanoDollars(row.cost + facts.cost + event.booked_cost),
    )
