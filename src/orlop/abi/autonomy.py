"""How much an agent may do by itself with a tool, and how it comes to more or to less."""

from typing import Literal, get_args

from msgspec import Struct

from orlop.abi.ids import Nanoseconds, TenantId

Level = Literal["observe", "suggest", "approve", "sample", "autonomous"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the least to the most."""

Cause = Literal["start", "evidence", "drift", "incident", "version", "ceiling", "person", "arrival"]
"""`arrival`: a kernel that was lost trusted it less, and its processes live here now."""


class AutonomyMoved(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="autonomy.moved", omit_defaults=True
):
    """A level has changed, or its evidence begins anew; why, and on which numbers."""

    agent: str
    tool: str
    task: str = ""
    was: Level | None
    level: Level
    cause: Cause
    reason: str
    person: str = ""
    agreed: int = 0
    """Of the `judged` calls at the old level, those that people agreed with."""
    judged: int = 0
    bound: float = 0.0
    """The lower confidence bound of the share that they agree with."""
    known: tuple[str, ...] = ()
    """Versions (`model:…`, `prompt:…`, `tool:…`, `program:…`) that the new evidence is about."""


class AutonomyKey(Struct, frozen=True, kw_only=True):
    """What a level is for."""

    tenant: TenantId
    agent: str
    tool: str
    task: str = ""


class Move(Struct, frozen=True, kw_only=True):
    at_ns: Nanoseconds
    move: AutonomyMoved


class AutonomyRow(Struct, frozen=True, kw_only=True):
    """A row of the table."""

    key: AutonomyKey
    level: Level
    since_ns: Nanoseconds
    agreed: int = 0
    """Since it has this level; `judged` likewise."""
    judged: int = 0
    window: tuple[bool, ...] = ()
    """The newest of those judgements, oldest first."""
    known: tuple[str, ...] = ()
    decisions: int = 0
    """Of people, ever; `overrides`: those in which they wanted something else."""
    overrides: int = 0
    incidents: int = 0
    passed: int = 0
    """Calls that went through unseen, ever."""
    moves: tuple[Move, ...] = ()
    """The newest, oldest first."""


class AutonomyCarried(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="autonomy.carried", omit_defaults=True
):
    """A level of a lost kernel goes on here, with the evidence that it was earned by there."""

    row: AutonomyRow
    seen: tuple[str, ...] = ()
    """Models and prompts that the agent has used there."""


class AutonomyView(Struct, frozen=True, kw_only=True):
    """One row in `orlop autonomy`."""

    row: AutonomyRow
    rule: str
    """The table of orlop.toml that it follows; empty: none any more."""
    ceiling: Level
    bound: float
    """The lower confidence bound as of now; `wanted` for the next level at the next look."""
    wanted: float
    look_at: int
    """Judgements at which it is looked at next."""
    why: str
    """What a call would meet now, and what moves it up."""


class LevelOrder(Struct, frozen=True, kw_only=True):
    """`orlop autonomy set`."""

    agent: str
    tool: str
    task: str = ""
    level: Level
    reason: str = ""
    person: str = ""
    minutes: float = 0.0


class IncidentOrder(Struct, frozen=True, kw_only=True):
    """`orlop autonomy incident`: something went wrong; back to where the rule starts."""

    agent: str
    tool: str
    task: str = ""
    reason: str
    person: str = ""
    minutes: float = 0.0
