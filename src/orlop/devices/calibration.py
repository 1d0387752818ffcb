"""Measured step times as a file: what `orlop calibrate` writes, and tables of known GPUs.

The file is a JSON object; each entry is named "gpu|model|tpN" (or however its writer calls the
engine) and has `decode_ms`, rows of [batch, context tokens of each call, ms], and `prefill_ms`,
rows of [new tokens, tokens before them, ms].  `fit_decode_ms` and `fit_prefill_ms` are linear fits
(`devices.speed.Linear`) with their mean error `mape`; where it is above `MAPE_MAX` (mixtures of
experts) the rows themselves are interpolated.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import msgspec

from orlop.abi.errors import Misconfigured
from orlop.devices.speed import Linear, Speed

MAPE_MAX: Final = 0.10
"""Mean error of a linear fit above which the table is interpolated."""

Row = tuple[float, float, float]


class DecodeFit(msgspec.Struct, frozen=True):
    """ms = a + b_per_seq * batch + c_per_kv_token * context tokens together."""

    a: float
    b_per_seq: float
    c_per_kv_token: float
    mape: float = 0.0


class PrefillFit(msgspec.Struct, frozen=True):
    """ms = a + b_per_tok * new + c_per_tok_ctx * new * (prefix + new / 2)."""

    a: float
    b_per_tok: float
    c_per_tok_ctx: float
    mape: float = 0.0


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's measurements."""

    decode_ms: tuple[Row, ...]
    prefill_ms: tuple[Row, ...]
    fit_decode_ms: DecodeFit | None = None
    fit_prefill_ms: PrefillFit | None = None

    def speed(self) -> Speed:
        """The fit where it is good, else the table."""
        decode, prefill = self.fit_decode_ms, self.fit_prefill_ms
        if decode is None or prefill is None or max(decode.mape, prefill.mape) > MAPE_MAX:
            return Table(grid(self.decode_ms), grid(self.prefill_ms))
        return Linear(
            decode_a_s=decode.a / 1e3,
            decode_b_s=decode.b_per_seq / 1e3,
            decode_c_s=decode.c_per_kv_token / 1e3,
            prefill_a_s=prefill.a / 1e3,
            prefill_b_s=prefill.b_per_tok / 1e3,
            prefill_c_s=prefill.c_per_tok_ctx / 1e3,
        )


@dataclass(frozen=True, slots=True)
class Grid:
    """`ms[i][j]` at (`first[i]`, `second[j]`), both rising."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    ms: tuple[tuple[float, ...], ...]

    def at(self, first: float, second: float) -> float:
        """Bilinear; beyond the edges the nearest cell's slope goes on."""
        row, across = _place(self.first, first)
        column, down = _place(self.second, second)
        upper, lower = self.ms[row], self.ms[min(row + 1, len(self.ms) - 1)]
        right = min(column + 1, len(self.second) - 1)
        above = upper[column] + (upper[right] - upper[column]) * down
        below = lower[column] + (lower[right] - lower[column]) * down
        return above + (below - above) * across


@dataclass(frozen=True, slots=True)
class Table:
    """A `Speed` read from tables: no step is faster than the smallest one measured."""

    decode: Grid
    prefill: Grid

    def decode_s(self, batch: int, context_tokens: int) -> float:
        ms = self.decode.at(batch, context_tokens / max(1, batch))
        return max(ms, self.decode.ms[0][0]) / 1e3

    def prefill_s(self, new: int, prefix: int) -> float:
        if new <= 0:
            return 0.0
        return max(self.prefill.at(new, prefix), self.prefill.ms[0][0]) / 1e3


def grid(rows: Sequence[Row]) -> Grid:
    """Rows as a full grid.  Raises `ValueError` where points are missing."""
    first = tuple(sorted({row[0] for row in rows}))
    second = tuple(sorted({row[1] for row in rows}))
    known = {(row[0], row[1]): row[2] for row in rows}
    if not rows or len(known) != len(first) * len(second):
        raise ValueError(f"{len(known)} points where a full grid has {len(first) * len(second)}")
    return Grid(first, second, tuple(tuple(known[a, b] for b in second) for a in first))


def read(path: Path) -> Mapping[str, Calibration]:
    """All entries of a file.  Raises `Misconfigured`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Calibration])
    except OSError as error:
        raise Misconfigured(f"{path}: can't be read: {error}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Misconfigured(f"{path}: is no calibration file: {error}") from error


def speed_of(path: Path, name: str) -> Speed:
    """The entry called `name`; empty: the only one.  Raises `Misconfigured` with the nearest."""
    entries = read(path)
    if not name and len(entries) == 1:
        name = next(iter(entries))
    if name not in entries:
        close = get_close_matches(name, entries, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(entries)}"
        raise Misconfigured(f"{path}: no calibration {name!r}; {hint}")
    try:
        return entries[name].speed()
    except ValueError as error:
        raise Misconfigured(f"{path}: {name}: {error}") from error


def _place(values: Sequence[float], value: float) -> tuple[int, float]:
    """The cell that `value` is in, and how far along it (below 0 or above 1 outside)."""
    if len(values) == 1:
        return 0, 0.0
    cell = min(max(bisect_right(values, value) - 1, 0), len(values) - 2)
    return cell, (value - values[cell]) / (values[cell + 1] - values[cell])
