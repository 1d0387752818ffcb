"""What a GGUF file says of its model's shape, as far as memory depends on it.

Reads the file's first lines only: the shape comes before the vocabulary, which is large.
Source: the format's description in ggml, docs/gguf.md.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

_MAGIC: Final = b"GGUF"
_FIELDS_MAX: Final = 4_096
_STRING_BYTES_MAX: Final = 1 << 20
_ARRAY_MAX: Final = 4_096
"""Longer arrays are of the vocabulary."""

_FORMATS: Final = {
    **{0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"},
    **{10: "Q", 11: "q", 12: "d"},
}
_STRING: Final = 8
_ARRAY: Final = 9
_BYTES_PER_NUMBER: Final = 2
"""Keys and values are kept as 16-bit floats."""

Value = int | float | str | tuple["Value", ...]


def kv_bytes_per_token(path: Path) -> int | None:
    """What a token of context takes of the KV cache; None where the file doesn't tell.

    layers * heads * (length of a key + length of a value) * 2 bytes; heads may differ by layer.
    """
    try:
        with path.open("rb") as file:
            fields = _shape(file)
        layers, heads = _number(fields, "block_count"), fields["attention.head_count_kv"]
        width = _number(fields, "embedding_length") // _number(fields, "attention.head_count")
    except (OSError, KeyError, ValueError, struct.error, ZeroDivisionError):
        return None
    lengths = sum(
        _number(fields, name) if name in fields else width
        for name in ("attention.key_length", "attention.value_length")
    )
    total = sum(_int(one) for one in heads) if isinstance(heads, tuple) else layers * _int(heads)
    return total * lengths * _BYTES_PER_NUMBER


def _number(fields: Mapping[str, Value], name: str) -> int:
    return _int(fields[name])


def _int(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number")
    return value


def _shape(file: BinaryIO) -> dict[str, Value]:
    """The model's own fields, without the architecture's name before them."""
    if file.read(4) != _MAGIC:
        raise ValueError("no GGUF file")
    _, _, count = struct.unpack("<IQQ", file.read(20))
    fields: dict[str, Value] = {}
    for _ in range(min(count, _FIELDS_MAX)):
        key, value = _text(file), _value(file)
        if key.startswith("tokenizer."):
            break
        _, _, name = key.partition(".")
        if not key.startswith("general."):
            fields[name] = value
    return fields


def _value(file: BinaryIO) -> Value:
    (kind,) = struct.unpack("<I", file.read(4))
    if kind != _ARRAY:
        return _one(file, kind)
    inner, count = struct.unpack("<IQ", file.read(12))
    if count > _ARRAY_MAX:
        return ()
    return tuple(_one(file, inner) for _ in range(count))


def _one(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _text(file)
    layout = _FORMATS.get(kind)
    if layout is None:
        raise ValueError(f"no such type: {kind}")
    found: int | float = struct.unpack(f"<{layout}", file.read(struct.calcsize(layout)))[0]
    return found


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _STRING_BYTES_MAX:
        raise ValueError("a text that is too long")
    return file.read(length).decode(errors="replace")
