"""Search by meaning: what is asked, and what may answer it."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from orlop.abi.ids import TenantId
from orlop.abi.memory_orders import Shelf
from orlop.memory.finding import Filter

Ranking: TypeAlias = list[tuple[int, float]]
"""Ids and cosines, best first."""


class Query(Struct, frozen=True, kw_only=True):
    """What is looked for, and among which rows."""

    wanted: Filter
    model: str
    vector: bytes
    limit: int
    among: Sequence[int] | None = None
    """Ids that meet the rest of the filter; None: it has no rest."""

    @property
    def is_of_all_now(self) -> bool:
        """Every open version of its namespaces counts: what a graph or another store can find."""
        return self.among is None and self.wanted.as_of is None


class Dense(Protocol):
    """Search by meaning.  `memory.blocks` is the one in RAM."""

    def search(self, connection: sqlite3.Connection, query: Query) -> tuple[Ranking, bool]:
        """The best, and whether all came from RAM."""
        ...

    def cosines(
        self, connection: sqlite3.Connection, model: str, vector: bytes, ids: Sequence[int]
    ) -> Ranking:
        """How near these few are; those without a vector are left out."""
        ...

    def forget(self, tenant: TenantId | None) -> None:
        """Let go of what is in RAM (None: of everybody's)."""
        ...

    def take_wanted(self) -> list[Callable[[], None]]:
        """Work that would make searches of large namespaces faster; for another thread."""
        ...

    def no_graphs(self) -> None:
        """It can't be done here."""
        ...

    def shelves(self) -> list[Shelf]:
        """What each tenant has in RAM."""
        ...
