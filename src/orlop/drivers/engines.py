"""Engines as `orlop.toml` names them, and as the models on this disk call for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Literal, TypedDict, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from orlop.abi.errors import Misconfigured
from orlop.abi.ids import EngineName, ModelName
from orlop.devices import shelf
from orlop.devices.device import Engine
from orlop.devices.embed import MiniLM
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.devices.llamacpp import LlamaCpp, LlamaCppConfig
from orlop.devices.llamacpp_memory import ContextsConfig
from orlop.devices.openai import SLOTS, Manner, OpenAI
from orlop.drivers import ollama, sglang, triton, vllm
from orlop.drivers.anthropic import Anthropic
from orlop.drivers.cloud import CLOUD_SLOTS, Cloud, CloudTerms
from orlop.drivers.kv_stream import KVSource
from orlop.drivers.llama_server import LlamaServer
from orlop.drivers.modelled import ModelledEngine
from orlop.drivers.modelled_config import ModelledConfig, capacity
from orlop.drivers.ollama import Ollama
from orlop.drivers.onnx import Onnx, OnnxConfig
from orlop.drivers.sglang import SGLang
from orlop.drivers.triton import Triton
from orlop.drivers.vllm import VLLM
from orlop.drivers.watch import WATCH_S
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.credential import KeyConfig
from orlop.machine.ranges import Count, Many, Seconds

ServerDriver = Literal[
    "openai", "vllm", "sglang", "ollama", "llama-server", "triton", "anthropic", "cloud"
]
"""What speaks to a server that runs elsewhere."""

Driver = ServerDriver | Literal["llamacpp", "minilm", "onnx", "modelled", "fake"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig(KeyConfig):
    """One `[engines.NAME]` table of orlop.toml."""

    driver: Driver = "openai"
    """What speaks to it: `openai` is any OpenAI-compatible server; those that are named by their
    own name are told more and tell more."""
    url: str = ""
    """Of a server, with or without `/v1`."""
    model: str = ""
    """Of an embedded engine: a name from `orlop models`, or a path to a GGUF file; of `onnx`, to an
    ONNX file with `tokenizer.json` beside it; of `modelled`, the name that clients use."""
    slots: Count = 0
    """Calls it serves at once; 0: the driver's own choice."""
    context_tokens: Many = 4096
    """What one slot of an embedded engine holds."""
    paid: bool | None = None
    """A call costs money, so its intent is durable first; by default, servers beyond loopback."""
    limit_field: str = "max_tokens"
    """What this server calls the output maximum (`max_completion_tokens` for newer OpenAI)."""
    device: str = ""
    """Where it stands: a device's name in `orlop devices`, or a `[devices.NAME]` of its own.  By
    default `cpu0` for embedded engines, and a device of the engine's own name for others."""
    watch_s: Seconds = WATCH_S
    """Between two looks at the load that vllm, sglang, ollama and llama-server tell of, while calls
    run; 0: never."""
    kv_events: list[str] = field(default_factory=list[str])
    """Where vllm and sglang publish what they hold (`tcp://HOST:5557`, one for each data-parallel
    rank); needs `orlop[kv-events]`.  Newer vLLM says itself where."""
    kv_replay: list[str] = field(default_factory=list[str])
    """Where batches of each of them that were missed can be had again; may be left out."""
    continues: bool = True
    """Of vllm and sglang: a call may give its seat back to a more urgent one and go on later from
    its token ids, where the server tells them; false: none does (docs/engines.md says what for)."""
    cloud: CloudTerms = field(default_factory=CloudTerms)
    """What the provider behind a `cloud` engine counts and keeps."""
    contexts: ContextsConfig = field(default_factory=ContextsConfig)
    """Where an embedded engine keeps the contexts of programs that are away."""
    onnx: OnnxConfig = field(default_factory=OnnxConfig)
    """How an `onnx` engine runs its model."""
    modelled: ModelledConfig = field(default_factory=ModelledConfig)
    """The hardware that a `modelled` engine stands for (docs/how-to/rehearse.md)."""
    fake: FakeConfig = field(default_factory=FakeConfig)
    """How a `fake` engine behaves."""

    @property
    def is_paid(self) -> bool:
        if self.paid is not None:
            return self.paid
        return bool(self.url) and urlsplit(self.url).hostname not in LOOPBACK


