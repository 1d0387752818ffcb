"""What operators may ask, and what they are shown; kept apart from what processes may call.

The HTTP API serves exactly these, as JSON under `/orlop/v1`.
"""

from typing import Literal

from msgspec import Struct

from orlop.abi.budgets import NOTHING, Amount
from orlop.abi.calls import Budget, DivergenceRule, RestartRule, SignalName
from orlop.abi.cards import EngineCard, HardwareCard, ModelCard, ToolCard
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import (
    DEFAULT_TENANT,
    CallId,
    JournalId,
    KeyId,
    NanoDollars,
    Nanoseconds,
    Pid,
    ProcessId,
    ScheduleId,
    Seq,
    TenantId,
)
from orlop.abi.processes import ProgressView
from orlop.abi.rights import EVERYTHING, Rights

Missed = Literal["skip", "once", "all"]
Overlap = Literal["allow", "forbid", "replace"]


class Info(Struct, frozen=True, kw_only=True):
    """Where everything is: `orlop info`."""

    version: str
    url: str
    socket: str
    home: str
    journal: str
    log: str
    os_pid: int
    supervisor_pid: int | None
    journal_id: JournalId
    epoch: int
    head: Seq
    started_ns: Nanoseconds
    ready: bool
    missing: tuple[str, ...] = ()
    """What keeps it from being ready."""


class ProcessView(Struct, frozen=True, kw_only=True):
    """A row of `orlop ps`, and `orlop show`."""

    id: ProcessId
    pid: Pid
    name: str
    state: str
    reason: str
    """Why it is in this state, in words."""
    parent: ProcessId | None
    command: tuple[str, ...]
    cwd: str
    latency_class: LatencyClass
    program: str
    version: str
    restart: RestartRule
    on_divergence: DivergenceRule
    budget: Budget
    incarnation: int
    mode: str
    status: int | None
    outcome: str
    divergence: str = ""
    """How it left its record, if it was stopped for it: a difference of lines."""
    os_pid: int | None
    spawned_ns: Nanoseconds
    started_ns: Nanoseconds | None
    ended_ns: Nanoseconds | None
    calls: int
    """Calls that were computed and recorded, in all incarnations."""
    calls_in_flight: int
    calls_replayed: int
    """Calls that this incarnation had answered from its record."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: NanoDollars
    team: str = ""
    used: Amount = NOTHING
    """Of its budget, by it and its children."""
    progress: ProgressView | None = None
    """What it has said of how far it is."""
    questions: tuple[str, ...] = ()
    """To people, that it waits for."""
    human_minutes: float = 0.0
    """Of people, for this process; `human_cost` likewise."""
    human_cost: NanoDollars = NanoDollars(0)
    home: str = ""
    """Which of the kernels that share a database it lives under; empty: there is one only."""
    rights: Rights = EVERYTHING
    """What it may do."""
    tenant: TenantId = DEFAULT_TENANT


class ResumeOrder(Struct, frozen=True, kw_only=True):
    """`orlop resume`: start again with the record of what was finished."""

    on_divergence: DivergenceRule | None = None
    budget: Budget | None = None


class ReplayOrder(Struct, frozen=True, kw_only=True):
    """`orlop replay`: run again from the record alone; `strict` compares the order too."""

    strict: bool = False


class SignalOrder(Struct, frozen=True, kw_only=True):
    signal: SignalName = "term"


class TraceCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call in `orlop trace`."""

    call: CallId
    seq: Seq
    kind: str
    what: str
    """The model, the tool, or the command."""
    status: str
    """ok, an error's code, or `open` (an intent without an outcome)."""
    incarnation: int
    start_ns: Nanoseconds
    seconds: float | None = None
    load_s: float = 0.0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: NanoDollars = NanoDollars(0)
    engine: str = ""
    message: str = ""
    cleared_by: str = ""
    """What let it through where people are asked otherwise: a question, a grant, an autonomy."""


class Trace(Struct, frozen=True, kw_only=True):
    """`orlop trace PID`: a process, its calls in order, its children."""

    process: ProcessView
    calls: tuple[TraceCall, ...]
    children: tuple["Trace", ...] = ()
    rest: int | None = None
    """There are more calls: ask on with this as `after`.  None: these are all."""


class KeyOrder(Struct, frozen=True, kw_only=True):
    name: str = ""
    team: str = ""
    """Whose budget its clients use."""
    allow: Rights = EVERYTHING
    """What its clients may do (`abi.rights`)."""
    expires_s: float | None = None
    """From now; None: never."""
    operator: bool = False
    """For an operator of the tenant: it may order all that is within it, and nothing outside."""


class NewKey(Struct, frozen=True, kw_only=True):
    """The only time that the secret is shown."""

    id: KeyId
    name: str
    secret: str


