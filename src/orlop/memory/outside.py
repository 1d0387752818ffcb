"""An external vector store as one more projection: it names candidates, the rows decide.

Invariants:
1. What it names is held against the rows: it may be behind, or wrong, and only what it overlooks is
   lost.  What was written since it was fed is compared here.
2. One that fails is left alone for a while; the embedded search answers, and the reply says so.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from orlop.abi.ids import TenantId
from orlop.abi.memory_orders import Shelf
from orlop.machine.clock import Clock
from orlop.memory import feed as memory_feed
from orlop.memory.feed import FedRow, Feed
from orlop.memory.reading import Filter, born
from orlop.memory.search import Dense
from orlop.memory.vectors import unpacked

log = logging.getLogger(__name__)

AWAY_S: Final = 30.0
"""After a failure, before it is asked again."""
OVERSAMPLE: Final = 4
"""What it is asked for, in results: some of it may not be current any more."""


class VectorStore(Protocol):
    """What a driver of an external store does.  Blocks; called from two threads.

    Any exception of its library counts as the store being away.
    """

    name: str

    def put(self, rows: Sequence[FedRow]) -> None:
        """By id; one that is there is replaced."""
        ...

    def drop(self, ids: Sequence[int]) -> None: ...

    def near(
        self,
        tenant: TenantId,
        namespaces: Sequence[str],
        model: str,
        vector: Sequence[float],
        limit: int,
    ) -> list[int]:
        """Ids of about the nearest, in no order."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class Place(NamedTuple):
    tenant: TenantId
    namespace: str
    model: str


@dataclass(eq=False, slots=True)
class Outside:
    """`inner`: the embedded search, which answers where the store can't."""

    store: VectorStore
    inner: Dense
    clock: Clock
    note: str = ""
    _fed: dict[Place, tuple[int, int]] = field(default_factory=dict)
    """Which file, and up to which event."""
    _asked: dict[Place, None] = field(default_factory=dict)
    """Namespaces that were searched, and are to be fed."""
    _file: int = 0
    """What is in the store is of this file's rows; 0: nobody knows."""
    _again_s: float = 0.0

    def search(
        self,
        connection: sqlite3.Connection,
        wanted: Filter,
        model: str,
        vector: bytes,
        limit: int,
        among: Sequence[int] | None,
    ) -> tuple[list[tuple[int, float]], bool]:
        places = [Place(wanted.tenant, name, model) for name in wanted.namespaces]
        self._asked |= dict.fromkeys(places)
        file = born(connection)
        is_fed = all(self._fed.get(place, (0, 0))[0] == file for place in places)
        is_scan = among is None and wanted.as_of is None
        if is_scan and is_fed and places and self.clock.now_s() >= self._again_s:
            found = self._outside(connection, wanted, model, vector, limit)
            if found is not None and len(found) >= limit:
                return found[:limit], False
        return self.inner.search(connection, wanted, model, vector, limit, among)

    def next_feed(self) -> Callable[[sqlite3.Connection], list[Feed]]:
        """Reads what the store lacks; `feed` then brings it there."""
        asked = [(*place, *self._fed.get(place, (0, 0))) for place in tuple(self._asked)]
        return lambda connection: [memory_feed.since(connection, *one) for one in asked]

    def feed(self, feeds: Sequence[Feed]) -> None:
        """In a thread of its own."""
        if self.clock.now_s() < self._again_s:
            return
        try:
            for one in feeds:
                self._bring(one)
            self.note = ""
        except Exception as error:  # Whatever its library raises.
            self._lose(error)

    def _bring(self, feed: Feed) -> None:
        if feed.file != self._file:
            self.store.clear()
            self._fed.clear()
            self._file = feed.file
        place = Place(feed.tenant, feed.namespace, feed.model)
        if feed.after and place not in self._fed:
            return  # It was emptied since this was read: next time all of it is.
        self.store.put(feed.rows)
        self.store.drop(feed.closed)
        self._fed[place] = (feed.file, feed.seq)

    def _outside(
        self,
        connection: sqlite3.Connection,
        wanted: Filter,
        model: str,
        vector: bytes,
        limit: int,
    ) -> list[tuple[int, float]] | None:
        try:
            ids = self.store.near(
                wanted.tenant, wanted.namespaces, model, unpacked(vector), OVERSAMPLE * limit
            )
        except Exception as error:  # Whatever its library raises.
            self._lose(error)
            return None
        self.note = ""
        seen = min(self._fed[Place(wanted.tenant, name, model)][1] for name in wanted.namespaces)
        rows = memory_feed.candidates(connection, wanted, model, ids, seen)
        query = unpacked(vector)
        scored = [
            (id, sum(a * b for a, b in zip(query, unpacked(data), strict=True)))
            for id, data in rows
            if len(data) == len(vector)
        ]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))

    def _lose(self, error: Exception) -> None:
        self._again_s = self.clock.now_s() + AWAY_S
        self._begin_again()  # It may come back empty.
        self.note = f"{self.store.name} is away ({error}): searched by the embedded index"
        log.warning("the vector store %s failed: %s", self.store.name, error)

    def forget(self, tenant: TenantId | None) -> None:
        """After an erasure: the store is emptied when it is fed next, and that is soon."""
        self.inner.forget(tenant)
        self._begin_again()

    def _begin_again(self) -> None:
        self._fed.clear()
        self._file = 0

    def take_wanted(self) -> list[Callable[[], None]]:
        return self.inner.take_wanted()

    def no_graphs(self) -> None:
        self.inner.no_graphs()

    def shelves(self) -> list[Shelf]:
        return self.inner.shelves()
