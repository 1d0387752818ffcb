"""Micro models on ONNX Runtime: embedders and classifiers of a few million weights.

They answer in milliseconds, so what matters is what surrounds them: single texts are gathered into
batches, as long as their class allows, or go alone and at once.  Any execution provider of ONNX
Runtime will do; beside the weights lie `tokenizer.json`, and for a classifier `config.json`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, Health, ModelCard
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.hints import LatencyClass, Usage
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import EMBED_BATCH
from orlop.abi.replies import Embedded, Generated
from orlop.devices.artefact import digest_of
from orlop.devices.device import ALONE, Capacity, Sink, Turn
from orlop.devices.onnx_network import CPU, TOKENS_MAX, Network, Row, load, tokenizer_of
from orlop.devices.plain import Plain
from orlop.drivers.batches import Batches
from orlop.drivers.classes import answer_of, text_to_classify
from orlop.machine.clock import Clock, deadline
from orlop.machine.offload import Offload, ThreadOffload
from orlop.machine.ranges import Many, Seconds
from orlop.wire.openai_stream import whole

SLOTS: Final = 256
"""Calls at once: a batch can only be made of what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxConfig:
    """How a micro model runs."""

    providers: tuple[str, ...] = (CPU,)
    """ONNX Runtime's execution providers, the best first."""
    batch: Many = EMBED_BATCH
    """Texts computed at once."""
    interactive_s: Seconds = 0.0
    """How long a text of an interactive call waits for others; 0: it goes alone if nothing runs."""
    standard_s: Seconds = 0.002
    """Likewise of a standard call."""
    batch_s: Seconds = 0.02
    """Likewise of a batch call."""


class Onnx(Plain):
    """An `Engine`.  weights: an ONNX file, `tokenizer.json` beside it."""

    def __init__(
        self,
        name: EngineName,
        model: ModelName,
        weights: Path,
        config: OnnxConfig,
        *,
        clock: Clock,
        slots: int = 0,
        sha256: str = "",
        offload: Offload | None = None,
    ) -> None:
        self._name = name
        self._model = model
        self._weights = weights
        self._sha256 = sha256
        self._config = config
        self._slots = slots or SLOTS
        self._offload = offload or ThreadOffload(f"onnx-{name}")
        self._batches: Batches[str, tuple[Row, int]] = Batches(
            self._compute,
            clock=clock,
            most=config.batch,
            delay_s={
                "interactive": config.interactive_s,
                "standard": config.standard_s,
                "batch": config.batch_s,
            },
        )
        self._network: Network | None = None
        self._artefact = ""
        self._health: Health = "starting"
        self._reason = "not started yet"
        self._running = 0

    @property
    def name(self) -> EngineName:
        return self._name

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def batches(self) -> int:
        """Batches computed so far."""
        return self._batches.ran

    def capacity(self) -> Capacity:
        return Capacity(slots=self.slots, prefix_cache=False)

    def card(self) -> EngineCard:
        return EngineCard(
            name=self._name,
            driver="onnx",
            slots=self.slots,
            health=self._health,
            reason=self._reason,
            device=self._config.providers[0].removesuffix("ExecutionProvider").lower(),
            models=(self._model,),
            running=self._running,
        )

    async def start(self) -> None:
        """Loads: only the model itself says whether it makes vectors or classes."""
        if self._network is not None:
            return
        for path in (self._weights, tokenizer_of(self._weights)):
            if not path.is_file():
                raise self._failed(f"{path} is missing")
        try:
            providers, sha256 = self._config.providers, self._sha256
            self._network = await self._offload(load, self._weights, providers, sha256)
            self._artefact = await self._offload(digest_of, self._weights)
        except DeviceFailed as error:
            raise self._failed(error.message) from error
        self._health, self._reason = "ready", ""

    async def models(self) -> Sequence[ModelCard]:
        network = self._loaded()
        return [
            ModelCard(
                name=self._model,
                engine=self._name,
                kind="chat" if network.labels else "embed",
                context_tokens=TOKENS_MAX,
                artefact=self._artefact,
                path=str(self._weights),
                dimensions=None if network.labels else network.dimensions,
            )
        ]

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        labels = self._loaded().labels
        if not labels:
            raise DeviceRefused(f"{model} makes vectors, not text: ask it with `embed`")
        text = text_to_classify(call)
        row, tokens = (await self._ask((text,), deadline_s, turn.latency_class))[0]
        made = answer_of(call, model, dict(zip(labels, row, strict=True)), tokens)
        if sink is not None:
            sink(whole(made.choices[0]))
        return made

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        network = self._loaded()
        if network.labels:
            raise DeviceRefused(f"{model} names classes: ask it with a chat call, not `embed`")
        if call.dimensions not in (None, network.dimensions):
            raise DeviceRefused(
                f"{model} has {network.dimensions} dimensions, not {call.dimensions}"
            )
        made = await self._ask(call.inputs, deadline_s, call.hints.latency_class or "standard")
        usage = Usage(input_tokens=sum(tokens for _, tokens in made))
        return Embedded(vectors=tuple(row for row, _ in made), usage=usage, model=model)

    async def close(self) -> None:
        self._health, self._reason = "gone", "closed"
        await self._batches.close()
        self._offload.close()

    async def _ask(
        self, texts: Sequence[str], deadline_s: float, latency_class: LatencyClass
    ) -> list[tuple[Row, int]]:
        """A single text is batched with those of other calls; many are batches of their own."""
        self._running += 1
        try:
            async with deadline(deadline_s, f"{self._name}'s answer"):
                if len(texts) == 1:
                    return [await self._batches.ask(texts[0], latency_class)]
                made: list[tuple[Row, int]] = []
                for start in range(0, len(texts), self._config.batch):
                    # A batch an errand: between two of them other calls get the thread.
                    made += await self._compute(texts[start : start + self._config.batch])
                return made
        finally:
            self._running -= 1

    async def _compute(self, texts: Sequence[str]) -> list[tuple[Row, int]]:
        return await self._offload(_rows, self._loaded(), texts)

    def _loaded(self) -> Network:
        if self._network is None:
            raise DeviceFailed(f"{self._name} is not started: {self._reason}")
        return self._network

    def _failed(self, reason: str) -> DeviceFailed:
        self._health, self._reason = "failing", reason
        return DeviceFailed(reason)


def _rows(network: Network, texts: Sequence[str]) -> list[tuple[Row, int]]:
    """In the thread: each text's row, and its tokens."""
    try:
        tokens = network.tokens(texts)
        return [
            (row, len(text.ids)) for row, text in zip(network.rows(tokens), tokens, strict=True)
        ]
    except Exception as error:  # ONNX Runtime raises classes of its own.
        raise DeviceFailed(f"ONNX Runtime failed: {error}") from error
