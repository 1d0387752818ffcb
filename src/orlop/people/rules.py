"""Progressive autonomy: what an agent may do with a tool, and what moves it up and down.  Pure.

From the least to the most: *observe* (the tool is not called), *suggest* (a person does it),
*approve* (a person agrees to each call), *sample* (to a share of them), *autonomous*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from orlop.abi.autonomy import LEVELS, AutonomyMoved, AutonomyRow, Cause, Level
from orlop.abi.errors import Misconfigured
from orlop.machine.ranges import Chances, Limit, Many
from orlop.people.chains import fits
from orlop.people.confidence import confidence_at, look, lower_bound

DRIFT_MIN: Final = 5
"""Judgements before a falling share is called drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutonomyConfig:
    """One `[autonomy.NAME]` table of orlop.toml: how far some agents may go with some tools."""

    tools: tuple[str, ...]
    """Its tools, with `*` for any characters.  The first table that fits a call counts."""
    agents: tuple[str, ...] = ()
    """Names of processes, likewise; empty: all."""
    start: Level = "approve"
    """Where an agent begins; a new model, prompt or tool, or an incident, takes it back there."""
    ceiling: Level = "sample"
    """As far as evidence alone may take it."""
    sample: Chances = 0.1
    """At level `sample`, the share of calls that a person must agree to."""
    promote_at: Chances = 0.9
    """The next level is reached once people surely agree with more than this share of its calls."""
    confidence: Annotated[float, Meta(ge=0.5, le=0.9999)] = 0.95
    """How sure that must be, over all looks at the evidence together."""
    evidence_min: Many = 40
    """Judgements before the first look; later looks are at twice as many, again and again."""
    window: Annotated[int, Meta(ge=1, le=500)] = 20
    """The newest judgements in which drift is looked for."""
    demote_at: Chances = 0.8
    """Below this share of agreement in the window, it goes one level down."""
    judge_s: Limit = 604_800.0
    """How long people may judge what was only observed."""


def check(rules: Mapping[str, AutonomyConfig]) -> None:
    """Raises `Misconfigured`."""
    for name, rule in rules.items():
        where = f"[autonomy.{name}]"
        if not rule.tools:
            raise Misconfigured(f"{where}: `tools` names none")
        if LEVELS.index(rule.ceiling) < LEVELS.index(rule.start):
            raise Misconfigured(f"{where}: ceiling {rule.ceiling} is below start {rule.start}")
        reachable = lower_bound(rule.evidence_min, rule.evidence_min, rule.confidence)
        if rule.promote_at >= 1.0:
            raise Misconfigured(f"{where} promote_at: no evidence makes sure of 1; write less")
        if rule.ceiling != rule.start and reachable <= 0.0:
            raise Misconfigured(f"{where} evidence_min: too few to be sure of anything")


def rule_for(rules: Mapping[str, AutonomyConfig], tool: str, agent: str) -> str:
    """The first table that fits, by name; empty: none."""
    for name, rule in rules.items():
        if fits(rule.tools, tool) and fits(rule.agents, agent):
            return name
    return ""


def began(
    rule: AutonomyConfig, agent: str, tool: str, task: str, known: Sequence[str]
) -> AutonomyMoved:
    """The first call of an agent under a rule."""
    return AutonomyMoved(
        agent=agent,
        tool=tool,
        task=task,
        was=None,
        level=rule.start,
        cause="start",
        reason="its first call under this rule",
        known=tuple(known),
    )


def moved(
    row: AutonomyRow,
    level: Level,
    cause: Cause,
    reason: str,
    *,
    person: str = "",
    bound: float = 0.0,
    known: Sequence[str] = (),
) -> AutonomyMoved:
    """A move, with the numbers that it was made on."""
    key = row.key
    return AutonomyMoved(
        agent=key.agent,
        tool=key.tool,
        task=key.task,
        was=row.level,
        level=level,
        cause=cause,
        reason=reason,
        person=person,
        agreed=row.agreed,
        judged=row.judged,
        bound=bound,
        known=tuple(known),
    )


def news(row: AutonomyRow, rule: AutonomyConfig, versions: Sequence[str]) -> AutonomyMoved | None:
    """Back to the start where something is new that the evidence is not about."""
    new = [version for version in versions if version not in row.known]
    if not new:
        return None
    level = min(row.level, rule.start, key=LEVELS.index)
    return moved(row, level, "version", f"new: {', '.join(new)}", known=new)


def drift(row: AutonomyRow, rule: AutonomyConfig) -> AutonomyMoved | None:
    """One level down where people agree less than they did."""
    newest = row.window[-rule.window :]
    if len(newest) < min(DRIFT_MIN, rule.window) or LEVELS.index(row.level) == 0:
        return None
    share = sum(newest) / len(newest)
    if share >= rule.demote_at or LEVELS.index(row.level) <= LEVELS.index(rule.start):
        return None
    below = LEVELS[LEVELS.index(row.level) - 1]
    reason = f"people agreed with {sum(newest)} of the newest {len(newest)}: {share:.0%}"
    return moved(row, below, "drift", reason)


def promotion(row: AutonomyRow, rule: AutonomyConfig) -> AutonomyMoved | None:
    """One level up where a look is due and the evidence bears it."""
    number = look(row.judged, rule.evidence_min)
    if number is None or LEVELS.index(row.level) >= LEVELS.index(rule.ceiling):
        return None
    confidence = confidence_at(number, rule.confidence)
    bound = lower_bound(row.agreed, row.judged, confidence)
    if bound < rule.promote_at:
        return None
    above = LEVELS[LEVELS.index(row.level) + 1]
    reason = (
        f"people agreed with {row.agreed} of {row.judged}: surely more than {bound:.1%}, "
        f"at a confidence of {confidence:.2%}"
    )
    return moved(row, above, "evidence", reason, bound=bound)


def review(
    row: AutonomyRow, rule: AutonomyConfig, versions: Sequence[str] = ()
) -> AutonomyMoved | None:
    """What should happen to a level now, if anything: down goes before up."""
    if LEVELS.index(row.level) > LEVELS.index(rule.ceiling) and not _was_set(row):
        return moved(row, rule.ceiling, "ceiling", f"the rule's ceiling is {rule.ceiling}")
    return news(row, rule, versions) or drift(row, rule) or promotion(row, rule)


def _was_set(row: AutonomyRow) -> bool:
    """A person's word stands above the ceiling, which is for evidence."""
    return bool(row.moves) and row.moves[-1].move.cause == "person"
