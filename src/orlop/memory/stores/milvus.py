"""Milvus as a vector store: a server, or a file (Milvus Lite).  Owns `pymilvus`."""

from collections.abc import Sequence
from pathlib import Path

from pymilvus import DataType, MilvusClient

from orlop.memory.stores.store import ANSWER_S, TAKE_S, Place, Point, Shelves
from orlop.memory.vectors import dimensions, unpacked


class Milvus:
    """A collection for each model, loaded as long as the kernel runs."""

    def __init__(self, place: str, shelves: Shelves, key: str = "") -> None:
        self.name = f"milvus {place}"
        self._place = place if "://" in place else str(Path(place).expanduser())
        self._shelves = shelves
        self._key = key
        self._opened: MilvusClient | None = None

    @property
    def _client(self) -> MilvusClient:
        """Made when it is needed: making it asks the server, or opens the file."""
        if self._opened is None:
            self._opened = MilvusClient(uri=self._place, token=self._key, timeout=ANSWER_S)
        return self._opened

    def put(self, place: Place, points: Sequence[Point]) -> None:
        collection = self._shelves.name(place.model)
        if not self._client.has_collection(collection, timeout=ANSWER_S):
            self._create(collection, dimensions(points[0].vector))
        rows = [
            {"id": point.id, "place": place.key, "vector": list(unpacked(point.vector))}
            for point in points
        ]
        self._client.upsert(collection, rows, timeout=TAKE_S)

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        collection = self._shelves.name(place.model)
        if self._client.has_collection(collection, timeout=ANSWER_S):
            self._client.delete(collection, ids=list(ids), timeout=TAKE_S)

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        keys = ", ".join(f'"{place.key}"' for place in places)
        (found,) = self._client.search(
            self._shelves.name(places[0].model),
            data=[list(vector)],
            filter=f"place in [{keys}]",
            limit=limit,
            timeout=ANSWER_S,
        )
        return [int(hit["id"]) for hit in found]

    def clear(self) -> None:
        for collection in self._client.list_collections(timeout=ANSWER_S):
            if collection.startswith(self._shelves.prefix):
                self._client.drop_collection(collection, timeout=TAKE_S)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _create(self, collection: str, size: int) -> None:
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("place", DataType.VARCHAR, max_length=32)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
        index.add_index("place", index_type="INVERTED")
        self._client.create_collection(
            collection, schema=schema, index_params=index, consistency_level="Strong"
        )
