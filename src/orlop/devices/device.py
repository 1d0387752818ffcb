"""What a driver must do.

A driver turns every foreign exception into `DeviceFailed` (or `DeviceBusy`, `DeviceRefused`),
`from` the original.  Cancelling the task that runs `infer` must stop the engine's work on it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, ModelCard, ToolCard
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Delta, Embedded, Generated
from orlop.devices.speed import GUESS, Speed

__all__ = [
    "Capacity",
    "Contexts",
    "Embedded",
    "Engine",
    "EngineLoad",
    "Generated",
    "Holdings",
    "ModelState",
    "Residence",
    "Resident",
    "Sink",
    "Tool",
    "Turn",
]


Sink = Callable[[Delta], None]
"""Takes each delta as it comes, in order; never blocks, never raises."""


class Capacity(Struct, frozen=True, kw_only=True):
    """What an engine can hold and how fast it is: all that the scheduler plans with."""

    slots: int
    """Calls served at once, > 0."""
    kv_tokens: int | None = None
    """Tokens of context that fit the device, over all calls; None: not known, so no limit."""
    host_tokens: int = 0
    """Tokens of context that fit the engine's (or our) store in host RAM, beside the device."""
    kv_bytes_per_token: int = 0
    restore_bytes_s: float = 0.0
    """From host to device; 0: a context can't be brought back, only computed again."""
    speed: Speed = GUESS
    continues: bool = False
    """Given prompt and answer so far, it goes on as if never stopped: a call may be preempted."""
    moves_contexts: bool = False
    """Has `Contexts`: the kernel says what is kept, saved and dropped."""
    prefix_cache: bool = True
    """Keeps contexts of finished calls by itself until it needs the room."""
    prefix_cache_s: float | None = None
    """It forgets a context this long after its last use; None: only when it needs the room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """What an engine last said of itself: it corrects our own counts, it does not replace them.

    Already bounded: a number that can't be true is not passed on.
    """

    running: int
    """Calls in its batch, ours and others'."""
    waiting: int
    """Calls in its own queue."""
    kv_usage: float | None = None
    """Of its KV memory, 0 to 1."""
    preemptions: int = 0
    """Calls that it stopped for want of memory, since it was first looked at."""
    seen_s: float
    """On the kernel's clock.  What is old says that the engine is slow to answer, not that it is
    free."""


class Holdings(Struct, frozen=True, kw_only=True):
    """What has changed in what an engine says that it holds, since it was last asked.

    A context lies there as far as it does from its first token on: so many tokens on the device,
    and so many on any medium.  What is not named is as it was, or was never told.
    """

    is_whole: bool = False
    """It has told of all that it ever stored: what it holds need not be guessed."""
    is_cleared: bool = False
    """It has forgotten everything, before what `contexts` says."""
    contexts: Mapping[str, tuple[int, int]] = {}


class Partial(Struct, frozen=True):
    """What a preempted call has so far; `tokens` are the engine's own ids, where it tells them."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    deltas: int = 0
    """Deltas already given to the sink: they are not repeated."""
    prompt: tuple[int, ...] = ()
    """The ids that it began with, where `tokens` are told."""


class Preempted(Exception):
    """`infer` gave its slot back because `Turn.yield_now` was set; only where it `continues`."""

    def __init__(self, partial: Partial) -> None:
        super().__init__("preempted")
        self.partial = partial


class Turn(Struct, frozen=True, kw_only=True):
    """What the scheduler says of a call that it lets on.  A driver uses what its engine has."""

    program: str = ""
    """Whose context this is: engines with slots, sessions or a router keep it where it lies."""
    latency_class: LatencyClass = "standard"
    urgency: int = 0
    """Order within the engine's own short queue: lower is sooner."""
    yield_now: asyncio.Event | None = None
    """Once set, an engine that `continues` stops and raises `Preempted`."""
    so_far: Partial | None = None
    """Go on from here: what `Preempted` brought."""
    salt: str = ""
    """Whose it is: nothing computed for one salt is used for another, so that nobody learns from
    how fast an answer comes what another tenant has asked.  A secret; empty: the installation's."""


