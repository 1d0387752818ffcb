"""Measured step times to a calibration: least squares, without a library.

Errors count relative to the value, since a step of 2 ms matters as much as one of 200.
"""

from collections.abc import Callable, Sequence
from typing import Final

from orlop.devices.calibration import Calibration, DecodeFit, PrefillFit, Row

DIGITS: Final = 4
TERMS: Final = 3


def decode_terms(batch: float, context: float) -> tuple[float, float, float]:
    """Of a decode step; context is that of each call."""
    return 1.0, batch, batch * context


def prefill_terms(new: float, prefix: float) -> tuple[float, float, float]:
    return 1.0, new, new * (prefix + new / 2)


def calibration(decode_ms: Sequence[Row], prefill_ms: Sequence[Row]) -> Calibration:
    """Rows as `devices.calibration` has them, at least three of each."""
    decode, decode_error = fit(decode_ms, decode_terms)
    prefill, prefill_error = fit(prefill_ms, prefill_terms)
    return Calibration(
        decode_ms=tuple(decode_ms),
        prefill_ms=tuple(prefill_ms),
        fit_decode_ms=DecodeFit(*decode, round(decode_error, DIGITS)),
        fit_prefill_ms=PrefillFit(*prefill, round(prefill_error, DIGITS)),
    )


def fit(
    rows: Sequence[Row], terms: Callable[[float, float], Sequence[float]]
) -> tuple[tuple[float, float, float], float]:
    """Coefficients >= 0 that explain `ms`, and their mean relative error.

    A coefficient that would be negative is left out: no engine gets faster with more work.
    """
    kept = list(range(TERMS))
    while True:
        found = _solve(rows, terms, kept)
        negative = [term for term, value in zip(kept, found, strict=True) if value < 0]
        if not negative or len(kept) == 1:
            break
        kept.remove(negative[-1])
    values = [0.0] * TERMS
    for term, value in zip(kept, found, strict=True):
        values[term] = max(0.0, value)
    errors = [
        abs(sum(v * t for v, t in zip(values, terms(a, b), strict=True)) - ms) / ms
        for a, b, ms in rows
    ]
    return (values[0], values[1], values[2]), sum(errors) / len(errors)


def _solve(
    rows: Sequence[Row], terms: Callable[[float, float], Sequence[float]], kept: Sequence[int]
) -> list[float]:
    """Normal equations by elimination; a column that says nothing gets zero."""
    size = len(kept)
    matrix = [[0.0] * (size + 1) for _ in range(size)]
    scale = [max(abs(terms(a, b)[term]) for a, b, _ in rows) or 1.0 for term in kept]
    for a, b, ms in rows:
        line = [terms(a, b)[term] / scale[at] / ms for at, term in enumerate(kept)]
        for i in range(size):
            for j in range(size):
                matrix[i][j] += line[i] * line[j]
            matrix[i][size] += line[i]
    for i in range(size):
        pivot = max(range(i, size), key=lambda row: abs(matrix[row][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        if abs(matrix[i][i]) < 1e-12:
            continue
        for row in range(size):
            if row != i:
                factor = matrix[row][i] / matrix[i][i]
                matrix[row] = [x - factor * y for x, y in zip(matrix[row], matrix[i], strict=True)]
    return [
        matrix[i][size] / matrix[i][i] / scale[i] if abs(matrix[i][i]) >= 1e-12 else 0.0
        for i in range(size)
    ]
