"""What a memory call may ask for: every number has a range, every text a length."""

import math
from typing import Final

import msgspec

from orlop.abi.errors import BadCall, TooLarge
from orlop.abi.limits import (
    MEMORY_ATTRIBUTES_BYTES_MAX,
    MEMORY_DIMENSIONS_MAX,
    MEMORY_ITEMS_MAX,
    MEMORY_NAME_CHARS_MAX,
    MEMORY_RECALL_MAX,
    MEMORY_SOURCES_MAX,
    MEMORY_SUBJECTS_MAX,
    MEMORY_TEXT_CHARS_MAX,
)
from orlop.abi.memory import Forget, Item, MemoryCall, Recall, Remember

TTL_S_MAX: Final = 1e9
"""Thirty years."""
NS_MAX: Final = 2**63 - 2
"""What a column holds, less the number that stands for `for ever`."""
SEQ_MAX: Final = 2**47
"""Of an event: a column holds its number and, beside that, those of its parts."""


def check(call: MemoryCall) -> None:
    """Raises `BadCall` naming the field."""
    match call:
        case Remember():
            if not call.items and not call.forget:
                raise BadCall("items: what should be remembered?")
            _few("items", len(call.items) + len(call.forget))
            for item in call.items:
                _item(item)
        case Recall():
            _recall(call)
        case Forget():
            if not call.targets and not call.keys:
                raise BadCall("targets, keys: what should be forgotten?")
            _few("targets", len(call.targets) + len(call.keys))


def _item(item: Item) -> None:
    if not item.text.strip() or len(item.text) > MEMORY_TEXT_CHARS_MAX:
        raise BadCall(f"text: 1 to {MEMORY_TEXT_CHARS_MAX} characters (MEMORY_TEXT_CHARS_MAX)")
    for field, value in (("key", item.key), ("kind", item.kind), ("model", item.model)):
        _name(field, value)
    if not item.kind:
        raise BadCall("kind: not empty")
    if len(item.subjects) > MEMORY_SUBJECTS_MAX or len(item.sources) > MEMORY_SOURCES_MAX:
        raise BadCall(
            f"subjects, sources: at most {MEMORY_SUBJECTS_MAX} and {MEMORY_SOURCES_MAX}"
            " (MEMORY_SUBJECTS_MAX, MEMORY_SOURCES_MAX)"
        )
    for subject in item.subjects:
        _name("subjects", subject)
        if not subject.strip():
            raise BadCall("subjects: write `channel:value`, as in `mail:ann@example.com`")
    for source in item.sources:
        _name("sources", source)
    _within("confidence", item.confidence, 0, 1)
    _within("ttl_s", item.ttl_s, 1e-9, TTL_S_MAX)
    _within("valid_from_ns", item.valid_from_ns, 0, NS_MAX)
    _within("valid_to_ns", item.valid_to_ns, 0, NS_MAX)
    start, end = item.valid_from_ns or 0, item.valid_to_ns
    if end is not None and end <= start:
        raise BadCall("valid_to_ns: later than valid_from_ns")
    if len(msgspec.json.encode(item.attributes)) > MEMORY_ATTRIBUTES_BYTES_MAX:
        raise TooLarge(
            f"attributes: at most {MEMORY_ATTRIBUTES_BYTES_MAX} bytes of JSON"
            " (MEMORY_ATTRIBUTES_BYTES_MAX)"
        )
    _vector(item.vector, item.vector_model)


def _recall(call: Recall) -> None:
    if not 1 <= call.limit <= MEMORY_RECALL_MAX:
        raise BadCall(f"limit: from 1 to {MEMORY_RECALL_MAX} (MEMORY_RECALL_MAX)")
    if len(call.query) > MEMORY_TEXT_CHARS_MAX:
        raise BadCall(f"query: at most {MEMORY_TEXT_CHARS_MAX} characters")
    _few("holding", len(call.holding))
    _few("namespaces", len(call.namespaces))
    _few("kinds", len(call.kinds))
    _within("confidence_min", call.confidence_min, 0, 1)
    _within("as_of", call.as_of, 0, SEQ_MAX)
    _within("valid_at_ns", call.valid_at_ns, 0, NS_MAX)
    for name in call.attributes:
        _name("attributes", name)
        if '"' in name or "\\" in name:
            raise BadCall(f"attributes: {name!r} can't be looked for")
    _vector(call.vector, call.vector_model)


def _vector(vector: tuple[float, ...], model: str) -> None:
    if not vector and not model:
        return
    if not vector or not model:
        raise BadCall("vector, vector_model: both, or neither")
    _name("vector_model", model)
    if len(vector) > MEMORY_DIMENSIONS_MAX:
        raise BadCall(f"vector: at most {MEMORY_DIMENSIONS_MAX} numbers (MEMORY_DIMENSIONS_MAX)")


def _few(field: str, count: int) -> None:
    if count > MEMORY_ITEMS_MAX:
        raise TooLarge(f"{field}: at most {MEMORY_ITEMS_MAX} (MEMORY_ITEMS_MAX), not {count}")


def _name(field: str, text: str) -> None:
    if len(text) > MEMORY_NAME_CHARS_MAX or not text.isprintable():
        raise BadCall(f"{field}: at most {MEMORY_NAME_CHARS_MAX} printable characters")


def _within(field: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise BadCall(f"{field}: from {low:g} to {high:g}, not {value:g}")