ALONE: Final = Turn()
"""The turn of a call that nobody schedules."""


class Contexts(Protocol):
    """An engine whose programs' contexts the kernel moves between device, RAM and disk.

    `infer` brings a saved context back by itself when its turn names the program.  None of these
    raises for a program that is not there.
    """

    async def save(self, program: str) -> int:
        """Copy the context off the device and free its place; returns the tokens saved."""
        ...

    async def drop(self, program: str) -> None:
        """Forget it, wherever it lies."""
        ...


ModelState = Literal["hot", "asleep", "disk"]
"""On the device; woken within seconds, mostly from host RAM; to be read from the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Where one model of an engine lies."""

    state: ModelState
    device_bytes: int = 0
    """What it takes of the device; 0: not known."""


class Residence(Protocol):
    """An engine whose models the kernel brings in and sends out.

    Each change returns when it is done and raises `DeviceFailed` where it is not, `DeviceRefused`
    where this engine never can.  None waits for calls of another model.
    """

    @property
    def loads(self) -> bool:
        """Has `load` and `unload`."""
        ...

    @property
    def sleeps(self) -> bool:
        """Has `sleep` and `wake`, of the whole engine."""
        ...

    def resident(self) -> Mapping[ModelName, Resident]:
        """As last seen; never waits."""
        ...

    async def load(self, model: ModelName) -> None: ...

    async def unload(self, model: ModelName) -> None: ...

    async def sleep(self) -> None:
        """Free the device; calls that run are ended first by whoever asks for it."""
        ...

    async def wake(self) -> None: ...


class Engine(Protocol):
    """A device that runs models."""

    @property
    def name(self) -> EngineName: ...

    @property
    def slots(self) -> int:
        """Calls that it serves at once, > 0."""
        ...

    def card(self) -> EngineCard:
        """Its state as last seen; never waits."""
        ...

    async def start(self) -> None:
        """Connect or load; returns when it can be asked.  Raises `DeviceFailed`."""
        ...

    async def models(self) -> Sequence[ModelCard]:
        """What it can run now."""
        ...

    def capacity(self) -> Capacity:
        """What it can hold and how fast it is, as last seen; never waits."""
        ...

    def load(self) -> EngineLoad | None:
        """What it last said of itself; None: it says nothing.  Never waits."""
        ...

    def holdings(self) -> Holdings | None:
        """What it says that it holds, as far as that has changed since it was last asked; None: it
        says nothing, and what it holds is inferred from the calls sent to it.  Never waits."""
        ...

    @property
    def contexts(self) -> Contexts | None:
        """How to move its contexts, where `capacity().moves_contexts`."""
        ...

    @property
    def residence(self) -> Residence | None:
        """How to move its models; None: it has what it has."""
        ...

    def goes_on(self, call: Infer) -> bool:
        """Whether an answer to it that has begun can be stopped and gone on with, on an engine that
        `continues`."""
        ...

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        """Run `model`.  With a `sink` the answer also comes in pieces.

        deadline_s: seconds that are left, > 0; retries inside the driver stay within it.
        """
        ...

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded: ...

    async def close(self) -> None: ...


@runtime_checkable
class Previewing(Protocol):
    """A tool that can tell what a call would change, without changing it."""

    async def preview(self, arguments: Mapping[str, object], limit_s: float) -> str:
        """For a person to read; empty: it has nothing to say.  Raises `KernelError`."""
        ...


class Tool(Protocol):
    """A device that acts."""

    @property
    def card(self) -> ToolCard: ...

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        """Act once; `key` names this effect for ever.  Raises `ToolFailed`, `DeviceFailed`."""
        ...

    async def happened(self, key: str) -> bool | None:
        """Whether the effect named `key` took place; None if the tool can't tell."""
        ...
