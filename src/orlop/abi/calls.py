"""The system calls, one frozen class each: the kernel's contract.

Every call may carry `hints`; they are wishes and outside the call's digest, as is everything named
in a class's `TRANSPORT`.
"""

from typing import ClassVar, Literal, TypeGuard, get_args

from msgspec import Struct

from orlop.abi.egress import Fetch
from orlop.abi.files import FileCall, Take, WatchFiles
from orlop.abi.hints import Hints, LatencyClass
from orlop.abi.ids import NanoDollars, ProcessId
from orlop.abi.memory import MemoryCall
from orlop.abi.messages import Message, ToolSpec
from orlop.abi.rights import Rights
from orlop.abi.sagas import CloseSaga, OpenSaga
from orlop.abi.sandbox import Sandbox

Dialect = Literal["", "openai", "anthropic", "responses"]
SignalName = Literal["kill", "term", "stop", "cont", "int"]
RestartRule = Literal["never", "on-failure", "always"]
DivergenceRule = Literal["stop", "continue"]
OutcomeStatus = Literal["succeeded", "failed", "abandoned"]
Normalizer = Literal["dates", "ids"]


class Sampling(Struct, frozen=True, omit_defaults=True):
    """How the next token is chosen.  None: the engine's default."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] = {}
    logprobs: bool = False
    top_logprobs: int | None = None
    """0 to 20 alternatives a token."""


class Infer(Struct, frozen=True, kw_only=True, tag="infer", omit_defaults=True):
    """Ask a model.  Either `messages` or `prompt` (raw text, or token ids) is given."""

    TRANSPORT: ClassVar = ("hints", "stream")

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    suffix: str = ""
    echo: bool = False
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: object = None
    """None, `auto`, `none`, `required`, or {"name": …}."""
    parallel_tool_calls: bool | None = None
    response_format: dict[str, object] | None = None
    """OpenAI's `response_format`: text, json_object or json_schema."""
    output_tokens_max: int | None = None
    sampling: Sampling = Sampling()
    dialect: Dialect = ""
    """Whose words `extra` is in; engines of the same dialect get it as it is."""
    extra: dict[str, object] = {}
    stream: bool = False
    hints: Hints = Hints()


class Embed(Struct, frozen=True, kw_only=True, tag="embed", omit_defaults=True):
    """Texts to vectors."""

    TRANSPORT: ClassVar = ("hints",)

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None = None
    dialect: Dialect = ""
    extra: dict[str, object] = {}
    hints: Hints = Hints()


class CallTool(Struct, frozen=True, kw_only=True, tag="call_tool", omit_defaults=True):
    """Do something in the world.  `key`: the caller's own idempotency key, else the kernel's."""

    TRANSPORT: ClassVar = ("hints",)

    tool: str
    arguments: dict[str, object] = {}
    key: str = ""
    saga: str = ""
    """That it is a step of: undone with the others, unless they are committed."""
    hints: Hints = Hints()


class Budget(Struct, frozen=True, omit_defaults=True):
    """What an account may use, in four units.  None: no limit."""

    calls: int | None = None
    """Of models and tools."""
    tokens: int | None = None
    """Input and output together."""
    nano_dollars: NanoDollars | None = None
    seconds: float | None = None
    """In which its calls ran on engines and in tools, waiting apart."""


class Spawn(Struct, frozen=True, kw_only=True, tag="spawn", omit_defaults=True):
    """Start a child process that runs `command`."""

    TRANSPORT: ClassVar = ("hints",)

    command: tuple[str, ...]
    name: str = ""
    cwd: str = ""
    env: dict[str, str] = {}
    latency_class: LatencyClass = "standard"
    budget: Budget = Budget()
    restart: RestartRule = "never"
    on_divergence: DivergenceRule = "stop"
    program: str = ""
    """The task that this process serves, with others; its own if empty."""
    version: str = ""
    """The agent program's version, as its author names it."""
    normalize: tuple[Normalizer, ...] = ()
    """What does not count when a call is looked for in the record: dates and times, random ids."""
    team: str = ""
    """Whose budget it also uses; its parent's if empty.  Only operators may name another."""
    allow: Rights | None = None
    """The rights that it gets (`abi.rights`), all of which the caller holds; None: all of his."""
    sandbox: Sandbox | None = None
    """What it may touch, never more than its parent; None: as its parent, or as orlop.toml says."""
    hints: Hints = Hints()