class _Common(TypedDict):
    """What every driver of a server is built with."""

    clock: Clock
    chance: Chance
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What drivers are built with."""

    clock: Clock
    chance: Chance
    models_dir: Path
    folder: Path
    """Where engine hosts keep their state, logs and saved slots."""
    lifeline: int | None


def check(name: str, config: EngineConfig, models_dir: Path) -> None:
    """What would keep the engine from being built.  Raises `Misconfigured`."""
    if config.driver in get_args(ServerDriver) and not config.url.startswith(
        ("http://", "https://")
    ):
        raise Misconfigured(f"engines.{name}: url should be http://…, not {config.url!r}")
    if config.driver == "modelled":
        capacity(config.modelled, f"engines.{name}.modelled", Path(), config.model)
    if config.driver in ("llamacpp", "minilm", "onnx"):
        model = _model(name, config, models_dir)
        if config.driver == "onnx" and not model.path.endswith(".onnx"):
            raise Misconfigured(f"engines.{name}: model: {model.path} is no ONNX file")
    for endpoint in (*config.kv_events, *config.kv_replay):
        if not endpoint.startswith(("tcp://", "ipc://")):
            raise Misconfigured(
                f"engines.{name}: kv_events should be tcp://HOST:PORT, not {endpoint!r}"
            )
    if len(config.kv_replay) > len(config.kv_events):
        raise Misconfigured(f"engines.{name}: kv_replay names more places than kv_events")
    config.key(f"engines.{name}:")


def build(name: str, config: EngineConfig, shop: Workshop) -> Engine:
    """The engine that a table describes; not started yet.  Raises `Misconfigured`."""
    check(name, config, shop.models_dir)
    engine = EngineName(name)
    match config.driver:
        case "modelled":
            return _modelled(engine, config, shop)
        case "fake":
            return FakeEngine(engine, config.fake, clock=shop.clock, chance=shop.chance)
        case "llamacpp" | "minilm":
            return _embedded(engine, config, _model(name, config, shop.models_dir), shop)
        case "onnx":
            model = _model(name, config, shop.models_dir)
            path = shop.models_dir / model.path
            return Onnx(
                engine,
                model.name,
                path,
                config.onnx,
                slots=config.slots,
                sha256=model.sha256,
                clock=shop.clock,
            )
        case driver:
            return _server(engine, driver, config, shop)


def _modelled(engine: EngineName, config: EngineConfig, shop: Workshop) -> Engine:
    """Hardware that is not here, in real time.  Raises `Misconfigured`."""
    spec, model = config.modelled, config.model or "modelled"
    holds = capacity(spec, f"engines.{engine}.modelled", Path(), model)
    if config.slots:
        holds = replace(holds, slots=config.slots)
    return ModelledEngine(
        engine, holds, clock=shop.clock, model=model, window_tokens=spec.window_tokens
    )


def _server(
    engine: EngineName, driver: ServerDriver, config: EngineConfig, shop: Workshop
) -> Engine:
    """A driver of a server that runs elsewhere."""
    common = _Common(clock=shop.clock, chance=shop.chance, key=config.key(f"engines.{engine}:"))
    url, slots, watch_s = config.url, config.slots, config.watch_s
    match driver:
        case "openai":
            manner = Manner(limit_field=config.limit_field)
            return OpenAI(engine, url, slots=slots or SLOTS, manner=manner, **common)
        case "vllm" | "sglang":
            made, usual = (VLLM, vllm.SLOTS) if driver == "vllm" else (SGLang, sglang.SLOTS)
            return made(
                engine,
                url,
                slots=slots or usual,
                watch_s=watch_s,
                kv_sources=_sources(config),
                continues=config.continues,
                **common,
            )
        case "ollama":
            return Ollama(engine, url, slots=slots or ollama.SLOTS, watch_s=watch_s, **common)
        case "llama-server":
            return LlamaServer(engine, url, slots=slots, watch_s=watch_s, **common)
        case "triton":
            return Triton(engine, url, slots=slots or triton.SLOTS, **common)
        case "anthropic":
            cache = config.cloud.cache
            return Anthropic(engine, url, slots=slots or SLOTS, cache=cache, **common)
        case "cloud":
            return Cloud(
                engine,
                url,
                config.cloud,
                slots=slots or CLOUD_SLOTS,
                limit_field=config.limit_field,
                **common,
            )


def _sources(config: EngineConfig) -> list[KVSource]:
    return [
        KVSource(endpoint=endpoint, replay_endpoint=replay)
        for endpoint, replay in zip_longest(config.kv_events, config.kv_replay)
    ]


def found(shop: Workshop, configured: Mapping[str, EngineConfig]) -> Sequence[Engine]:
    """An engine for each model on the shelf that no table names."""
    named = {config.model for config in configured.values()}
    engines = []
    for model in shelf.installed(shop.models_dir):
        if model.name not in named and model.name not in configured:
            config = EngineConfig(driver="minilm" if model.kind == "embed" else "llamacpp")
            engines.append(_embedded(EngineName(model.name), config, model, shop))
    return engines


def _embedded(
    engine: EngineName, config: EngineConfig, model: shelf.Model, shop: Workshop
) -> Engine:
    path = shop.models_dir / model.path
    if path.suffix == ".onnx":
        return MiniLM(engine, model.name, path, model.sha256)
    settings = LlamaCppConfig(
        name=engine,
        model=model.name,
        path=path,
        sha256=model.sha256,
        folder=shop.folder,
        kind=model.kind,
        slots=config.slots or 4,
        context_tokens=config.context_tokens,
        is_lazy=True,
        moves_contexts=config.contexts.moves,
        ram_bytes=config.contexts.ram_mib * 1024**2 or None,
        disk_bytes=config.contexts.disk_mib * 1024**2 or None,
        lifeline=shop.lifeline,
    )
    return LlamaCpp(settings, clock=shop.clock, chance=shop.chance)


def _model(name: str, config: EngineConfig, models_dir: Path) -> shelf.Model:
    on_shelf = shelf.find(models_dir, config.model)
    if on_shelf is not None:
        return on_shelf
    path = Path(config.model).expanduser()
    if not config.model or not path.is_file():
        is_file = path.name != config.model or path.suffix
        way = "there is no such file" if is_file else f"`orlop pull {config.model or 'smollm2'}`"
        raise Misconfigured(f"engines.{name}: model: no model {config.model!r}; {way}")
    return shelf.Model(
        name=ModelName(path.stem),
        kind="chat",
        path=str(path.resolve()),
        sha256="",
        size_bytes=path.stat().st_size,
        source=str(path),
    )
