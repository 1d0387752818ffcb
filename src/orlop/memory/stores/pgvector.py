"""PostgreSQL with the extension pgvector as a vector store.  Owns `psycopg` here."""

from collections.abc import Sequence
from typing import Final, TypeVar

import psycopg
from psycopg.abc import PQGen

from orlop.memory.stores.store import ANSWER_S, TAKE_S, Place, Point, Shelves
from orlop.memory.vectors import dimensions, unpacked

R = TypeVar("R")

INDEXED_MAX: Final = 4_000
"""Numbers of a `halfvec` that pgvector can index; longer ones are compared one by one."""
EFFORT: Final = 200
"""Rows of the graph that a search keeps in view."""


class Impatient(psycopg.Connection):
    """Does not wait for ever for a server that is there and says nothing."""

    limit_s = TAKE_S

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        return super().wait(gen, interval, timeout or self.limit_s)


class Pgvector:
    """A table for each model.

    Rows of few places are found by the primary key and compared exactly; of large ones by the graph
    (HNSW), which goes on until enough of its rows are of the places that are meant (pgvector 0.8).
    """

    def __init__(self, url: str, name: str, shelves: Shelves, key: str = "") -> None:
        self.name = name
        self._url = url
        self._shelves = shelves
        self._key = key
        self._connection: Impatient | None = None

    def put(self, place: Place, points: Sequence[Point]) -> None:
        table, size = self._shelves.name(place.model), dimensions(points[0].vector)
        self._run(
            f"CREATE TABLE IF NOT EXISTS {table}(place text, id bigint, vector halfvec({size}),"
            " PRIMARY KEY (place, id))"
        )
        if size <= INDEXED_MAX:
            self._run(
                f"CREATE INDEX IF NOT EXISTS {table}_near ON {table}"
                " USING hnsw (vector halfvec_cosine_ops)"
            )
        self._run(
            f"INSERT INTO {table} SELECT %s, *"
            f" FROM unnest(%s::bigint[], %s::text[]::halfvec({size})[])"
            " ON CONFLICT (place, id) DO UPDATE SET vector = excluded.vector",
            place.key,
            [point.id for point in points],
            [spelt(unpacked(point.vector)) for point in points],
        )

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        table = self._shelves.name(place.model)
        if self._run("SELECT to_regclass(%s)", table)[0][0] is not None:
            self._run(
                f"DELETE FROM {table} WHERE place = %s AND id = ANY(%s)", place.key, list(ids)
            )

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        rows = self._run(
            f"SELECT id FROM {self._shelves.name(places[0].model)} WHERE place = ANY(%s)"
            f" ORDER BY vector <=> %s::halfvec({len(vector)}) LIMIT %s",
            [place.key for place in places],
            spelt(vector),
            limit,
            limit_s=ANSWER_S,
        )
        return [int(str(id)) for (id,) in rows]

    def clear(self) -> None:
        tables = self._run(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            " AND starts_with(tablename, %s)",
            self._shelves.prefix,
        )
        for (table,) in tables:
            self._run(f"DROP TABLE {table}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(
        self, statement: str, *bound: object, limit_s: float = TAKE_S
    ) -> list[tuple[object, ...]]:
        """In a connection that is made when it is needed, and anew after any failure."""
        try:
            if self._connection is None:
                self._connection = self._connected()
            self._connection.limit_s = limit_s
            cursor = self._connection.execute(statement.encode(), bound)
            return cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error:
            self.close()
            raise

    def _connected(self) -> Impatient:
        made = Impatient.connect(
            self._url,
            autocommit=True,
            connect_timeout=int(ANSWER_S),
            password=self._key or None,
        )
        try:
            made.execute(f"SET statement_timeout = {int(TAKE_S * 1000)}".encode())
            made.execute("CREATE EXTENSION IF NOT EXISTS vector")
            made.execute(f"SET hnsw.ef_search = {EFFORT}".encode())
            made.execute("SET hnsw.iterative_scan = strict_order")
        except psycopg.Error:
            made.close()
            raise
        return made


def spelt(vector: Sequence[float]) -> str:
    """As pgvector reads one."""
    return "[" + ",".join(map(repr, vector)) + "]"
