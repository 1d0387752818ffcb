"""Processes: what the journal remembers of one's life."""

from typing import Literal

from msgspec import Struct

from orlop.abi.calls import Budget, DivergenceRule, Normalizer, RestartRule
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import KeyId, Nanoseconds, Pid, ProcessId, ScheduleId, Seq
from orlop.abi.rights import EVERYTHING, Rights
from orlop.abi.sandbox import Sandbox


class ProgressView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a process has said of how far it is."""

    step: str
    share: float | None = None
    waits_for: str = ""
    ends_ns: Nanoseconds | None = None
    """When it expects to be done, as of then."""
    at_ns: Nanoseconds
    """When it said so."""


class ProcessSpawned(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.spawned"):
    """A row of the process table.  A client that came with a key has no command."""

    pid: Pid
    name: str
    parent: ProcessId | None
    command: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    """What the command gets beside the kernel's own environment variables."""
    latency_class: LatencyClass
    budget: Budget
    restart: RestartRule
    on_divergence: DivergenceRule
    program: str
    version: str
    key_id: KeyId | None = None
    schedule: ScheduleId | None = None
    due_ns: Nanoseconds | None = None
    normalize: tuple[Normalizer, ...] = ()
    team: str = ""
    rights: Rights = EVERYTHING
    sandbox: Sandbox | None = None
    token: str = ""
    """The narrowed token with a budget that its parent's call came with: it uses that too."""


class ProcessStarted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.started"):
    """A new incarnation may call; tokens of earlier ones are fenced from here on."""

    incarnation: int
    mode: Literal["first", "resume", "replay"]
    strict: bool = False
    budget: Budget | None = None
    """A new budget for the whole process; None: as before."""
    on_divergence: DivergenceRule | None = None


class ProcessLaunched(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.launched"):
    """The shim of this incarnation lives.  Process id and start time together name it for ever."""

    incarnation: int
    os_pid: int
    os_started: float


class ProcessChanged(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.changed"):
    """A step of the state machine that is neither start nor end."""

    event: str
    reason: str = ""


class ProcessEnded(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.ended"):
    """`status`: the exit status, or minus the signal's number.  `outcome`: what the agent said."""

    incarnation: int
    status: int
    reason: str = ""


class Answered(Struct, frozen=True, array_like=True):
    """A recorded call that a later incarnation was answered from, and its client's name for it."""

    intent: Seq
    nonce: str = ""


class ProcessCaughtUp(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.caught_up"):
    """A resumed incarnation has asked for all that was recorded; from here on it runs live.

    `answered`: the newest of those answers, for a client that loses one with the kernel.
    """

    incarnation: int
    answered: tuple[Answered, ...] = ()


class OutcomeStated(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.outcome"):
    status: str
    note: str


class Diverged(Struct, frozen=True, kw_only=True, tag_field="kind", tag="process.diverged"):
    """A resumed process made a call that its record does not hold."""

    incarnation: int
    expected: Seq | None
    """The recorded call that comes nearest."""
    difference: str
    rule: DivergenceRule
    dropped: tuple[Seq, ...] = ()
    """Recorded calls that no later incarnation is answered from, since this one left their path."""
