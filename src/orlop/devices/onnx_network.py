"""ONNX Runtime: one model and its tokenizer.  All of it runs in an engine's thread.

Of a model's outputs the first counts: numbers a token are averaged over the text's own tokens and
brought to length 1 (sentence-transformers' pooling); numbers a text are the vector, or, where
`config.json` beside the weights names labels (`id2label`), the scores of classes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.errors import DeviceFailed, KernelError
from orlop.devices.artefact import verified
from orlop.machine import telemetry

CPU: Final = "CPUExecutionProvider"
TOKENS_MAX: Final = 256
"""Texts are cut here, as the small models were trained."""

_THREADS_MAX: Final = 4
_TINY: Final = 1e-9
_PER_TOKEN: Final = 3
"""Dimensions of an output that has numbers for each token."""

Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as the model reads it."""

    ids: list[int]
    types: list[int]


class _Config(Struct, frozen=True):
    id2label: dict[str, str] = {}


class Network:
    """Importing the libraries takes 0.2 s, so making one belongs into the thread too.

    providers: ONNX Runtime's execution providers, the best first.
    """

    def __init__(self, weights: Path, providers: Sequence[str] = (CPU,)) -> None:
        telemetry.silence()
        try:
            from onnxruntime import InferenceSession, SessionOptions, get_available_providers
            from tokenizers import Tokenizer
        except ImportError as error:
            raise DeviceFailed(f"{error}: install it with `pip install 'orlop[local]'`") from error
        if missing := set(providers) - set(get_available_providers()):
            raise DeviceFailed(
                f"this ONNX Runtime has no {', '.join(sorted(missing))}; it has: "
                f"{', '.join(get_available_providers())}"
            )
        self._tokenizer = Tokenizer.from_file(str(tokenizer_of(weights)))
        self._tokenizer.enable_truncation(max_length=TOKENS_MAX)
        self._tokenizer.no_padding()
        options = SessionOptions()
        options.intra_op_num_threads = _threads()
        # Threads that spin for the next batch would take the kernel's core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = InferenceSession(str(weights), options, providers=list(providers))
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._shape: Sequence[object] = self._session.get_outputs()[0].shape
        self.labels = _labels(weights) if len(self._shape) < _PER_TOKEN else ()

    @property
    def dimensions(self) -> int | None:
        """Of a vector, where the model says so."""
        last = self._shape[-1]
        return last if isinstance(last, int) and last > 0 else None

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        return [Tokens(text.ids, text.type_ids) for text in encoded]

    def rows(self, batch: Sequence[Tokens]) -> list[Row]:
        """At most EMBED_BATCH texts, best of like length: a vector each, or scores of the labels.

        [texts, tokens, dimensions] -> [texts, dimensions]
        """
        import numpy

        shape = (len(batch), max(len(text.ids) for text in batch))
        ids, types, mask = (numpy.zeros(shape, dtype=numpy.int64) for _ in range(3))
        for row, text in enumerate(batch):
            ids[row, : len(text.ids)] = text.ids
            types[row, : len(text.ids)] = text.types
            mask[row, : len(text.ids)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        known = {name: held for name, held in feed.items() if name in self._inputs}
        made = self._session.run(None, known)[0]
        if self.labels:
            powers = numpy.exp(made - made.max(axis=1, keepdims=True))
            made = powers / powers.sum(axis=1, keepdims=True)
            return [tuple(row) for row in made.tolist()]
        if made.ndim == _PER_TOKEN:
            weights = mask[:, :, None].astype(numpy.float32)
            made = (made * weights).sum(axis=1) / weights.sum(axis=1)
        length = numpy.linalg.norm(made, axis=1, keepdims=True)
        return [tuple(row) for row in (made / numpy.maximum(length, _TINY)).tolist()]


def load(weights: Path, providers: Sequence[str] = (CPU,), sha256: str = "") -> Network:
    """Whatever the libraries find wrong with the files is the device's failure.

    sha256: that the weights must have; empty: as when they were last read.
    """
    try:
        verified(weights, sha256)
        return Network(weights, providers)
    except KernelError:
        raise
    except Exception as error:  # ONNX Runtime and tokenizers raise classes of their own.
        raise DeviceFailed(f"{weights} can't be loaded: {error}") from error


def tokenizer_of(weights: Path) -> Path:
    return weights.with_name("tokenizer.json")


def _labels(weights: Path) -> tuple[str, ...]:
    """By their numbers; none where no file names them."""
    try:
        page = weights.with_name("config.json").read_bytes()
    except FileNotFoundError:
        return ()
    named: Mapping[str, str] = msgspec.json.decode(page, type=_Config).id2label
    return tuple(named[str(at)] for at in range(len(named)))


def _threads() -> int:
    """Half of the cores: the other half is the kernel's and the chat engine's."""
    return max(1, min(_THREADS_MAX, (os.cpu_count() or 1) // 2))
