"""Redis 8 as a vector store: a vector set for each place, so nothing else need be filtered.

Source: redis.io, "Vector sets": VADD, VSIM, VREM.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from orlop.abi.errors import DeviceFailed
from orlop.memory.stores.resp import Line, Reply
from orlop.memory.stores.store import ANSWER_S, Place, Point, Shelves
from orlop.memory.vectors import unpacked

SCAN_COUNT: Final = 1_000
"""Keys that are looked at in one step of a search for ours."""
EFFORT_MIN: Final = 200
"""Nodes of the graph that a search keeps in view."""


class Redis:
    """Elements of a set are called by their rows' ids; vectors are not quantized."""

    def __init__(self, url: str, name: str, shelves: Shelves, key: str = "") -> None:
        self.name = name
        self._url = urlsplit(url)
        self._shelves = shelves
        self._key = key
        self._line: Line | None = None

    def put(self, place: Place, points: Sequence[Point]) -> None:
        name = self._name(place)
        self._ask(
            ["VADD", name, "FP32", floats(unpacked(point.vector)), str(point.id), "NOQUANT"]
            for point in points
        )

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        name = self._name(place)
        self._ask(["VREM", name, str(id)] for id in ids)

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        asked, effort = floats(vector), str(max(limit, EFFORT_MIN))
        answers = self._ask(
            ["VSIM", self._name(place), "FP32", asked, "COUNT", str(limit), "EF", effort]
            for place in places
        )
        return [int(id) for answer in answers for id in names(answer)]

    def clear(self) -> None:
        cursor, ours = b"0", f"{self._shelves.prefix}*"
        while True:
            (step,) = self._ask([["SCAN", cursor, "MATCH", ours, "COUNT", str(SCAN_COUNT)]])
            match step:
                case [bytes() as cursor, found]:
                    self._ask(["UNLINK", name] for name in names(found))
                case _:
                    raise DeviceFailed(f"an answer to SCAN that says nothing: {step!r}"[:200])
            if cursor == b"0":
                return

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _name(self, place: Place) -> str:
        return f"{self._shelves.name(place.model)}:{place.key}"

    def _ask(self, commands: Iterable[Sequence[str | bytes]]) -> list[Reply]:
        """By a connection that is made when it is needed, and anew after any failure."""
        try:
            if self._line is None:
                self._line = Line(self._url, self._key, ANSWER_S)
            return self._line.all(list(commands))
        except BaseException:
            self.close()
            raise


def floats(vector: Sequence[float]) -> bytes:
    """As VADD and VSIM take them: 32-bit floats, little-endian."""
    return struct.pack(f"<{len(vector)}f", *vector)


def names(answer: Reply) -> list[bytes]:
    return [name for name in answer if isinstance(name, bytes)] if isinstance(answer, list) else []
