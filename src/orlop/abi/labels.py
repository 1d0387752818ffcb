"""Labels of what is kept: where the data in it came from, as far as that is not trusted.

A version of a file or of a memory has the labels that it was written with, and those of what it was
made from; they are in its event, so whoever reads it anywhere hears of them.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from orlop.abi.errors import BadCall
from orlop.abi.limits import LABELS_MAX, NAME_CHARS_MAX

MANY: Final = "many"
"""Stands for all labels beyond `LABELS_MAX`."""

NO_LABELS: Final[tuple[str, ...]] = ()

_names: Final = msgspec.json.Decoder(tuple[str, ...])


def together(*of: Iterable[str]) -> tuple[str, ...]:
    """Each once, in order; beyond the bound the rest is `many`."""
    found = sorted(set().union(*of))
    if len(found) <= LABELS_MAX:
        return tuple(found)
    return tuple(sorted({*found[: LABELS_MAX - 1], MANY}))


def checked(labels: tuple[str, ...]) -> tuple[str, ...]:
    """What a caller gives.  Raises `BadCall`."""
    if len(labels) > LABELS_MAX:
        raise BadCall(f"labels: at most {LABELS_MAX} (LABELS_MAX)")
    for label in labels:
        if not label or len(label) > NAME_CHARS_MAX or not label.isprintable():
            raise BadCall(f"labels: printable names of up to {NAME_CHARS_MAX} characters")
    return labels


def to_column(labels: tuple[str, ...]) -> str:
    """As a row has them; nearly all rows have none."""
    return msgspec.json.encode(labels).decode() if labels else ""


def from_column(text: str) -> tuple[str, ...]:
    return _names.decode(text) if text else NO_LABELS
