"""What `/metrics` is made of."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Sample: TypeAlias = tuple[str, tuple[str, ...], float]
"""A family's name, the values of its labels, the number."""


@dataclass(frozen=True, slots=True)
class Family:
    """One name in `/metrics`; a counter is shown with `_total` at its end."""

    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()
