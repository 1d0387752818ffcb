"""One order out of several ways of searching: by meaning, and by words and age where that leaves
several about equal.

Not by ranks (reciprocal rank fusion): ranks throw away how much better one memory fits than the
next.  What a question shares with ten memories is often a name alone, and one of the ten must come
first in that list; what it shares with one memory alone may be the number that is asked for.
`bench/memory_quality.py` measures both; docs/decisions/0034 has the figures.
"""

from collections.abc import Mapping, Sequence
from typing import Final

BESIDE: Final = 0.1
"""What the best match by words, and the newest memory, gain: as much as a cosine of so much."""


def fused(
    lists: Mapping[str, Sequence[tuple[int, float]]], limit: int
) -> list[tuple[int, float, list[str]]]:
    """Ids with their score and where each list has them (`words:1`), best first.

    lists: ids and scores by the name of the way that found them, best first.  Cosines and ages
    count as they are, words as a share of the best.  Equal scores: the smaller id.
    """
    chief = next((name for name in ("dense", "words", "newest") if lists.get(name)), "")
    scores: dict[int, float] = {}
    found_by: dict[int, list[str]] = {}
    for name, pairs in lists.items():
        weight = 1.0 if name == chief else BESIDE
        if name == "words" and pairs and pairs[0][1] > 0:
            weight /= pairs[0][1]
        for rank, (id, score) in enumerate(pairs, start=1):
            scores[id] = scores.get(id, 0.0) + weight * score
            found_by.setdefault(id, []).append(f"{name}:{rank}")
    chosen = sorted(scores, key=lambda id: (-scores[id], id))[:limit]
    return [(id, scores[id], found_by[id]) for id in chosen]
