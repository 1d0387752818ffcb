"""Which blocks of vectors stay in RAM: LRU-K, K = 2, with a budget for each tenant.

Source: O'Neil, O'Neil, Weikum, "The LRU-K page replacement algorithm" (SIGMOD 1993).  A block that
was touched once is no match for one that was touched twice, so that a scan of everything does not
drive out what is used every day.

Invariants:
1. What a tenant holds is at most its budget, but for what is pinned.
2. A tenant's blocks are driven out by its own only.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from orlop.abi.ids import TenantId
from orlop.abi.limits import MEMORY_TOUCHES_KEPT

K: Final = 2

B = TypeVar("B")


@dataclass(eq=False, slots=True)
class Books:
    """One tenant's account."""

    bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0


@dataclass(eq=False, slots=True)
class Held(Generic[B]):
    block: B
    bytes: int


@dataclass(eq=False, slots=True)
class Residency(Generic[B]):
    """Blocks by tenant and name.  Time is a count of touches."""

    bytes_max: int
    """Of each tenant."""
    pinned: frozenset[str] = frozenset()
    """First lines of names that stay."""
    now: int = 0
    held: dict[tuple[TenantId, str], Held[B]] = field(default_factory=dict)
    touches: OrderedDict[tuple[TenantId, str], tuple[int, ...]] = field(default_factory=OrderedDict)
    """The last K touches of each block, newest last; kept for a while after it has left."""
    books: dict[TenantId, Books] = field(default_factory=dict)

    def get(self, tenant: TenantId, name: str) -> B | None:
        """The block, if it is here; counted as a use in any case."""
        key = (tenant, name)
        self._touch(key)
        held, books = self.held.get(key), self._books(tenant)
        if held is None:
            books.misses += 1
            return None
        books.hits += 1
        return held.block

    def fits(self, name: str, bytes: int) -> bool:
        """Whether a block of this size may stay at all."""
        return self.is_pinned(name) or bytes <= self.bytes_max

    def is_pinned(self, name: str) -> bool:
        return name.partition("\n")[0] in self.pinned

    def put(self, tenant: TenantId, name: str, block: B, bytes: int) -> bool:
        """Keep it, or its new size; others of the tenant leave for it.  False: it doesn't fit."""
        self.drop(tenant, name)
        if not self.fits(name, bytes):
            return False
        books = self._books(tenant)
        while books.bytes + bytes > self.bytes_max:
            victim = self._victim(tenant)
            if victim is None:
                if not self.is_pinned(name):
                    return False
                break
            self.drop(*victim)
            books.evictions += 1
        self.held[(tenant, name)] = Held(block, bytes)
        books.bytes += bytes
        return True

    def drop(self, tenant: TenantId, name: str) -> None:
        held = self.held.pop((tenant, name), None)
        if held is not None:
            self._books(tenant).bytes -= held.bytes

    def of(self, tenant: TenantId) -> list[str]:
        """Names of the tenant's blocks."""
        return [name for owner, name in self.held if owner == tenant]

    def check(self) -> None:
        """The invariants, for tests."""
        for tenant, books in self.books.items():
            mine = {key[1]: held.bytes for key, held in self.held.items() if key[0] == tenant}
            assert books.bytes == sum(mine.values())
            loose = sum(bytes for name, bytes in mine.items() if not self.is_pinned(name))
            assert loose <= self.bytes_max

    def _victim(self, tenant: TenantId) -> tuple[TenantId, str] | None:
        """Whose K-th last touch is the longest ago; those with fewer touches before all others."""
        mine = [key for key in self.held if key[0] == tenant and not self.is_pinned(key[1])]
        return min(mine, key=self._worth) if mine else None

    def _worth(self, key: tuple[TenantId, str]) -> tuple[bool, int]:
        touched = self.touches.get(key, ())
        return (len(touched) >= K, touched[0] if touched else 0)

    def _touch(self, key: tuple[TenantId, str]) -> None:
        self.now += 1
        self.touches[key] = (*self.touches.get(key, ())[-(K - 1) :], self.now)
        self.touches.move_to_end(key)
        if len(self.touches) > MEMORY_TOUCHES_KEPT:
            for old in self.touches:
                if old not in self.held:
                    del self.touches[old]
                    break

    def _books(self, tenant: TenantId) -> Books:
        return self.books.setdefault(tenant, Books())
