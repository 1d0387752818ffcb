"""Vectors as they lie in events and rows: 16-bit floats of length 1, little-endian."""

import math
import struct
from collections.abc import Sequence
from typing import Final

from orlop.abi.errors import BadCall
from orlop.abi.limits import MEMORY_DIMENSIONS_MAX

_EXACT: Final = 2.0**-12
"""Half of the step between 16-bit floats below 1."""


def packed(vector: Sequence[float]) -> bytes:
    """Raises `BadCall` for a vector that has no direction."""
    if not 1 <= len(vector) <= MEMORY_DIMENSIONS_MAX:
        raise BadCall(
            f"vector: 1 to {MEMORY_DIMENSIONS_MAX} numbers (MEMORY_DIMENSIONS_MAX), not"
            f" {len(vector)}"
        )
    length = math.hypot(*vector)
    if not 0 < length < math.inf:
        raise BadCall("vector: it must be finite, and not all zeros")
    if abs(length - 1.0) > _EXACT:  # Most models give vectors of length 1.
        vector = [number / length for number in vector]
    return struct.pack(f"<{len(vector)}e", *vector)


def dimensions(data: bytes) -> int:
    return len(data) // 2


def unpacked(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{dimensions(data)}e", data)
