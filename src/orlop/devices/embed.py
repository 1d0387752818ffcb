"""The embedded embedding model: MiniLM on ONNX Runtime, in a thread of its own.

Texts are cut at 256 tokens, as the model was trained; a vector is the mean over the text's tokens,
of length 1 (sentence-transformers' pooling for all-MiniLM-L6-v2).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, Health, ModelCard
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import EMBED_BATCH
from orlop.abi.replies import Embedded, Generated
from orlop.devices.artefact import verified
from orlop.devices.device import ALONE, Capacity, Sink, Turn
from orlop.devices.onnx_network import TOKENS_MAX, Network, Row, load, tokenizer_of
from orlop.devices.plain import Plain
from orlop.machine.clock import deadline
from orlop.machine.offload import Offload, ThreadOffload

DIMENSIONS: Final = 384


class MiniLM(Plain):
    """An `Engine` for embeddings only.  Loads on the first call: about 0.2 s.

    weights: an ONNX file with `tokenizer.json` beside it, as `orlop pull minilm` brings them.
    sha256: that it must have; empty: nobody has said.
    """

    def __init__(
        self,
        name: EngineName,
        model: ModelName,
        weights: Path,
        sha256: str = "",
        offload: Offload | None = None,
    ) -> None:
        self._name = name
        self._model = model
        self._weights = weights
        self._sha256 = sha256
        self._offload = offload or ThreadOffload(f"embed-{name}")
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
        """One: its thread computes one batch after another, with several cores a batch."""
        return 1

    def capacity(self) -> Capacity:
        return Capacity(slots=self.slots)

    def card(self) -> EngineCard:
        return EngineCard(
            name=self._name,
            driver="embed",
            slots=self.slots,
            health=self._health,
            reason=self._reason,
            device="cpu",
            models=(self._model,),
            running=self._running,
        )

    async def start(self) -> None:
        """Looks whether the model is there; loading it waits for the first call."""
        for path in (self._weights, tokenizer_of(self._weights)):
            if not path.is_file():
                self._fail(f"{path} is missing: bring it with `orlop pull {self._model}`")
        if not self._artefact:
            try:
                self._artefact = await self._offload(verified, self._weights, self._sha256)
            except DeviceFailed as error:
                self._fail(error.message)
        self._health, self._reason = "ready", ""

    async def models(self) -> Sequence[ModelCard]:
        return [
            ModelCard(
                name=self._model,
                engine=self._name,
                kind="embed",
                context_tokens=TOKENS_MAX,
                artefact=self._artefact,
                path=str(self._weights),
                dimensions=DIMENSIONS,
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
        raise DeviceRefused(f"{model} makes vectors, not text: ask it with `embed`")

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        if call.dimensions not in (None, DIMENSIONS):
            raise DeviceRefused(f"{model} has {DIMENSIONS} dimensions, not {call.dimensions}")
        self._running += 1
        try:
            async with deadline(deadline_s, f"{self._name}'s vectors"):
                return await self._embed(call.inputs)
        finally:
            self._running -= 1

    async def erase(self) -> str:
        """It never knows more than the call that it is computing."""
        return "it keeps nothing between calls"

    async def close(self) -> None:
        self._health, self._reason = "gone", "closed"
        self._offload.close()

    async def _embed(self, texts: Sequence[str]) -> Embedded:
        """In batches of texts of like length, so that little is computed for padding."""
        network = await self._loaded()
        tokens = await self._offload(network.tokens, texts)
        order = sorted(range(len(texts)), key=lambda at: len(tokens[at].ids))
        vectors: list[Row] = [()] * len(texts)
        for start in range(0, len(order), EMBED_BATCH):
            places = order[start : start + EMBED_BATCH]
            # A batch an errand: between two of them other calls get the thread, or this one ends.
            made = await self._offload(network.rows, [tokens[at] for at in places])
            for at, vector in zip(places, made, strict=True):
                vectors[at] = vector
        usage = Usage(input_tokens=sum(len(text.ids) for text in tokens))
        return Embedded(vectors=tuple(vectors), usage=usage, model=self._model)

    async def _loaded(self) -> Network:
        if self._network is None:
            # Two first calls may both load; the thread does it one after the other, the last stays.
            try:
                self._network = await self._offload(load, self._weights, sha256=self._sha256)
            except DeviceFailed as error:
                self._artefact = ""
                self._fail(error.message)
        return self._network

    def _fail(self, reason: str) -> NoReturn:
        self._health, self._reason = "failing", reason
        raise DeviceFailed(reason)
