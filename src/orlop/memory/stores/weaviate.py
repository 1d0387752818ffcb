"""Weaviate as a vector store: a collection for each model.  Its REST API, and GraphQL to search.

Source: Weaviate's OpenAPI document (`/v1/schema`, `/v1/batch/objects`) and "Search patterns".
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from orlop.abi.errors import DeviceFailed
from orlop.memory.stores.peer import Peer, each, found
from orlop.memory.stores.store import ANSWER_S, Place, Point, Shelves
from orlop.memory.vectors import unpacked

PROPERTIES: Final = [
    {"name": "place", "dataType": ["text"], "tokenization": "field"},
    {"name": "row", "dataType": ["int"]},
]


class Weaviate:
    """Objects are called by their rows' ids, written as UUIDs."""

    def __init__(self, url: str, shelves: Shelves, key: str = "") -> None:
        self.name = f"weaviate {url}"
        self._shelves = shelves
        self._peer = Peer(url, {"Authorization": f"Bearer {key}"} if key else {})

    def put(self, place: Place, points: Sequence[Point]) -> None:
        collection = self._name(place)
        if not self._has(collection):
            self._create(collection)
        objects = [
            {
                "class": collection,
                "id": uuid_of(point.id),
                "vector": unpacked(point.vector),
                "properties": {"place": place.key, "row": point.id},
            }
            for point in points
        ]
        answer = self._peer.ask("POST", "/v1/batch/objects", {"objects": objects})
        for one in answer if isinstance(answer, list) else []:
            if found(one, "result", "status") != "SUCCESS":
                raise DeviceFailed(f"an object was not taken: {found(one, 'result')!r}"[:300])

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        only = {"operator": "ContainsAny", "path": ["row"], "valueIntArray": list(ids)}
        body = {"match": {"class": self._name(place), "where": only}}
        if not self._has(self._name(place)):
            return
        answer = self._peer.ask("DELETE", "/v1/batch/objects", body)
        if found(answer, "results", "failed"):
            raise DeviceFailed(f"objects were not deleted: {found(answer, 'results')!r}"[:300])

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        collection = self._name(places[0])
        keys = msgspec.json.encode([place.key for place in places]).decode()
        query = (
            f"{{Get{{{collection}(limit:{limit}"
            f",nearVector:{{vector:{msgspec.json.encode(vector).decode()}}}"
            f',where:{{path:["place"],operator:ContainsAny,valueText:{keys}}}){{row}}}}}}'
        )
        answer = self._peer.ask("POST", "/v1/graphql", {"query": query}, limit_s=ANSWER_S)
        if isinstance(answer, dict) and answer.get("errors"):
            raise DeviceFailed(f"the search failed: {answer['errors']!r}"[:300])
        return [int(str(found(one, "row"))) for one in each(answer, "data", "Get", collection)]

    def clear(self) -> None:
        for one in each(self._peer.ask("GET", "/v1/schema"), "classes"):
            name = str(found(one, "class"))
            if name.startswith(self._shelves.prefix.capitalize()):
                self._peer.ask("DELETE", f"/v1/schema/{name}")

    def close(self) -> None:
        self._peer.close()

    def _name(self, place: Place) -> str:
        """Collections begin with a capital letter."""
        return self._shelves.name(place.model).capitalize()

    def _has(self, collection: str) -> bool:
        return self._peer.ask("GET", f"/v1/schema/{collection}", may_miss=True) is not None

    def _create(self, collection: str) -> None:
        body = {
            "class": collection,
            "vectorizer": "none",
            "vectorIndexConfig": {"distance": "cosine"},
            "properties": PROPERTIES,
        }
        self._peer.ask("POST", "/v1/schema", body)


def uuid_of(id: int) -> str:
    digits = f"{id:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
