"""What the journal remembers: an open header (hashed into the chain) and one sealed body.

Bodies hold no conversation text: messages lie beside them, once per tenant, and are named here by
`context` (the parent's digest and the names of what is new).
"""

from msgspec import Raw, Struct

from orlop.abi.budgets import BudgetRemoved, BudgetSet, HoldExceeded
from orlop.abi.calls import Call
from orlop.abi.capabilities import (
    RightGranted,
    RightRefused,
    RightsTaken,
    SigningKeyMade,
    TokenBudgeted,
    TokenRevoked,
)
from orlop.abi.devices import (
    DeviceChanged,
    DeviceClaimed,
    DeviceErased,
    DeviceReleased,
)
from orlop.abi.effects import EffectSettled
from orlop.abi.egress import EgressEvent
from orlop.abi.files import FileEvent
from orlop.abi.ids import (
    DEFAULT_TENANT,
    BootId,
    CallId,
    JournalId,
    NanoDollars,
    Nanoseconds,
    ProcessId,
    Seq,
    TenantId,
)
from orlop.abi.kernels import (
    BodiesPruned,
    JournalKnown,
    JournalRestored,
    ProcessArrived,
    ProcessLeft,
    TenantForgotten,
)
from orlop.abi.keys import KeyCreated, KeyRevoked
from orlop.abi.memory import MemoryEvent
from orlop.abi.people import PeopleEvent
from orlop.abi.policy import Decision, PolicyRefused, PolicyRemoved, PolicySet
from orlop.abi.processes import (
    Diverged,
    OutcomeStated,
    ProcessCaughtUp,
    ProcessChanged,
    ProcessEnded,
    ProcessLaunched,
    ProcessSpawned,
    ProcessStarted,
)
from orlop.abi.replies import Done
from orlop.abi.residency import ModelLeft, ModelLoaded, ModelMeasured, ModelPinned
from orlop.abi.sagas import (
    SagaClosed,
    SagaDecided,
    SagaOpened,
    SagaRetried,
    SagaStuck,
    SagaUndoing,
    SagaUndone,
    UndoPlan,
)
from orlop.abi.schedules import ScheduleFired, ScheduleRemoved, ScheduleSet
from orlop.abi.tenants import TenantEvent
from orlop.abi.tools import ToolChanged, ToolPinned, ToolRefused, ToolsOffered
from orlop.abi.webhooks import WebhookReceived


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
    """For reading; no clock ever orders anything."""
    mono_ns: Nanoseconds = Nanoseconds(0)
    """Of journals of release 0.1 and before."""
    epoch: int
    """The fencing epoch of the kernel that wrote it."""
    key: bytes | None = None
    """Outcomes only: one outcome a key, by a unique index.  The number of the intent; until release
    0.1 the call's id, which the header has anyway."""
    args_digest: bytes | None = None
    body_digest: bytes
    """SHA-256 over the ciphertexts of the body and of the parts that came with it."""
    place: Seq | None = None
    """Its number among what kernels on one database have in common (`abi.commons`)."""
    boot: BootId = BootId("")
    prev: bytes = b""
    hash: bytes = b""

    @property
    def moment(self) -> Seq:
        """By which memory and files count: its place, or its own number where a kernel is alone."""
        return self.seq if self.place is None else self.place


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
    within: CallId | None = None
    """Of a call that the kernel made to answer another one: that one.  A program that resumes does
    not make it."""
    cleared_by: str = ""
    """What let it through where a person is asked otherwise: a question, a grant, an autonomy."""
    prompt: str = ""
    """Of a model call of an agent whose autonomy is ruled: a digest of its instructions."""
    labels: tuple[str, ...] = ()
    """Where what it was made from came from, as far as that is not trusted."""
    decision: Decision | None = None
    """What the policy said of it; None: no policy is set."""
    token: str = ""
    """The revocation id of the narrowed token that it came with, if it was one."""
    undo: UndoPlan | None = None
    """Of a step of a saga: what undoes it."""


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
    labels: tuple[str, ...] = ()
    """Of what it brought: where that came from, as far as that is not trusted."""


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
    labels: tuple[str, ...] = ()
    """Of what it said of its failure: where that came from."""


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
    | ToolsOffered
    | WebhookReceived
    | FileEvent
    | MemoryEvent
    | EffectSettled
    | SagaOpened
    | SagaDecided
    | SagaUndoing
    | SagaUndone
    | SagaStuck
    | SagaRetried
    | SagaClosed
    | PeopleEvent
    | PolicySet
    | PolicyRemoved
    | PolicyRefused
    | RightGranted
    | RightsTaken
    | RightRefused
    | TokenBudgeted
    | TokenRevoked
    | SigningKeyMade
    | BodiesPruned
    | TenantForgotten
    | JournalKnown
    | JournalRestored
    | ProcessArrived
    | ProcessLeft
    | EgressEvent
    | TenantEvent
)
