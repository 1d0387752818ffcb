"""Items in the order of keys that may change, to be looked at from the first without taking any."""

from bisect import bisect_left, insort
from typing import Generic, TypeVar

T = TypeVar("T")

Key = tuple[float, ...]


class Ordered(Generic[T]):
    """Each item once; the smallest key first, ties in the order of `put`."""

    __slots__ = ("_count", "_entries", "_entry")

    def __init__(self) -> None:
        self._entries: list[tuple[Key, int, T]] = []
        self._entry: dict[T, tuple[Key, int, T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, item: T) -> bool:
        return item in self._entry

    def put(self, item: T, key: Key) -> None:
        """Add it, or move it to where its new key belongs."""
        self.discard(item)
        self._count += 1
        entry = self._entry[item] = (key, self._count, item)
        insort(self._entries, entry)

    def discard(self, item: T) -> None:
        if (entry := self._entry.pop(item, None)) is not None:
            # No two counts are equal, so that items are never compared.
            del self._entries[bisect_left(self._entries, entry)]

    def first(self, count: int) -> list[tuple[Key, int, T]]:
        """Keys, numbers, items."""
        return self._entries[:count]
