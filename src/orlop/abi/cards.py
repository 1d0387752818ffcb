"""What is known of models, engines, tools and hardware, as plain data."""

from typing import Literal

from msgspec import Struct

from orlop.abi.ids import EngineName, ModelName, NanoDollars

ModelKind = Literal["chat", "embed"]
Effect = Literal["pure", "idempotent", "queryable", "compensable", "irreversible"]
Health = Literal["starting", "ready", "failing", "gone"]


class Measured(Struct, frozen=True, kw_only=True):
    """What one artefact scored on one labelled set.  The record of a measurement, kept as data."""

    card: ModelName
    artefact: str
    """Its name on the card, as in `int4`."""
    digest: str
    """Of its weights, as its engine told it when it was measured; empty: it did not tell."""
    labels_sha256: str
    """Of the labelled set."""
    cases: int
    right: int


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
    digest: str = ""
    """SHA-256 that its weights must have; empty: whatever the engine has."""
    tensor_parallel: int = 1
    """Devices that it is spread over."""
    needs: str = ""
    """A predicate over the device table."""
    loss: float | None = None
    """Of what the reference answers rightly on the labelled set, the share that this one misses, 0
    to 1; None: not measured."""
    cases: int = 0
    """That the loss was measured on."""


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
    """Of one input token; output likewise."""
    output_price: NanoDollars = NanoDollars(0)
    form: str = ""
    """Of a model with several artefacts: which of them this is."""
    loss: float | None = None
    """Of that artefact, measured; see `Artefact.loss`."""
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
    effect: Effect = "irreversible"
    """What a second execution would do; decides what happens after a crash."""
    timeout_s: float = 60.0
    concurrency: int = 8
    """Calls of this tool that may run at once, > 0."""
    command: tuple[str, ...] = ()
    """A subprocess tool: arguments as JSON on its standard input, the result on its output."""
    query: tuple[str, ...] = ()
    """Of a queryable tool: a command that tells, for a key, whether the effect happened."""
    cwd: str = ""
    env: dict[str, str] = {}
