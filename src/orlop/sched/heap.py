"""A heap whose items may change their keys: what is out of date is skipped when it comes up."""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")

Key = tuple[float, ...]


class Heap(Generic[T]):
    """Each item once; the smallest key first, ties in the order of `put`."""

    __slots__ = ("_count", "_entries", "_valid")

    def __init__(self) -> None:
        self._entries: list[tuple[Key, int, T]] = []
        self._valid: dict[T, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._valid)

    def __contains__(self, item: T) -> bool:
        return item in self._valid

    def put(self, item: T, key: Key) -> None:
        """Add it, or move it to where its new key belongs."""
        self._count += 1
        self._valid[item] = self._count
        heappush(self._entries, (key, self._count, item))
        if len(self._entries) > 2 * len(self._valid) + 64:
            valid = self._valid
            self._entries = [entry for entry in self._entries if valid.get(entry[2]) == entry[1]]
            heapify(self._entries)

    def discard(self, item: T) -> None:
        self._valid.pop(item, None)

    def peek(self) -> tuple[Key, T] | None:
        entries, valid = self._entries, self._valid
        while entries:
            key, count, item = entries[0]
            if valid.get(item) == count:
                return key, item
            heappop(entries)
        return None
