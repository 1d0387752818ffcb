"""Pinecone as a vector store: one serverless index, a namespace for each place.

Source: Pinecone's OpenAPI documents, data plane, API version 2025-10.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from orlop.memory.stores.peer import Peer, each, found
from orlop.memory.stores.store import ANSWER_S, Place, Point, Shelves
from orlop.memory.vectors import unpacked

API_VERSION: Final = "2025-10"


class Pinecone:
    """The index has the size of the model's vectors and the metric `cosine`; an operator made it.

    What was put or dropped may take Pinecone some seconds until searches see it.
    """

    def __init__(self, url: str, shelves: Shelves, key: str) -> None:
        self.name = f"pinecone {url}"
        self._shelves = shelves
        self._peer = Peer(url, {"Api-Key": key, "X-Pinecone-Api-Version": API_VERSION})

    def put(self, place: Place, points: Sequence[Point]) -> None:
        vectors = [{"id": str(point.id), "values": unpacked(point.vector)} for point in points]
        body = {"vectors": vectors, "namespace": self._name(place)}
        self._peer.ask("POST", "/vectors/upsert", body)

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        body = {"ids": [str(id) for id in ids], "namespace": self._name(place)}
        self._peer.ask("POST", "/vectors/delete", body, may_miss=True)

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        ids = []
        for place in places:
            body = {"namespace": self._name(place), "vector": vector, "topK": limit}
            answer = self._peer.ask("POST", "/query", body, limit_s=ANSWER_S)
            ids += [int(str(found(match, "id"))) for match in each(answer, "matches")]
        return ids

    def clear(self) -> None:
        """All are listed before the first is deleted: the pages would shift."""
        names, page = [], ""
        while True:
            path = f"/namespaces?limit=100&prefix={quote(self._shelves.prefix)}{page}"
            answer = self._peer.ask("GET", path)
            names += [str(found(one, "name")) for one in each(answer, "namespaces")]
            match answer:
                case {"pagination": {"next": str(token)}} if token:
                    page = f"&paginationToken={quote(token)}"
                case _:
                    break
        for name in names:
            if name.startswith(self._shelves.prefix):
                self._peer.ask("DELETE", f"/namespaces/{quote(name)}", may_miss=True)

    def close(self) -> None:
        self._peer.close()

    def _name(self, place: Place) -> str:
        return f"{self._shelves.name(place.model)}-{place.key}"
