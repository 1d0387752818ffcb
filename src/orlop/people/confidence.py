"""How sure a share is that was seen on few cases: an exact bound, also under repeated looks."""

import math
from typing import Final

STEPS: Final = 60
"""Halvings of the interval: far below what a double can tell apart."""


def lower_bound(agreed: int, judged: int, confidence: float) -> float:
    """The share that the true one is at least, with probability `confidence`, one-sided.

    The share p at which `agreed` or more of `judged` independent cases have probability
    1 - `confidence`.  Source: Clopper & Pearson, Biometrika 26 (1934).
    """
    if agreed <= 0 or judged <= 0:
        return 0.0
    low, high = 0.0, agreed / judged
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _at_least(agreed, judged, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _at_least(agreed: int, judged: int, share: float) -> float:
    """The probability of `agreed` or more of `judged` cases, each with probability `share`."""
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    yes, no = math.log(share), math.log1p(-share)
    whole = math.lgamma(judged + 1)
    terms = (
        whole - math.lgamma(k + 1) - math.lgamma(judged - k + 1) + k * yes + (judged - k) * no
        for k in range(agreed, judged + 1)
    )
    return math.fsum(math.exp(term) for term in terms)


def look(judged: int, first: int) -> int | None:
    """Which look it is, from 0, where one is due after `judged` cases: at `first`, and at each
    doubling of it; else None."""
    if judged < first or judged % first:
        return None
    times = judged // first
    return times.bit_length() - 1 if times & (times - 1) == 0 else None


def next_look(judged: int, first: int) -> int:
    """The number of cases at which the next look is due."""
    due = first
    while due <= judged:
        due *= 2
    return due


def confidence_at(number: int, confidence: float) -> float:
    """Of look `number`: the doubts of all looks together stay within 1 - `confidence`."""
    return 1 - (1 - confidence) / float(2 ** (number + 1))
