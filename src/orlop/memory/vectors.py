"""Vectors as they lie in events and rows: 16-bit floats of length 1, little-endian."""

import math
import struct
from collections.abc import Sequence

from orlop.abi.errors import BadCall
from orlop.abi.limits import MEMORY_DIMENSIONS_MAX


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
    scale = 1.0 / length
    return struct.pack(f"<{len(vector)}e", *[number * scale for number in vector])


def dimensions(data: bytes) -> int:
    return len(data) // 2


def unpacked(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{dimensions(data)}e", data)
