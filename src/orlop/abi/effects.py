"""Effects that nobody knows of, and a person's word on them."""

from msgspec import Struct

from orlop.abi.cards import Effect
from orlop.abi.ids import CallId, Nanoseconds, Pid, ProcessId, Seq


class UnknownEffect(Struct, frozen=True, kw_only=True):
    """A tool call began and was cut off: whether it took effect, only its tool may know."""

    process: ProcessId
    digest: bytes
    effect: str
    """Its name for ever."""
    call: CallId = CallId("")
    seq: Seq = Seq(0)
    """Of its newest intent; likewise `call`, `tool` and `wall_ns`."""
    tool: str = ""
    saga: str = ""
    wall_ns: Nanoseconds = Nanoseconds(0)
    code: str = ""
    """What it ended in."""


class SettledEffect(Struct, frozen=True, kw_only=True):
    """What a person has said of one that happened; the next equal call is answered with it."""

    process: ProcessId
    digest: bytes
    effect: str
    seq: Seq
    """Of the event that holds the result."""


class EffectSettled(Struct, frozen=True, kw_only=True, tag_field="kind", tag="effect.settled"):
    """It is known now whether an effect happened.  The header names its call."""

    effect: str
    tool: str
    happened: bool
    result: object = None
    """What the call would have returned."""
    person: str = ""
    """Who has looked; empty: the tool itself could tell."""
    note: str = ""


class EffectView(Struct, frozen=True, kw_only=True):
    """One line of `orlop effects`."""

    id: CallId
    tool: str
    class_: Effect
    process: ProcessId
    pid: Pid
    name: str
    """Of the process."""
    arguments: dict[str, object]
    key: str
    """The effect's name, which the tool was given."""
    since_ns: Nanoseconds
    code: str
    saga: str = ""


class SettleOrder(Struct, frozen=True, kw_only=True):
    """`orlop effects settle`."""

    happened: bool
    person: str
    result: object = None
    note: str = ""
