"""Which models lie where, and what operators may say about it: `orlop models`."""

from typing import Literal

from msgspec import Struct

from orlop.abi.cards import Measured, ModelKind
from orlop.abi.ids import EngineName, ModelName, NanoDollars


class ColdStartView(Struct, frozen=True, kw_only=True):
    """What loading a model takes from one place: measured, in this kernel's life and before."""

    origin: str
    """Where it lay: asleep, host or disk."""
    seconds: float
    """The median of the newest loads from there."""
    count: int
    """How many loads that is the median of."""


class ModelView(Struct, frozen=True, kw_only=True):
    """One model on one engine: a row of `orlop models`."""

    name: ModelName
    engine: EngineName
    kind: ModelKind
    context_tokens: int | None
    artefact: str
    path: str
    input_price: NanoDollars
    """Of a million input tokens; output likewise."""
    output_price: NanoDollars
    moved: bool
    """The kernel loads and unloads it; else its engine has what it has."""
    device: str
    """Whose memory it takes when it is hot."""
    state: str
    """hot, asleep, host or disk; loading or leaving; failing where its engine does not answer."""
    reason: str
    """Why it is not hot, where something went wrong."""
    bytes: int
    """That it takes of the device when it is hot; 0: its engine doesn't say."""
    cached_share: float | None
    """Of its weights' file, what lies in the page cache; None: nobody can tell."""
    pinned: bool
    draining: bool
    """Takes no new calls until another model has had its turn."""
    calls_running: int
    calls_waiting: int
    """For it to be hot."""
    rate: float
    """Calls a second, of late."""
    next_s: float | None
    """Seconds until a call is foreseen; None: nothing is."""
    idle_s: float | None
    """Since its last call or its loading; None while it is used, or lies outside."""
    stays_s: float | None
    """How long it would stay idle; None: for ever, as memory is priced now."""
    loads: int
    """Since the kernel started."""
    cold_starts: tuple[ColdStartView, ...]


class PoolView(Struct, frozen=True, kw_only=True):
    """The memory that models share on one device."""

    device: str
    held_bytes: int
    budget_bytes: int | None
    """None: no limit is known."""


class ResidencyView(Struct, frozen=True, kw_only=True):
    """`orlop models`."""

    models: tuple[ModelView, ...]
    pools: tuple[PoolView, ...]
    evictions: int
    """Models that have left a device since the kernel started."""


class ModelOrder(Struct, frozen=True, kw_only=True):
    """`orlop models load|unload|pin|unpin NAME`."""

    order: Literal["load", "unload", "pin", "unpin"]
    model: str
    """A name, an alias, or `engine/name`."""


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


class ModelMeasured(Struct, frozen=True, kw_only=True, tag_field="kind", tag="model.measured"):
    """What an artefact of a model answered rightly, on a labelled set."""

    measured: Measured
