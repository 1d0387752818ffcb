"""What an agent will do, from its seed alone: so each incarnation follows the same path.

A plan is groups of steps; the steps of a group are made at once.  A step's name is in what it asks
for, so that engines and tools tell which step they served.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from simulation.conditions import Conditions
from simulation.tools import EFFECTS

Kind = Literal["infer", "stream", "embed", "tool", "twice", "sleep", "spawn", "outcome", "nothing"]

KINDS: tuple[Kind, ...] = (
    "infer", "infer", "stream", "stream", "embed", "tool", "tool", "tool", "twice", "sleep",
    "spawn", "outcome", "nothing",
)  # fmt: skip


OFFICIAL_KINDS: tuple[Kind, ...] = ("infer", "stream", "embed", "nothing")
"""What a program can ask through a dialect's own client, which gives its calls no names."""


@dataclass(frozen=True, slots=True)
class Step:
    """`name` is unique in the town; `what`: a tool, or a child's command."""

    name: str
    kind: Kind
    what: str = ""
    seconds: float = 0.0
    choices: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    groups: tuple[tuple[Step, ...], ...]
    is_official: bool
    """It uses a dialect's own client."""
    model: str
    think_s: float
    seed: int


def plan(command: tuple[str, ...], conditions: Conditions) -> Plan:
    """`command`: `agent NAME SEED DEPTH`."""
    _, name, seed, depth = command
    chance = random.Random(f"plan {seed}")
    is_official = chance.random() < 0.3
    kinds = OFFICIAL_KINDS if is_official else KINDS
    groups = []
    for at in range(chance.randint(1, 2 * conditions.steps)):
        width = chance.randint(1, conditions.at_once)
        groups.append(
            tuple(
                _step(f"{name}.{at}.{place}", chance, kinds, int(depth)) for place in range(width)
            )
        )
    return Plan(
        tuple(groups), is_official, chance.choice(["tiny", "small"]), conditions.think_s, int(seed)
    )


def _step(name: str, chance: random.Random, kinds: Sequence[Kind], depth: int) -> Step:
    kind = chance.choice(kinds)
    what = ""
    if kind in ("tool", "twice"):
        what = chance.choice(EFFECTS) if kind == "tool" else "idempotent"
    if kind == "spawn":
        if depth > 1:
            kind = "nothing"
        what = f"{chance.randrange(1 << 30)} {depth + 1}"
    seconds = chance.choice([0.0, 0.01, 0.5, 5.0, 100.0])
    return Step(name, kind, what, seconds, chance.choice([1, 1, 1, 3]))