class KeyView(Struct, frozen=True, kw_only=True):
    id: KeyId
    name: str
    team: str = ""
    created_ns: Nanoseconds
    rights: Rights = EVERYTHING
    expires_ns: Nanoseconds | None = None
    tenant: TenantId = DEFAULT_TENANT
    operator: bool = False


class ScheduleOrder(Struct, frozen=True, kw_only=True):
    """`orlop schedule WHEN -- COMMAND`.

    when: `*/5 * * * *` (cron, five fields), `every 90s`, or `at 2027-01-01T09:00`.
    zone: an IANA time zone; times that a clock change skips run at the change, those that it
    repeats run once.
    """

    when: str
    command: tuple[str, ...]
    name: str = ""
    zone: str = "UTC"
    missed: Missed = "once"
    overlap: Overlap = "forbid"
    cwd: str = ""
    env: dict[str, str] = {}
    latency_class: LatencyClass = "batch"
    budget: Budget = Budget()
    restart: RestartRule = "never"
    allow: Rights | None = None
    """The rights of its runs; None: all."""


class ScheduleView(Struct, frozen=True, kw_only=True):
    id: ScheduleId
    name: str
    when: str
    zone: str
    missed: Missed
    overlap: Overlap
    command: tuple[str, ...]
    next_ns: Nanoseconds | None
    last_ns: Nanoseconds | None
    runs: int
    skipped: int


class Inventory(Struct, frozen=True, kw_only=True):
    """`orlop devices` and `orlop models`."""

    engines: tuple[EngineCard, ...]
    models: tuple[ModelCard, ...]
    tools: tuple[ToolCard, ...]
    hardware: tuple[HardwareCard, ...]


class EngineLoadView(Struct, frozen=True, kw_only=True):
    """One engine, or one tool, as the scheduler plans with it: a row of `orlop top`."""

    name: str
    attached: bool
    """False while it is lost: then only calls that nobody else can serve go there."""
    seats: int
    """Calls that it may run now: learned, at most `slots`."""
    slots: int
    running: int
    waiting: int
    """Calls in our queues that could go there; one that has a choice is counted at each."""
    kv_used: int
    """Tokens of the calls that run, with what they are expected to write."""
    kv_tokens: int | None
    retained: int
    """Tokens kept for programs that are away using a tool; they fade with time."""
    budget: int | None
    """What may be in use and retained together, device and host."""
    resident: int
    """Tokens believed to lie on the device, and next on the host."""
    host: int
    call_s: float
    """Seconds that a call holds its seat, lately."""
    input_tokens: int
    cached_tokens: int
    """Of the input tokens, those that were not computed again: the hit rate is their share."""
    output_tokens: int
    wasted_tokens: int
    """Input tokens that were computed again although the program had sent them before."""
    preempted: int
    calls: int


class ProgramView(Struct, frozen=True, kw_only=True):
    """One program in `orlop top`."""

    program: str
    tenant: str
    agent: str
    state: str
    """reasoning, acting, paused or hibernated."""
    running: int
    waiting: int
    attained_s: float
    """Engine seconds that it has had, along its critical path."""
    remaining_s: float | None
    """Engine seconds that it is expected to need yet; None: nothing is known of its kind."""
    waited_s: float
    """Seconds that its calls have waited, all told."""
    context_tokens: int
    engine: str
    """Where its largest context lies, or lay last."""
    since_s: float
    """Seconds in this state."""
    gap_s: float
    """How long it is expected to be away, while it acts."""


class SchedulerView(Struct, frozen=True, kw_only=True):
    """What the scheduler knows, at one moment: `orlop top`."""

    policy: str
    engines: tuple[EngineLoadView, ...]
    programs: tuple[ProgramView, ...]
    """The most recently active, at most `PROGRAMS_SHOWN_MAX`."""
    waiting: dict[str, int]
    """Calls that wait, by latency class."""
    states: dict[str, int]
    """Programs by state."""
    programs_known: int
    grants: int
    refused: int
    preempted: int
    promoted: int
    """Calls let on before their turn, because they had waited too long."""
    paused: int
    """Contexts that lost their place to make room, so far."""
    rank_quality: float
    """Kendall's tau of predicted and true work of recent programs: how far prediction rules."""


class OutputLine(Struct, frozen=True, kw_only=True):
    """A piece of what a process printed: `orlop logs`.

    offset: bytes of its stream up to and with this piece; a question that names it goes on there.
    """

    stream: Literal["out", "err"]
    offset: int
    text: str


class HomeInfo(Struct, frozen=True, kw_only=True):
    """`info.json` in a kernel's home: how to find the kernel, also while it restarts."""

    url: str
    socket: str
    home: str
    supervisor_pid: int
    version: str
    airgap: bool = False
    """Nothing is reached that orlop.toml does not name."""
