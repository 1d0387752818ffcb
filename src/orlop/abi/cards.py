"""What is known of models, engines, tools and hardware, as plain data."""

from typing import Literal

from msgspec import Struct

from orlop.abi.ids import EngineName, ModelName, NanoDollars

ModelKind = Literal["chat", "embed"]
Effect = Literal["pure", "idempotent", "queryable", "compensable", "irreversible"]
Approval = Literal["never", "always"]
Trust = Literal["trusted", "untrusted"]
Health = Literal["starting", "ready", "failing", "gone"]


class Measured(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one artefact scored on one labelled set.  The record of a measurement, kept as data."""

    card: ModelName
    artefact: str
    """Its name on the card, as in `int4`."""
    digest: str = ""
    """Of its weights, as its engine told it when it was measured; empty: it did not tell."""
    labels_sha256: str
    """Of the labelled set."""
    cases: int
    right: int
    worse: int = 0
    """Cases that the reference got right and this one wrong; `better`: the other way round."""
    better: int = 0

    @property
    def quality(self) -> float:
        """The share of cases that it got right."""
        return self.right / self.cases

    @property
    def loss(self) -> float:
        """The share of cases by which it is worse than the reference; below 0: it is better."""
        return (self.worse - self.better) / self.cases


class Artefact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the forms that a model comes in."""

    name: str
    """On its card: `fp16`, `int4`."""
    engine: EngineName
    """Which serves it."""
    model: ModelName
    """What that engine calls it."""
    format: str = ""
    """gguf, onnx, tensorrt, safetensors."""
    precision: str = ""
    """fp16, int8, int4."""
    bytes: int = 0
    """Of its weights: what makes one cheaper than another; 0: not known."""
    digest: str = ""
    """SHA-256 that its weights must have; empty: whatever the engine has."""
    tensor_parallel: int = 1
    """Devices that it is spread over."""
    needs: str = ""
    """A predicate over the device table."""


class ArtefactView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One artefact in `orlop models forms`."""

    artefact: Artefact
    device: str = ""
    serves: bool = False
    reason: str = ""
    """Why it does not serve."""
    measured: Measured | None = None


class CardView(Struct, frozen=True, kw_only=True):
    """A model that comes in several forms."""

    name: ModelName
    kind: ModelKind
    reference: str
    """The artefact that the others are measured against."""
    loss_max: float
    cases_min: int
    artefacts: tuple[ArtefactView, ...]


class ModelCard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model on one engine."""

    name: ModelName
    engine: EngineName
    kind: ModelKind = "chat"
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    artefact: str = ""
    """SHA-256 of the weights, hexadecimal, where known."""
    path: str = ""
    dimensions: int | None = None
    paid: bool = False
    """A call costs money, so its intent is durable before it is sent."""
    input_price: NanoDollars = NanoDollars(0)
    """Of a million input tokens; the others likewise."""
    output_price: NanoDollars = NanoDollars(0)
    cached_price: NanoDollars | None = None
    """Of a million input tokens that the engine did not compute again; None: as any other."""
    is_priced: bool = False
    """Somebody has said what it costs, if only nothing."""
    form: str = ""
    """Of a model with several artefacts: which of them this is."""
    loss: float | None = None
    """Of that artefact, measured; see `Measured.loss`."""
    bytes: int = 0
    """Of its weights, where known."""


class EngineCard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One engine as `orlop devices` shows it."""

    name: EngineName
    driver: str
    url: str = ""
    slots: int = 1
    health: Health = "starting"
    reason: str = ""
    """Why it is not ready."""
    device: str = ""
    models: tuple[ModelName, ...] = ()
    running: int = 0
    waiting: int = 0
    kv_events: str = ""
    """Whether what it holds is known by its own events: `heard`, or why it is inferred; empty: it
    publishes none, or nobody has said where."""
    continues: bool = False
    """A call on it can give its seat back, and goes on later as if never stopped."""


class HardwareCard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of hardware that can compute."""

    id: str
    kind: Literal["cpu", "gpu", "npu"]
    name: str
    memory_bytes: int = 0
    memory_free_bytes: int = 0
    cores: int = 0
    features: tuple[str, ...] = ()
    driver: str = ""
    source: str = ""
    """Which library said so."""


class ToolCard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tool as callers and the journal know it."""

    name: str
    description: str = ""
    parameters: dict[str, object] = {}
    """JSON schema of the arguments."""
    results: dict[str, object] = {}
    """JSON schema of what it says; empty: anything."""
    effect: Effect = "irreversible"
    """What a second execution would do; decides what happens after a crash."""
    timeout_s: float = 60.0
    concurrency: int = 8
    """Calls of this tool that may run at once, > 0."""
    conflicts: tuple[str, ...] = ()
    """What it needs for itself: two calls whose tools name the same thing never run together."""
    approval: Approval = "never"
    """Whether a person must agree to each call, with its arguments."""
    approval_s: float = 604_800.0
    """How long that may take; then the call is refused."""
    retries: int = 0
    """Times that a failed call is made again, with the same key; `pure` and `idempotent` only."""
    command: tuple[str, ...] = ()
    """A subprocess tool: arguments as JSON on its standard input, the result on its output."""
    server: str = ""
    """The MCP server, OpenAPI document or database that it is of."""
    query: tuple[str, ...] = ()
    """Of a queryable tool: a command that tells, for a key, whether the effect happened."""
    preview: tuple[str, ...] = ()
    """A command that tells a person what a call would change, and changes nothing."""
    cwd: str = ""
    env: dict[str, str] = {}
    price: NanoDollars = NanoDollars(0)
    """Of one call."""
    trust: Trust = "trusted"
    """Whether strangers may have written what it says."""
    labels: tuple[str, ...] = ()
    """Of what it says, beside `untrusted`: where that comes from."""
    compensate: str = ""
    """The tool that undoes a call of this one, when its saga is given up."""
    compensate_with: dict[str, object] = {}
    """That tool's arguments, with places as in `{result.id}`; empty: those of the call."""
    compensate_unknown: bool = False
    """It may also be called where nobody knows whether there is anything to undo."""
    system: str = ""
    """The external system whose limits its calls share."""
    owner: str = ""
    """The process whose function it is."""
    shared: bool = False
    """Its descendants may call it too."""
