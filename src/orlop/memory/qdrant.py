"""Qdrant as a vector store: a server, or a folder (its local mode).  Owns `qdrant_client`.

Points have the ids of the rows; what is searched within is in their payload.
"""

import threading
from collections.abc import Sequence
from typing import Final

from qdrant_client import QdrantClient, models

from orlop.abi.ids import TenantId
from orlop.memory.feed import FedRow
from orlop.memory.vectors import dimensions, unpacked

BATCH: Final = 500


class Qdrant:
    """One collection a model, since each has vectors of its own length."""

    def __init__(self, place: str, prefix: str = "orlop") -> None:
        self.name = f"qdrant {place}"
        self._prefix = prefix
        # Its local mode is not made for two threads at once.
        self._lock = threading.Lock()
        if place.startswith(("http://", "https://")):
            self._client = QdrantClient(url=place)
        elif place == ":memory:":
            self._client = QdrantClient(location=place)
        else:
            self._client = QdrantClient(path=place)

    def put(self, rows: Sequence[FedRow]) -> None:
        with self._lock:
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                for model in {row.model for row in part}:
                    self._upsert([row for row in part if row.model == model], model)

    def drop(self, ids: Sequence[int]) -> None:
        if not ids:
            return
        with self._lock:
            for collection in self._collections():
                self._client.delete(collection, models.PointIdsList(points=list(ids)))

    def near(
        self,
        tenant: TenantId,
        namespaces: Sequence[str],
        model: str,
        vector: Sequence[float],
        limit: int,
    ) -> list[int]:
        only = models.Filter(
            must=[
                models.FieldCondition(key="tenant", match=models.MatchValue(value=tenant)),
                models.FieldCondition(key="namespace", match=models.MatchAny(any=list(namespaces))),
            ]
        )
        with self._lock:
            found = self._client.query_points(
                self._collection(model), query=list(vector), limit=limit, query_filter=only
            )
        return [int(point.id) for point in found.points]

    def clear(self) -> None:
        with self._lock:
            for collection in self._collections():
                self._client.delete_collection(collection)

    def close(self) -> None:
        with self._lock:
            self._client.close()

    def _upsert(self, rows: Sequence[FedRow], model: str) -> None:
        collection = self._collection(model)
        if not self._client.collection_exists(collection):
            size = dimensions(rows[0].vector)
            form = models.VectorParams(size=size, distance=models.Distance.COSINE)
            self._client.create_collection(collection, vectors_config=form)
        self._client.upsert(
            collection,
            models.Batch(
                ids=[row.id for row in rows],
                vectors=[list(unpacked(row.vector)) for row in rows],
                payloads=[{"tenant": row.tenant, "namespace": row.namespace} for row in rows],
            ),
        )

    def _collection(self, model: str) -> str:
        plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in model)
        return f"{self._prefix}-{plain}"

    def _collections(self) -> list[str]:
        found = self._client.get_collections().collections
        return [one.name for one in found if one.name.startswith(self._prefix)]
