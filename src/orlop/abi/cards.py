"""What is known of models, engines, tools and hardware, as plain data."""

from typing import Literal

from msgspec import Struct

from orlop.abi.ids import EngineName, ModelName, NanoDollars

ModelKind = Literal["chat", "embed"]
Effect = Literal["pure", "idempotent", "queryable", "compensable", "irreversible"]
Health = Literal["starting", "ready", "failing", "gone"]


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
