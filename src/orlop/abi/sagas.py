"""Sagas: several effects that happen together, or are undone together in reverse order."""

from typing import ClassVar, Literal, TypeAlias

from msgspec import Struct

from orlop.abi.cards import Effect
from orlop.abi.hints import Facts, Hints
from orlop.abi.ids import CallId, NanoDollars, Nanoseconds, Pid, ProcessId, Seq, TenantId

SagaState = Literal["open", "committed", "compensating", "stuck", "compensated"]
StepState = Literal["begun", "done", "failed", "unknown", "undoing", "stuck", "undone", "kept"]
"""`failed`: it did not happen; `kept`: it did, and there is nothing to undo."""

SagaVerdict = Literal["commit", "abort"]
SettleVerdict = Literal["undone", "again"]


class OpenSaga(Struct, frozen=True, kw_only=True, tag="open_saga", omit_defaults=True):
    """Begin a saga: calls of tools that name it are undone together unless it is committed."""

    TRANSPORT: ClassVar = ("hints",)

    name: str = ""
    expires_s: float = 604_800.0
    """After so long without an end it is undone."""
    hints: Hints = Hints()


class CloseSaga(Struct, frozen=True, kw_only=True, tag="close_saga", omit_defaults=True):
    """Commit a saga, or give it up and wait until all is undone; parked: it holds no slot."""

    TRANSPORT: ClassVar = ("hints", "reason")

    saga: str
    verdict: SagaVerdict = "commit"
    reason: str = ""
    hints: Hints = Hints()


class SagaBegun(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="saga_begun"):
    """The end of an `open_saga`."""

    saga: str
    facts: Facts


class SagaOver(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="saga_over"):
    """The end of a `close_saga`.  `undone`: the tools whose effects were undone, last first."""

    saga: str
    state: SagaState
    undone: tuple[str, ...] = ()
    facts: Facts


class UndoPlan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What undoes a step, and what that may cost, as its tool's card said when it was called."""

    effect: Effect
    """The step's class."""
    tool: str = ""
    """The compensation; empty: there is nothing to undo."""
    arguments: dict[str, object] = {}
    """Of the compensation, with places as in `{result.id}`; empty: those of the call."""
    unknown: bool = False
    """It may also be called where nobody knows whether there is anything to undo."""
    price: NanoDollars = NanoDollars(0)
    """Of one attempt."""
    held_ns: Nanoseconds = Nanoseconds(0)
    """How long all attempts may take, where a budget counts seconds."""


# Events.  Steps are named by the sequence number of their call's intent.


class SagaOpened(Struct, frozen=True, kw_only=True, tag_field="kind", tag="saga.opened"):
    saga: str
    name: str
    expires_ns: Nanoseconds


class SagaDecided(Struct, frozen=True, kw_only=True, tag_field="kind", tag="saga.decided"):
    """Committed, or to be undone: by its program, its end, or its time."""

    saga: str
    verdict: SagaVerdict
    reason: str = ""


class SagaUndoing(Struct, frozen=True, kw_only=True, tag_field="kind", tag="saga.undoing"):
    """An intent: a step's compensation is about to be called."""

    saga: str
    step: Seq
    tool: str
    arguments: dict[str, object]
    key: str
    """The compensation's own name for ever: all of its attempts have it."""
    attempt: int
    rules: tuple[str, ...] = ()
    """Those of the policy that permit it."""
    cleared_by: str = ""
    """Who has agreed, where a person is asked."""
    verdict: Literal["permit", "ask"] = "permit"
    """What the rules said; an `ask` was agreed to."""
    labels: tuple[str, ...] = ()
    """Those of the step's call."""


class SagaUndone(Struct, frozen=True, kw_only=True, tag_field="kind", tag="saga.undone"):
    """An outcome: a step is undone, or there was nothing to undo."""

    saga: str
    step: Seq
    state: Literal["undone", "failed", "kept"] = "undone"
    value: object = None
    """What the compensation said."""
    person: str = ""
    """Who says so, where nobody else knows."""
    ran_ns: Nanoseconds = Nanoseconds(0)
    """How long the attempts took since the kernel's boot."""


class SagaStuck(Struct, frozen=True, kw_only=True, tag_field="kind", tag="saga.stuck"):
    """A step can't be undone without a person; those before it wait."""

    saga: str
    step: Seq
    reason: str
    is_unknown: bool
    """It is not known whether the step, or its compensation, has happened."""
    ran_ns: Nanoseconds = Nanoseconds(0)
    """As in `SagaUndone`."""


class SagaRetried(Struct, frozen=True, kw_only=True, tag_field="kind", tag="saga.retried"):
    """A person has said that a stuck step's compensation may be called again."""

    saga: str
    step: Seq
    person: str


class SagaClosed(Struct, frozen=True, kw_only=True, tag_field="kind", tag="saga.closed"):
    """All that could be undone is."""

    saga: str


SagaEvent: TypeAlias = (
    SagaOpened | SagaDecided | SagaUndoing | SagaUndone | SagaStuck | SagaRetried | SagaClosed
)


class SagaStep(Struct, frozen=True, kw_only=True):
    """One call of a tool within a saga."""

    seq: Seq
    """Of its newest intent."""
    call: CallId
    tool: str
    effect: str
    """The effect's name for ever."""
    state: StepState = "begun"
    outcome: Seq | None = None
    """Where its result is."""
    undo: str = ""
    """The compensation's tool."""
    attempts: int = 0
    """Of the compensation."""
    reason: str = ""
    is_unknown: bool = False
    plan: UndoPlan | None = None
    """None: of a journal that is older than plans."""
    sticks: int = 0
    """How often it had to wait for a person."""
    cleared_by: str = ""
    """Who has said that its compensation may be called."""
    undo_ns: Nanoseconds = Nanoseconds(0)
    """How long that has taken, as far as it is known."""


class SagaView(Struct, frozen=True, kw_only=True):
    """A row of the table, and what `orlop sagas` shows."""

    id: str
    name: str
    process: ProcessId
    pid: Pid
    tenant: TenantId
    state: SagaState
    reason: str = ""
    opened_ns: Nanoseconds
    expires_ns: Nanoseconds
    steps: tuple[SagaStep, ...] = ()


class SagaOrder(Struct, frozen=True, kw_only=True):
    """`orlop sagas settle`: a person's word on the step that is stuck."""

    verdict: SettleVerdict
    person: str
