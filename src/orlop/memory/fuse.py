"""One order out of several ways of searching: by meaning and by words, and by age where those leave
several about equal.

Not by ranks (reciprocal rank fusion): ranks throw away how much better one memory fits than the
next.  What a question shares with ten memories is often a name alone, and one of the ten must come
first in that list; what it shares with one memory alone may be the number that is asked for.  BM25
knows the difference: a rare word counts as many points, a common one hardly any.  So its points
count as they are, and not as a share of the best match; but for little, since one word more in
common misleads as often as it helps.
`bench/memory_quality.py` measures it; docs/decisions/0034, 0052 and 0069 have the figures.
"""

from collections.abc import Mapping, Sequence
from typing import Final

WORD_POINT: Final = 0.006
"""A cosine that is so much greater weighs as much as the first point of BM25."""

NUMBER_POINT: Final = 0.08
"""The same for words with digits, on top: they are never said in other words."""

POINTS_HALF: Final = 50.0
"""At so many points, all of them together count half: long questions share many words."""

AGE: Final = 0.12
"""What the newest memory gains; the oldest candidate gains next to nothing."""

WORDS_ALONE_AGE: Final = 0.1
"""The same where there are no vectors, as a share of the best match by words."""


def fused(
    lists: Mapping[str, Sequence[tuple[int, float]]],
    limit: int,
    beside: Sequence[tuple[int, float]] = (),
) -> list[tuple[int, float, list[str]]]:
    """Ids with their score and where each list has them (`words:1`), best first.

    lists: ids and scores by the name of the way that found them, best first: cosines (`dense`),
    points (`words`; `numbers`: for words with digits alone), ages from 1 down (`newest`).
    beside: cosines of what words alone have found; what has no vector counts as the farthest of
    those.  Equal scores: the smaller id.
    """
    dense, words = lists.get("dense", ()), lists.get("words", ())
    found_by: dict[int, list[str]] = {}
    for name, pairs in lists.items():
        for rank, (id, _) in enumerate(pairs, start=1):
            found_by.setdefault(id, []).append(f"{name}:{rank}")
    if dense:
        cosines = dict(beside) | dict(dense)
        scores = dict.fromkeys(found_by, min(cosines.values())) | cosines
        gains = {id: _worth(WORD_POINT, points) for id, points in words}
        for id, points in lists.get("numbers", ()):
            gains[id] = gains.get(id, 0.0) + _worth(NUMBER_POINT, points)
        age = AGE
    else:
        best = words[0][1] if words and words[0][1] > 0 else 1.0
        scores, gains = dict.fromkeys(found_by, 0.0), {id: points / best for id, points in words}
        age = WORDS_ALONE_AGE if words else 1.0
    for id, gain in gains.items():
        scores[id] += gain
    for id, share in lists.get("newest", ()):
        scores[id] += age * share
    chosen = sorted(scores, key=lambda id: (-scores[id], id))[:limit]
    return [(id, scores[id], found_by[id]) for id in chosen]


def _worth(point: float, points: float) -> float:
    return point * points / (1 + points / POINTS_HALF)
