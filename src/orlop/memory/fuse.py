"""One order out of several: reciprocal rank fusion.

Source: Cormack, Clarke, Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual
rank learning methods" (SIGIR 2009); the constant 60 is theirs.
"""

from collections.abc import Mapping, Sequence
from typing import Final

RANK_CONSTANT: Final = 60

WEIGHTS: Final[Mapping[str, float]] = {"words": 1.0, "dense": 1.0, "newest": 0.15}
"""Newer memories come first among those that fit equally well, and not before better ones."""


def fused(lists: Mapping[str, Sequence[int]], limit: int) -> list[tuple[int, float, list[str]]]:
    """Ids with their score and where each list has them (`words:1`), best first.

    lists: ids by the name of the way that found them, best first.  Equal scores: the smaller id.
    """
    scores: dict[int, float] = {}
    found_by: dict[int, list[str]] = {}
    for name, ids in lists.items():
        for rank, id in enumerate(ids, start=1):
            scores[id] = scores.get(id, 0.0) + WEIGHTS[name] / (RANK_CONSTANT + rank)
            found_by.setdefault(id, []).append(f"{name}:{rank}")
    best = sorted(scores, key=lambda id: (-scores[id], id))[:limit]
    return [(id, scores[id], found_by[id]) for id in best]
