"""OpenAI's `/v1/embeddings` and `/v1/models`, without I/O, both halves."""

import base64
import binascii
from array import array
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from orlop.abi.calls import Embed
from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import BadCall, DeviceFailed
from orlop.abi.hints import Hints
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import EMBED_DIMENSIONS_MAX, EMBED_INPUTS_MAX
from orlop.abi.replies import Embedded, Vectors
from orlop.wire import json_guard
from orlop.wire.json_fields import Fields, Where
from orlop.wire.openai_terms import read_tier, read_usage

Encoding = Literal["float", "base64"]
_ENCODINGS: Final[Mapping[str, Encoding]] = {"float": "float", "base64": "base64"}
_CONTEXT_FIELDS: Final = ("max_model_len", "context_length", "context_window")
"""What vLLM, OpenRouter and Groq call it."""


class EmbedRequest(Struct, frozen=True):
    """A call, and how its vectors go over the wire."""

    call: Embed
    encoding: Encoding = "float"


def read_embed_request(body: bytes) -> EmbedRequest:
    """The server's half.  Raises `BadCall` or `TooLarge`, never anything else."""
    fields = Fields(json_guard.decode(body))
    call = Embed(
        model=fields.need_text("model"),
        inputs=_read_inputs(fields),
        dimensions=fields.integer("dimensions", 1, EMBED_DIMENSIONS_MAX),
        hints=Hints(latency_class=read_tier(fields)),
        dialect="openai",
    )
    encoding = _ENCODINGS.get(fields.text("encoding_format", "float"))
    if encoding is None:
        fields.refuse("encoding_format", "must be `float` or `base64`")
    return EmbedRequest(msgspec.structs.replace(call, extra=fields.rest()), encoding)


def _read_inputs(fields: Fields) -> tuple[str, ...]:
    raw = fields.raw.get("input")
    if isinstance(raw, list) and raw and isinstance(raw[0], int | list):
        fields.refuse("input", "holds token ids, which only their own model can read; send text")
    texts = fields.texts("input", EMBED_INPUTS_MAX)
    if not texts:
        fields.refuse("input", "is required and must not be empty")
    return texts


def write_embed_response(vectors: Vectors, model: str, encoding: Encoding) -> bytes:
    write = _write_base64 if encoding == "base64" else list
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": write(vector)}
                for index, vector in enumerate(vectors.vectors)
            ],
            "model": model,
            "usage": {
                "prompt_tokens": vectors.usage.input_tokens,
                "total_tokens": vectors.usage.input_tokens,
            },
        }
    )


def _write_base64(vector: Sequence[float]) -> str:
    """Little-endian f32, as OpenAI's client reads them."""
    return base64.b64encode(array("f", vector).tobytes()).decode()


def write_embed_request(call: Embed, model: str) -> bytes:
    """The client's half.  Vectors come as base 64: a third of the bytes, and no digits to read."""
    wire: dict[str, object] = dict(call.extra) if call.dialect == "openai" else {}
    wire |= {"model": model, "input": call.inputs, "encoding_format": "base64"}
    if call.dimensions is not None:
        wire["dimensions"] = call.dimensions
    return msgspec.json.encode(wire)


def read_embed_response(body: bytes, count: int) -> Embedded:
    """count: inputs sent.  Raises `DeviceFailed` where that many vectors did not come."""
    try:
        fields = Fields(json_guard.decode(body))
        data = fields.items("data", count)
        vectors: dict[int, tuple[float, ...]] = {}
        for at, raw in enumerate(data):
            index, vector = _read_vector(raw, ("data", at), at)
            vectors[index] = vector
        if sorted(vectors) != list(range(count)):
            fields.refuse("data", f"must hold one vector for each of {count} inputs")
        usage = read_usage(fields.raw.pop("usage", None), "usage")
        ordered = tuple(vectors[index] for index in range(count))
        return Embedded(vectors=ordered, usage=usage, model=fields.text("model"))
    except BadCall as error:
        raise DeviceFailed(f"the engine's vectors can't be read: {error.message}") from error


def _read_vector(raw: object, where: Where, at: int) -> tuple[int, tuple[float, ...]]:
    fields = Fields(raw, where)
    index = fields.integer("index", 0)
    held = fields.raw.get("embedding")
    if isinstance(held, str):
        vector = _read_base64(fields, held)
    else:
        numbers = fields.items("embedding")
        vector = tuple(float(n) for n in numbers if type(n) is float or type(n) is int)
        if len(vector) != len(numbers):
            fields.refuse("embedding", "must be numbers")
    if not vector:
        fields.refuse("embedding", "is required and must not be empty")
    return (at if index is None else index), vector


def _read_base64(fields: Fields, held: str) -> tuple[float, ...]:
    try:
        return tuple(array("f", base64.b64decode(held, validate=True)))
    except (binascii.Error, ValueError) as error:
        fields.refuse("embedding", f"is not base 64 of f32: {error}")


def write_models(cards: Sequence[ModelCard]) -> bytes:
    data = [_model(card) for card in cards]
    return msgspec.json.encode({"object": "list", "data": data})


def write_model(card: ModelCard) -> bytes:
    return msgspec.json.encode(_model(card))


def _model(card: ModelCard) -> dict[str, object]:
    """`created` is required by the official clients; models here have no such date."""
    wire: dict[str, object] = {
        "id": card.name,
        "object": "model",
        "created": 0,
        "owned_by": card.engine,
        "orlop": {"kind": card.kind, "artefact": card.artefact},
    }
    if card.context_tokens is not None:
        wire["max_model_len"] = card.context_tokens
    return wire


def read_models(body: bytes, engine: EngineName) -> tuple[ModelCard, ...]:
    """The client's half.  Raises `DeviceFailed`."""
    try:
        fields = Fields(json_guard.decode(body))
        if "data" not in fields.raw:
            fields.refuse("data", "is required")
        entries = fields.items("data")
        return tuple(_read_model(raw, ("data", at), engine) for at, raw in enumerate(entries))
    except BadCall as error:
        raise DeviceFailed(f"{engine}'s list of models can't be read: {error.message}") from error


def _read_model(raw: object, where: Where, engine: EngineName) -> ModelCard:
    fields = Fields(raw, where)
    name = fields.need_text("id")
    found = [fields.raw.get(name) for name in _CONTEXT_FIELDS]
    meta = fields.raw.get("meta")
    if isinstance(meta, dict):  # llama.cpp's.
        found.append(meta.get("n_ctx_train"))
    sizes = [size for size in found if type(size) is int and size > 0]
    # The list does not say what a model is for; its name nearly always does.
    kind: ModelKind = "embed" if "embed" in name.lower() else "chat"
    return ModelCard(
        name=ModelName(name),
        engine=engine,
        kind=kind,
        context_tokens=sizes[0] if sizes else None,
    )
