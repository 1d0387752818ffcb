"""An external vector store as one more projection: it names candidates, the rows decide.

Invariants:
1. What it names is held against the rows: it may be behind, or wrong, and only what it overlooks is
   lost.  What was written since it was fed is compared here.
2. One that fails, does not answer or has forgotten is left alone for a while; the embedded search
   answers, and the reply says so.
3. It is emptied before it is fed anew: at each start, after an erasure, after a failure.  So what
   is erased does not stay in it, also where the kernel or the store is lost in between.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, NamedTuple

from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import TenantId
from orlop.abi.memory_orders import Shelf
from orlop.machine import redaction
from orlop.machine.clock import Clock
from orlop.memory import feed as memory_feed
from orlop.memory.feed import Feed
from orlop.memory.meaning import Dense, Query, Ranking
from orlop.memory.reading import born
from orlop.memory.stores.store import POINTS_MAX, Place, VectorStore, batches
from orlop.memory.vectors import unpacked

log = logging.getLogger(__name__)

AWAY_S: Final = 30.0
"""After a failure, before it is asked again."""
OVERSAMPLE: Final = 4
"""What it is asked for, in results: some of it may not be current any more."""


class Round(NamedTuple):
    """What was read for the store; of no use once something was erased meanwhile."""

    epoch: int
    feeds: list[Feed]


@dataclass(eq=False, slots=True)
class Outside:
    """Searches run in one thread, feeds in another, and `forget` comes from the event loop.

    `inner`: the embedded search, which answers where the store can't.
    """

    store: VectorStore
    inner: Dense
    clock: Clock
    note: str = ""
    _fed: dict[Place, tuple[int, int]] = field(default_factory=dict)
    """Which file, and up to which event."""
    _asked: dict[Place, None] = field(default_factory=dict)
    """Namespaces that were searched, and are to be fed."""
    _file: int = 0
    """What is in the store is of this file's rows."""
    _is_stale: bool = True
    """It is to be emptied: nobody knows what is in it."""
    _epoch: int = 0
    """Goes up with each erasure and failure."""
    _again_s: float = 0.0
    _turn: Lock = field(default_factory=Lock)
    """Held for one call of the store."""

    def search(self, connection: sqlite3.Connection, query: Query) -> tuple[Ranking, bool]:
        wanted = query.wanted
        places = [Place(wanted.tenant, name, query.model) for name in wanted.namespaces]
        self._asked |= dict.fromkeys(places)
        file = born(connection)
        fed = [self._fed.get(place, (0, 0)) for place in places]
        is_fed = bool(fed) and all(one == file for one, _ in fed)
        if query.is_of_all_now and is_fed and self.clock.now_s() >= self._again_s:
            seen = min(seq for _, seq in fed)
            found = self._outside(connection, query, places, seen)
            if found is not None and len(found) >= query.limit:
                return found[: query.limit], False
        return self.inner.search(connection, query)

    def cosines(
        self, connection: sqlite3.Connection, model: str, vector: bytes, ids: Sequence[int]
    ) -> Ranking:
        return self.inner.cosines(connection, model, vector, ids)

    def next_feed(self) -> Callable[[sqlite3.Connection], Round]:
        """Reads what the store lacks; `feed` then brings it there."""
        epoch = self._epoch
        asked = [(place, *self._fed.get(place, (0, 0))) for place in tuple(self._asked)]
        return lambda connection: Round(
            epoch, [memory_feed.since(connection, *one) for one in asked]
        )

    def feed(self, round: Round) -> None:
        """In a thread of its own."""
        if self.clock.now_s() < self._again_s:
            return
        try:
            if any(one.was_erased for one in round.feeds):
                self._begin_again()
            if self._is_stale:
                self._empty()
            for one in round.feeds:
                self._bring(one, round.epoch)
            self.note = ""
        except Exception as error:  # Whatever its library raises.
            self._lose(error)

    def close(self) -> None:
        with self._turn:
            self.store.close()

    def _empty(self) -> None:
        # First the mark: an erasure from here on sets it again.
        self._is_stale = False
        self._fed.clear()
        with self._turn:
            self.store.clear()

    def _bring(self, feed: Feed, epoch: int) -> None:
        if feed.file != self._file:
            self._empty()
            self._file = feed.file
        if epoch != self._epoch or (feed.after and feed.place not in self._fed):
            return  # It was emptied since this was read: next time all of it is.
        for points in batches(feed.points):
            with self._turn:
                self.store.put(feed.place, points)
        for start in range(0, len(feed.closed), POINTS_MAX):
            with self._turn:
                self.store.drop(feed.place, feed.closed[start : start + POINTS_MAX])
        if epoch == self._epoch:
            self._fed[feed.place] = (feed.file, feed.seq)

    def _outside(
        self,
        connection: sqlite3.Connection,
        query: Query,
        places: Sequence[Place],
        seen: int,
    ) -> Ranking | None:
        vector, most = unpacked(query.vector), OVERSAMPLE * query.limit
        if not self._turn.acquire(blocking=False):
            return None  # It is being fed: nobody waits for that.
        try:
            try:
                ids = self.store.near(places, vector, most)
            finally:
                self._turn.release()
            # Stores that search by a graph may name somewhat fewer than they have.
            if 2 * len(ids) < most and any(
                2 * len(ids) < memory_feed.fed(connection, place, seen, len(query.vector), most)
                for place in places
            ):
                raise DeviceFailed("it has forgotten what it was given")
        except Exception as error:  # Whatever its library raises.
            self._lose(error)
            return None
        rows = memory_feed.candidates(connection, query.wanted, query.model, ids, seen)
        scored = [
            (id, sum(a * b for a, b in zip(vector, unpacked(data), strict=True)))
            for id, data in rows
            if len(data) == len(query.vector)
        ]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))

    def _lose(self, error: Exception) -> None:
        self._again_s = self.clock.now_s() + AWAY_S
        self._begin_again()  # It may come back empty.
        said = redaction.without_secrets(str(error).partition("\n")[0])[:200]
        self.note = f"{self.store.name} is away ({said}): searched by the embedded index"
        log.warning("the vector store %s failed: %s", self.store.name, said)

    def forget(self, tenant: TenantId | None) -> None:
        """After an erasure: the store is emptied when it is fed next, and that is soon."""
        self.inner.forget(tenant)
        self._begin_again()

    def _begin_again(self) -> None:
        self._epoch += 1
        self._is_stale = True
        self._fed.clear()

    def take_wanted(self) -> list[Callable[[], None]]:
        return self.inner.take_wanted()

    def no_graphs(self) -> None:
        self.inner.no_graphs()

    def shelves(self) -> list[Shelf]:
        return self.inner.shelves()
