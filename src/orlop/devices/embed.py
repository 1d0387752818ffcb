"""The embedded embedding model: MiniLM on ONNX Runtime, in a thread of its own.

Texts are cut at 256 tokens, as the model was trained; a vector is the mean over the text's tokens,
of length 1 (sentence-transformers' pooling for all-MiniLM-L6-v2).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, Health, ModelCard
from orlop.abi.errors import DeviceFailed, DeviceRefused, KernelError
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import EMBED_BATCH
from orlop.abi.replies import Embedded, Generated
from orlop.devices.artefact import digest_of
from orlop.devices.device import ALONE, Capacity, Sink, Turn
from orlop.machine.clock import deadline
from orlop.machine.offload import Offload, ThreadOffload

DIMENSIONS: Final = 384
_TOKENS_MAX: Final = 256
_THREADS_MAX: Final = 4
_TINY: Final = 1e-9

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """One text as the model reads it."""

    ids: list[int]
    types: list[int]


class _Network:
    """The libraries' part; all of it runs in the engine's thread, their import (0.2 s) too."""

    def __init__(self, weights: Path) -> None:
        try:
            from onnxruntime import InferenceSession, SessionOptions
            from tokenizers import Tokenizer
        except ImportError as error:
            raise DeviceFailed(f"{error}: install it with `pip install 'orlop[local]'`") from error
        self._tokenizer = Tokenizer.from_file(str(_tokenizer(weights)))
        self._tokenizer.enable_truncation(max_length=_TOKENS_MAX)
        self._tokenizer.no_padding()
        options = SessionOptions()
        options.intra_op_num_threads = _threads()
        # Threads that spin for the next batch would take the kernel's core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])

    def tokens(self, texts: Sequence[str]) -> list[_Tokens]:
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        return [_Tokens(text.ids, text.type_ids) for text in encoded]

    def vectors(self, batch: Sequence[_Tokens]) -> list[Vector]:
        """At most EMBED_BATCH texts, of like length.

        [texts, tokens, dimensions] -> [texts, dimensions]: the mean over each text's own tokens.
        """
        import numpy

        shape = (len(batch), max(len(text.ids) for text in batch))
        ids, types, mask = (numpy.zeros(shape, dtype=numpy.int64) for _ in range(3))
        for row, text in enumerate(batch):
            ids[row, : len(text.ids)] = text.ids
            types[row, : len(text.ids)] = text.types
            mask[row, : len(text.ids)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        hidden = self._session.run(None, feed)[0]
        weights = mask[:, :, None].astype(numpy.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        length = numpy.linalg.norm(mean, axis=1, keepdims=True)
        return [tuple(row) for row in (mean / numpy.maximum(length, _TINY)).tolist()]


class MiniLM:
    """An `Engine` for embeddings only.  Loads on the first call: about 0.2 s.

    weights: an ONNX file with `tokenizer.json` beside it, as `orlop pull minilm` brings them.
    """

    def __init__(
        self, name: EngineName, model: ModelName, weights: Path, offload: Offload | None = None
    ) -> None:
        self._name = name
        self._model = model
        self._weights = weights
        self._offload = offload or ThreadOffload(f"embed-{name}")
        self._network: _Network | None = None
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

    def load(self) -> None:
        return None

    @property
    def contexts(self) -> None:
        return None

    @property
    def residence(self) -> None:
        return None

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
        for path in (self._weights, _tokenizer(self._weights)):
            if not path.is_file():
                self._fail(f"{path} is missing: bring it with `orlop pull {self._model}`")
        self._artefact = await self._offload(digest_of, self._weights)
        self._health, self._reason = "ready", ""

    async def models(self) -> Sequence[ModelCard]:
        return [
            ModelCard(
                name=self._model,
                engine=self._name,
                kind="embed",
                context_tokens=_TOKENS_MAX,
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

    async def close(self) -> None:
        self._health, self._reason = "gone", "closed"
        self._offload.close()

    async def _embed(self, texts: Sequence[str]) -> Embedded:
        """In batches of texts of like length, so that little is computed for padding."""
        network = await self._loaded()
        tokens = await self._offload(network.tokens, texts)
        order = sorted(range(len(texts)), key=lambda at: len(tokens[at].ids))
        vectors: list[Vector] = [()] * len(texts)
        for start in range(0, len(order), EMBED_BATCH):
            places = order[start : start + EMBED_BATCH]
            # A batch an errand: between two of them other calls get the thread, or this one ends.
            made = await self._offload(network.vectors, [tokens[at] for at in places])
            for at, vector in zip(places, made, strict=True):
                vectors[at] = vector
        usage = Usage(input_tokens=sum(len(text.ids) for text in tokens))
        return Embedded(vectors=tuple(vectors), usage=usage, model=self._model)

    async def _loaded(self) -> _Network:
        if self._network is None:
            # Two first calls may both load; the thread does it one after the other, the last stays.
            self._network = await self._offload(_load, self._weights)
        return self._network

    def _fail(self, reason: str) -> None:
        self._health, self._reason = "failing", reason
        raise DeviceFailed(reason)


def _load(weights: Path) -> _Network:
    """Whatever the libraries find wrong with the files is the device's failure."""
    try:
        return _Network(weights)
    except KernelError:
        raise
    except Exception as error:  # ONNX Runtime and tokenizers raise classes of their own.
        raise DeviceFailed(f"{weights} can't be loaded: {error}") from error


def _threads() -> int:
    """Half of the cores: the other half is the kernel's and the chat engine's."""
    return max(1, min(_THREADS_MAX, (os.cpu_count() or 1) // 2))


def _tokenizer(weights: Path) -> Path:
    return weights.with_name("tokenizer.json")
