"""Qdrant as a vector store: a server, or a folder (its local mode).  Owns `qdrant_client`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from qdrant_client import QdrantClient, models

from orlop.memory.stores.store import ANSWER_S, Place, Point, Shelves
from orlop.memory.vectors import dimensions, unpacked

IN_RAM: Final = ":memory:"


class Qdrant:
    """A collection for each model; points have the ids of the rows and their place as payload."""

    def __init__(self, place: str, shelves: Shelves, key: str = "") -> None:
        self.name = f"qdrant {place}"
        self._place = place
        self._shelves = shelves
        self._key = key
        self._is_server = "://" in place
        self._opened: QdrantClient | None = None

    @property
    def _client(self) -> QdrantClient:
        """Made when it is needed: a folder that is another one's can't be opened."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> QdrantClient:
        if self._place == IN_RAM:
            return QdrantClient(location=IN_RAM)
        if not self._is_server:
            return QdrantClient(path=str(Path(self._place).expanduser()))
        return QdrantClient(
            url=self._place,
            api_key=self._key or None,
            timeout=int(ANSWER_S),
            check_compatibility=False,
        )

    def put(self, place: Place, points: Sequence[Point]) -> None:
        collection = self._shelves.name(place.model)
        if not self._client.collection_exists(collection):
            size = dimensions(points[0].vector)
            form = models.VectorParams(size=size, distance=models.Distance.COSINE)
            self._client.create_collection(collection, vectors_config=form)
            if self._is_server:
                keyword = models.PayloadSchemaType.KEYWORD
                self._client.create_payload_index(collection, "place", keyword)
        self._client.upsert(
            collection,
            models.Batch(
                ids=[point.id for point in points],
                vectors=[list(unpacked(point.vector)) for point in points],
                payloads=[{"place": place.key}] * len(points),
            ),
        )

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        collection = self._shelves.name(place.model)
        if self._client.collection_exists(collection):
            self._client.delete(collection, models.PointIdsList(points=list(ids)))

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        keys = [place.key for place in places]
        only = models.Filter(
            must=[models.FieldCondition(key="place", match=models.MatchAny(any=keys))]
        )
        found = self._client.query_points(
            self._shelves.name(places[0].model),
            query=list(vector),
            limit=limit,
            query_filter=only,
            with_payload=False,
        )
        return [int(point.id) for point in found.points]

    def clear(self) -> None:
        for collection in self._client.get_collections().collections:
            if collection.name.startswith(self._shelves.prefix):
                self._client.delete_collection(collection.name)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
