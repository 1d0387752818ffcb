"""Prometheus' text format, as far as a driver needs it: some names out of many, and their labels.

prometheus_client has a parser, which makes an object of each line; an engine's page has thousands
of lines and we want ten, once a second.  What can't be read is left out: a metric that an engine
garbles is one that it does not have.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from orlop.abi.limits import ENGINE_METRICS_LINES_MAX

_LINE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"\s*,?\s*')
_ESCAPES: Final = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line.  A value that can't be read is not a number."""

    labels: Mapping[str, str]
    value: float


class Samples:
    """What was found, by name."""

    def __init__(self, found: Mapping[str, list[Sample]]) -> None:
        self._found = found

    def of(self, name: str) -> list[Sample]:
        """A counter's name may have `_total` at its end or not."""
        return self._found.get(name) or self._found.get(f"{name}_total") or []

    def total(self, name: str, highest: float) -> float | None:
        """The sum over all labels; None where one can't be true."""
        return self._of_all(name, highest, sum)

    def mean(self, name: str, highest: float) -> float | None:
        return self._of_all(name, highest, lambda values: sum(values) / len(values))

    def _of_all(
        self, name: str, highest: float, together: Callable[[list[float]], float]
    ) -> float | None:
        values = [bounded(sample.value, highest) for sample in self.of(name)]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        return together(known)


def read(page: bytes, names: Iterable[str]) -> Samples:
    """The samples of `names` (as without `_total`); never raises."""
    wanted = {each for name in names for each in (name, f"{name}_total")}
    found: dict[str, list[Sample]] = {}
    lines = page.decode("utf-8", "replace").split("\n", ENGINE_METRICS_LINES_MAX)
    for line in lines[:ENGINE_METRICS_LINES_MAX]:
        # Most lines are of other names: look before taking apart.
        name = line.partition("{")[0].partition(" ")[0]
        if name in wanted and (sample := _read_line(line)) is not None:
            found.setdefault(name, []).append(sample)
    return Samples(found)


def bounded(value: object, highest: float) -> float | None:
    """What an engine says is a number from 0 to `highest`; None where that can't be true."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # In this order: an integer may be too large for a float.
    return float(value) if 0 <= value <= highest else None


def _read_line(line: str) -> Sample | None:
    taken = _LINE.fullmatch(line.rstrip("\r"))
    if taken is None:
        return None
    try:
        value = float(taken[3])
    except ValueError:
        value = math.nan
    labels = {key: _unescape(held) for key, held in _LABEL.findall(taken[2] or "")}
    return Sample(labels, value)


def _unescape(held: str) -> str:
    if "\\" not in held:
        return held
    return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), held)
