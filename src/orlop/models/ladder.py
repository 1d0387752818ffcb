"""What is tried when a call can't be served in time: a shorter answer, a smaller model, or later.

A ladder is a name that clients use as a model's.  Its rungs are models, the best first.  Each is
asked for what the caller wants, then for less (`shrink`); then comes the next (`down`); and what
none of them can do by its deadline may be done after it (`defer`), by the best.  A reply that did
not come from the first rung says so (`facts.rung`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, Struct

from orlop.abi.errors import Misconfigured
from orlop.abi.hints import Step
from orlop.machine.ranges import Chances, Limit

STEPS: Final[tuple[Step, ...]] = ("shrink", "down", "defer")


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderConfig:
    """One `[models.ladders.NAME]` table of orlop.toml."""

    rungs: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Models, the best first."""
    steps: tuple[Step, ...] = ("shrink", "down")
    """What may be tried for callers who say nothing: shrink, down, defer."""
    shrink_min: Chances = 0.25
    """An answer is made no shorter than this part of what was expected."""
    defer_s: Limit = 300.0
    """How long after its deadline a call that is put off may take, in the class `batch`."""


class Rung(Struct, frozen=True):
    """One attempt."""

    model: str
    shrink_min: float = 1.0
    """The part of the expected answer that will do; 1: all of it."""
    defer_s: float = 0.0
    """> 0: it need not be done by its deadline, but so long after it."""
    is_first: bool = True

    def named(self, why: str) -> str:
        """For the reply.  why: what the first rung said; empty where this is it."""
        if self.is_first:
            return ""
        step = "deferred" if self.defer_s else f"down to {self.model}"
        return f"{step}: {why}" if why else step


def check(ladders: Mapping[str, LadderConfig], taken: Sequence[str]) -> None:
    """Raises `Misconfigured`.  taken: names that mean something else already."""
    for name, ladder in ladders.items():
        where = f"models.ladders.{name}"
        if name in taken:
            raise Misconfigured(f"{where}: {name!r} is an alias or a card as well")
        if inner := [rung for rung in ladder.rungs if rung in ladders]:
            raise Misconfigured(f"{where}: rungs: {inner[0]!r} is a ladder itself")


def climb(ladder: LadderConfig, wanted: Sequence[Step] | None) -> list[Rung]:
    """What to try, in order.  wanted: by the caller, of what the ladder has; None: all of it."""
    steps = ladder.steps if wanted is None else tuple(s for s in STEPS if s in wanted)
    models = ladder.rungs if "down" in steps else ladder.rungs[:1]
    least = ladder.shrink_min if "shrink" in steps else 1.0
    rungs = [Rung(model, least, is_first=not index) for index, model in enumerate(models)]
    if "defer" in steps:
        rungs.append(Rung(models[0], defer_s=ladder.defer_s, is_first=False))
    return rungs
