"""What the journal remembers: an open header (hashed into the chain) and one sealed body.

Bodies hold no conversation text: messages lie beside them, once per tenant, and are named here by
`context` (the parent's digest and the names of what is new).
"""

from typing import Literal

from msgspec import Raw, Struct

from orlop.abi.budgets import AccountName, Limit
from orlop.abi.calls import Budget, Call, DivergenceRule, Normalizer, RestartRule
from orlop.abi.cards import Measured
from orlop.abi.devices import ClaimId, ClaimView, DeviceHealth, DeviceName
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import (
    DEFAULT_TENANT,
    BootId,
    CallId,
    EngineName,
    JournalId,
    KeyId,
    ModelName,
    NanoDollars,
    Nanoseconds,
    Pid,
    ProcessId,
    ScheduleId,
    Seq,
    TenantId,
)
from orlop.abi.questions import QuestionAnswered, QuestionAsked, QuestionExpired
from orlop.abi.replies import Done
from orlop.abi.tools import ToolChanged, ToolPinned, ToolRefused


class Header(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One event's open part.  Digests are 32 bytes; `prev` and `hash` make the chain.

    `boot`, `prev` and `hash` are not in the bytes that are hashed: they follow from the journal.
    """

    seq: Seq
    process: ProcessId
    process_seq: int
    """Gap-free from 1 within the process."""
    kind: str
    call: CallId | None = None
    """The correlation id: all events of one call have it."""
    cause: Seq | None = None
    """The event that this one answers (an outcome's intent)."""
    actor: str = ""
    """Empty: the process itself."""
    tenant: TenantId = DEFAULT_TENANT
    wall_ns: Nanoseconds
    mono_ns: Nanoseconds
    """For reading; neither clock ever orders anything."""
    epoch: int
    """The fencing epoch of the kernel that wrote it."""
    key: bytes | None = None
    """Outcomes only: one outcome a key, by a unique index."""
    args_digest: bytes | None = None
    body_digest: bytes
    """SHA-256 over the ciphertexts of the body and of the parts that came with it."""
    boot: BootId = BootId("")
    prev: bytes = b""
    hash: bytes = b""


# The kernel's own life.


class Booted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="kernel.booted"):
    boot: BootId
    epoch: int
    version: str
    host: str
    os_pid: int


class Halted(Struct, frozen=True, kw_only=True, tag_field="kind", tag="kernel.halted"):
    """A clean stop; a boot without one before it was a crash."""

    reason: str


class Snapshot(Struct, frozen=True, kw_only=True, tag_field="kind", tag="kernel.snapshot"):
    """The kernel's tables after all earlier events; boot reads the newest and what follows it."""

    format: int
    state: Raw


class LossAccepted(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="journal.loss_accepted"
):
    """An operator accepted that events `first` to `last` are gone; signed with the journal key."""

    journal: JournalId
    first: Seq
    last: Seq | None
    """None: unknown, since the anchor was lost too."""
    reason: str
    signature: str


class AnchorRepaired(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="journal.anchor_repaired"
):
    """One of the head anchor's two slots did not check out at boot, and was written anew."""

    reason: str


class KeyCreated(Struct, frozen=True, kw_only=True, tag_field="kind", tag="key.created"):
    """A client key.  `secret_digest`: SHA-256 of the secret, hexadecimal."""

    key_id: KeyId
    name: str
    secret_digest: str
    team: str = ""
    """Whose budget its clients use."""


class KeyRevoked(Struct, frozen=True, kw_only=True, tag_field="kind", tag="key.revoked"):
    key_id: KeyId


# Processes.


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


# Calls: an intent, then exactly one outcome.


class ContextRef(Struct, frozen=True, omit_defaults=True):
    """A conversation by reference: all of the call at `parent_seq` (and its reply, if `reply`),
    then the messages named in `new` (hexadecimal).  `digest` is the whole conversation's."""

    digest: str
    new: tuple[str, ...] = ()
    parent_seq: Seq | None = None
    reply: bool = False


class CallEntered(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="call.entered", omit_defaults=True
):
    """An intent.  `body` is the call without its messages; those are in `context`."""

    incarnation: int
    body: Call
    context: ContextRef | None = None
    effect: str = ""
    """Of a tool call: its effect's name for ever.  A call that was cut off hands its name on to the
    call that makes it again, so that the tool can tell."""
    nonce: str = ""
    """The client's own name for this one call, so that its retry is told from an equal call."""
    held: int = 0
    """Tokens reserved on the budgets; booked in full if the outcome stays unknown."""
    held_cost: NanoDollars = NanoDollars(0)
    """Likewise, at the prices of this moment."""
    held_ns: Nanoseconds = Nanoseconds(0)
    """Likewise: how long it may run."""


NO_CHUNKS = Raw(b"null")
"""Of an answer that did not come in pieces."""


class CallReturned(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="call.returned", omit_defaults=True
):
    """An outcome.  A completion's messages are named in `messages` (hexadecimal, one a choice) and
    left out of `done`; `chunks` are the boundaries of its stream (see `wire.chunks`)."""

    done: Done
    messages: tuple[str, ...] = ()
    chunks: Raw = NO_CHUNKS
    ran_ns: Nanoseconds = Nanoseconds(0)
    """How long it ran, waiting apart; at most what was held."""
    booked: int = 0
    """Tokens booked beside its usage: the whole hold, where its engine told no usage."""
    booked_cost: NanoDollars = NanoDollars(0)


class CallFailed(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="call.failed", omit_defaults=True
):
    """An outcome too."""

    code: str
    message: str
    retry_after_s: float | None = None
    booked: int = 0
    """Tokens booked although the outcome is unknown: the whole hold."""
    booked_cost: NanoDollars = NanoDollars(0)
    """Likewise."""
    ran_ns: Nanoseconds = Nanoseconds(0)
    """How long it ran; the whole hold, where the kernel was lost."""
    asked: bool = True
    """A device had been asked, so it may have acted; False: the call was still in a queue."""


# Budgets.


class BudgetSet(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="budget.set", omit_defaults=True
):
    """An operator has said what an account may use; what it has used stays."""

    account: AccountName
    limit: Limit


class BudgetRemoved(Struct, frozen=True, kw_only=True, tag_field="kind", tag="budget.removed"):
    account: AccountName


class HoldExceeded(Struct, frozen=True, kw_only=True, tag_field="kind", tag="budget.exceeded"):
    """An incident: an engine billed more than could be proven that it would.

    The ledger has what was billed, so a budget may be overdrawn by the difference.
    """

    engine: EngineName
    model: ModelName
    held: int
    used: int
    held_cost: NanoDollars
    cost: NanoDollars


# Schedules.


class ScheduleSet(Struct, frozen=True, kw_only=True, tag_field="kind", tag="schedule.set"):
    schedule: ScheduleId
    name: str
    when: str
    """`cron …`, `every …` or `at …`, as the user wrote it."""
    zone: str
    missed: Literal["skip", "once", "all"]
    overlap: Literal["allow", "forbid", "replace"]
    command: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    latency_class: LatencyClass
    budget: Budget
    restart: RestartRule
    start_ns: Nanoseconds


class ScheduleRemoved(Struct, frozen=True, kw_only=True, tag_field="kind", tag="schedule.removed"):
    schedule: ScheduleId


class ScheduleFired(Struct, frozen=True, kw_only=True, tag_field="kind", tag="schedule.fired"):
    """The `runs` that were due up to `due_ns` are decided: started, or skipped for a reason."""

    schedule: ScheduleId
    due_ns: Nanoseconds
    process: ProcessId | None
    reason: str = ""
    runs: int = 1


# Models.


class ModelLoaded(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="model.loaded", omit_defaults=True
):
    """A model has come to its device.  The medians of `seconds` are its cold starts."""

    engine: EngineName
    model: ModelName
    origin: str
    """Where it lay: asleep, host or disk."""
    seconds: float
    bytes: int = 0
    """What it takes of the device; 0: the engine doesn't say."""
    why: str = ""


class ModelLeft(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="model.left", omit_defaults=True
):
    """A model has given its device's memory back."""

    engine: EngineName
    model: ModelName
    to: str
    """Where it lies now: asleep or disk."""
    seconds: float
    why: str = ""


class ModelPinned(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="model.pinned", omit_defaults=True
):
    """An operator keeps a model on its device, or no longer."""

    engine: EngineName
    model: ModelName
    pinned: bool


# Devices.


class DeviceChanged(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.changed", omit_defaults=True
):
    """A device is good for more or for less than before."""

    device: DeviceName
    health: DeviceHealth
    was: DeviceHealth | None = None
    """None: it has come."""
    share: float = 1.0
    """Of what it could do, what it is given from now on."""
    reason: str = ""


class DeviceClaimed(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.claimed", omit_defaults=True
):
    claim: ClaimView
    where: str = ""


class DeviceReleased(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.released", omit_defaults=True
):
    claim: ClaimId
    device: DeviceName
    reason: str = ""


class DeviceErased(Struct, frozen=True, kw_only=True, tag_field="kind", tag="device.erased"):
    """What a tenant that had it alone left on it is gone; `how`: in each driver's words."""

    device: DeviceName
    tenant: TenantId
    how: str


class ModelMeasured(Struct, frozen=True, kw_only=True, tag_field="kind", tag="model.measured"):
    """What an artefact of a model answered rightly, on a labelled set."""

    measured: Measured


Event = (
    Booted
    | Halted
    | Snapshot
    | LossAccepted
    | AnchorRepaired
    | KeyCreated
    | KeyRevoked
    | ProcessSpawned
    | ProcessStarted
    | ProcessLaunched
    | ProcessChanged
    | ProcessEnded
    | ProcessCaughtUp
    | OutcomeStated
    | Diverged
    | CallEntered
    | CallReturned
    | CallFailed
    | BudgetSet
    | BudgetRemoved
    | HoldExceeded
    | ScheduleSet
    | ScheduleRemoved
    | ScheduleFired
    | ModelLoaded
    | ModelLeft
    | ModelPinned
    | DeviceChanged
    | DeviceClaimed
    | DeviceReleased
    | DeviceErased
    | ModelMeasured
    | ToolPinned
    | ToolChanged
    | ToolRefused
    | QuestionAsked
    | QuestionAnswered
    | QuestionExpired
)
