"""Content by name."""

from msgspec import Struct


class Piece(Struct, frozen=True, array_like=True):
    """A stretch of content, by its name (hexadecimal), with its size in bytes."""

    name: str
    size: int