class Wait(Struct, frozen=True, kw_only=True, tag="wait", omit_defaults=True):
    """Wait until a child has ended; parked: it holds no slot."""

    TRANSPORT: ClassVar = ("hints",)

    process: ProcessId
    hints: Hints = Hints()


class Exit(Struct, frozen=True, kw_only=True, tag="exit", omit_defaults=True):
    """End the calling process with a status; 0 is success."""

    TRANSPORT: ClassVar = ("hints",)

    status: int = 0
    hints: Hints = Hints()


class Signal(Struct, frozen=True, kw_only=True, tag="signal", omit_defaults=True):
    """`kill` ends, `term` asks to end, `stop` pauses, `cont` goes on."""

    TRANSPORT: ClassVar = ("hints",)

    process: ProcessId
    signal: SignalName = "term"
    hints: Hints = Hints()


class Grant(Struct, frozen=True, kw_only=True, tag="grant", omit_defaults=True):
    """Give a descendant a right that the caller and its parent hold themselves."""

    TRANSPORT: ClassVar = ("hints",)

    process: ProcessId
    right: str
    hints: Hints = Hints()


class Revoke(Struct, frozen=True, kw_only=True, tag="revoke", omit_defaults=True):
    """Take a right back from a descendant, and from all to whom it has passed it on."""

    TRANSPORT: ClassVar = ("hints",)

    process: ProcessId
    right: str
    hints: Hints = Hints()


class Sleep(Struct, frozen=True, kw_only=True, tag="sleep", omit_defaults=True):
    """Wait `seconds`, also across restarts of the kernel; parked: it holds no slot."""

    TRANSPORT: ClassVar = ("hints",)

    seconds: float
    hints: Hints = Hints()


class Patch(Struct, frozen=True, kw_only=True, tag="patch", omit_defaults=True):
    """Ask whether a change of the program, known by `name`, applies to this run.

    A run that began before the change keeps to its old path until its record ends.
    """

    TRANSPORT: ClassVar = ("hints",)

    name: str
    hints: Hints = Hints()


class Ask(Struct, frozen=True, kw_only=True, tag="ask", omit_defaults=True):
    """Ask a person, and wait for his answer, also across restarts; parked: it holds no slot."""

    TRANSPORT: ClassVar = ("hints",)

    text: str
    choices: tuple[str, ...] = ()
    """The only answers that are taken; empty: any."""
    expires_s: float = 604_800.0
    """After so long nobody will answer any more."""
    hints: Hints = Hints()


class Progress(Struct, frozen=True, kw_only=True, tag="progress", omit_defaults=True):
    """Say how far the task is, for those who wait for it; `orlop ps` and `orlop show` tell it.

    A resumed program need not say the same again but for `step`.
    """

    TRANSPORT: ClassVar = ("hints", "share", "waits_for", "ends_s")

    step: str
    """What it does now, in a few words."""
    share: float | None = None
    """Of the whole that is done: 0 to 1."""
    waits_for: str = ""
    """What holds it up, if anything does."""
    ends_s: float | None = None
    """Seconds from now until it expects to be done."""
    hints: Hints = Hints()


class Outcome(Struct, frozen=True, kw_only=True, tag="outcome", omit_defaults=True):
    """Say how the task ended, in business terms."""

    TRANSPORT: ClassVar = ("hints",)

    status: OutcomeStatus
    note: str = ""
    hints: Hints = Hints()


Call = (
    Infer
    | Embed
    | CallTool
    | Fetch
    | Spawn
    | Wait
    | Exit
    | Signal
    | Grant
    | Revoke
    | Sleep
    | Patch
    | Ask
    | FileCall
    | MemoryCall
    | OpenSaga
    | CloseSaga
    | Progress
    | Outcome
)

METERED = (Infer, Embed, CallTool, Fetch)
"""Calls that count against budgets."""

Parked = Wait | Sleep | Ask | WatchFiles | Take | CloseSaga
"""Calls that hold no slot, may wait for days, and are re-armed at boot."""

_PARKED = frozenset(get_args(Parked))


def is_parked(call: object) -> TypeGuard[Parked]:
    """Asked several times a call: a look into a set, and no question to each class."""
    return type(call) in _PARKED


def call_name(call: Struct) -> str:
    """Its name as on the wire: `call_tool`."""
    return str(type(call).__struct_config__.tag)
