"""An ONNX model of two classes, written by hand: `onnx`, the package, is not needed for that.

ONNX files are Protocol Buffers; these are the few fields of `onnx.proto` that this model has.
"""

import struct
from pathlib import Path

from tokenizers import Tokenizer

INT64, FLOAT, BOOL = 7, 1, 9


def write_classifier(path: Path, tokenizer: Path, word: str) -> None:
    """Class 1 for texts with `word`, class 0 for others: [texts, tokens] -> logits [texts, 2].

    Equal(input_ids, word) as numbers, the greatest of each row times 8, beside a constant 4.
    """
    id = Tokenizer.from_file(str(tokenizer)).token_to_id(word)
    assert id is not None
    nodes = [
        node("Equal", ["input_ids", "word"], "is_word"),
        node("Cast", ["is_word"], "hit", integer("to", FLOAT)),
        node("ReduceMax", ["hit", "axis"], "found", integer("keepdims", 1)),
        node("Mul", ["found", "eight"], "angry"),
        node("Mul", ["found", "zero"], "nothing"),
        node("Add", ["nothing", "four"], "calm"),
        node("Concat", ["calm", "angry"], "logits", integer("axis", 1)),
    ]
    constants = [
        tensor("word", INT64, struct.pack("<q", id)),
        tensor("axis", INT64, struct.pack("<q", 1)),
        tensor("eight", FLOAT, struct.pack("<f", 8.0)),
        tensor("zero", FLOAT, struct.pack("<f", 0.0)),
        tensor("four", FLOAT, struct.pack("<f", 4.0)),
    ]
    graph = b"".join(field(1, each) for each in nodes) + field(2, b"classifier")
    graph += b"".join(field(5, each) for each in constants)
    graph += field(11, value("input_ids", INT64, ["texts", "tokens"]))
    graph += field(12, value("logits", FLOAT, ["texts", 2]))
    model = number(1, 8) + field(7, graph) + field(8, field(1, b"") + number(2, 18))
    path.write_bytes(model)


def varint(held: int) -> bytes:
    pieces = bytearray()
    while held > 127:
        pieces.append(held & 127 | 128)
        held >>= 7
    return bytes([*pieces, held])


def field(at: int, held: bytes) -> bytes:
    return varint(at << 3 | 2) + varint(len(held)) + held


def number(at: int, held: int) -> bytes:
    return varint(at << 3) + varint(held)


def integer(name: str, held: int) -> bytes:
    """An attribute."""
    return field(1, name.encode()) + number(3, held) + number(20, 2)


def node(kind: str, inputs: list[str], output: str, attribute: bytes = b"") -> bytes:
    named = b"".join(field(1, name.encode()) for name in inputs) + field(2, output.encode())
    named += field(4, kind.encode())
    return named + (field(5, attribute) if attribute else b"")


def tensor(name: str, kind: int, raw: bytes) -> bytes:
    """Of one element."""
    return number(1, 1) + number(2, kind) + field(8, name.encode()) + field(9, raw)


def value(name: str, kind: int, shape: list[str | int]) -> bytes:
    sizes = b""
    for size in shape:
        sizes += field(1, number(1, size) if isinstance(size, int) else field(2, size.encode()))
    return field(1, name.encode()) + field(2, field(1, number(1, kind) + field(2, sizes)))
