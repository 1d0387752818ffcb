"""Which devices a claim may have, and if none: what is missing, and which one comes nearest."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from orlop.abi.devices import ATTRIBUTES, DeviceCard, Value
from orlop.abi.errors import NoSuchDevice
from orlop.hardware.predicate import Clause, Facts, Predicate, is_met, names, shortfall, truth
from orlop.hardware.predicate_text import read

Checkpoint: TypeAlias = Callable[[str, float], Awaitable[None]]
"""Saves what the holder of a claim has: given the reason, and the seconds that there are."""

NEAREST_SHOWN: Final = 3
"""Devices that an error tells of."""


def meeting(where: Sequence[str], cards: Sequence[DeviceCard]) -> list[DeviceCard]:
    """The devices that meet all of some predicates, whatever their health.

    Raises `BadCall` for one that can't be read, `NoSuchDevice` where no device meets all.
    """
    predicate = together(where)
    found = [card for card in cards if is_met(predicate, card.facts())]
    if not found:
        raise NoSuchDevice(mismatch(predicate, {card.name: card.facts() for card in cards}))
    return found


def together(where: Sequence[str]) -> Predicate:
    """Several predicates as one.  Each is read by itself, so that none can change another."""
    asked = [one for one in where if one.strip()]
    clauses = tuple(clause for one in asked for clause in read(one).clauses)
    told = [f"({one})" if "||" in one and len(asked) > 1 else one for one in asked]
    return Predicate(" && ".join(told), clauses)


def meets(where: str, card: DeviceCard) -> bool:
    """Raises `BadCall`."""
    return is_met(read(where), card.facts())


def mismatch(predicate: Predicate, facts: Mapping[str, Facts]) -> str:
    """Which clauses fail on which devices, the nearest first."""
    if not facts:
        return f"no device meets the claim {predicate.text!r}: there are no devices"
    unmet = {
        name: [clause for clause in predicate.clauses if truth(clause.node, known) is not True]
        for name, known in facts.items()
    }

    def distance(name: str) -> tuple[int, float, str]:
        gaps = [shortfall(clause.node, facts[name]) for clause in unmet[name]]
        return len(gaps), sum(gaps), name

    nearest = sorted(facts, key=distance)
    told = [
        f"{name}: {', '.join(_why(clause, facts[name]) for clause in unmet[name])}"
        for name in nearest[:NEAREST_SHOWN]
    ]
    others = len(nearest) - len(told)
    more = f"; and {others} more" if others else ""
    return (
        f"no device meets the claim {predicate.text!r}; nearest is {'; then '.join(told)}{more}"
        f"{_unheard(predicate, facts)}"
    )


def _why(clause: Clause, known: Facts) -> str:
    """`hbm_gb >= 80` fails (hbm_gb is 48.3)."""
    values = [
        f"{name} is {_shown(known[name])}" if name in known else f"{name} is not known"
        for name in names(clause.node)
    ]
    reason = f" ({', '.join(values)})" if values else ""
    return f"`{clause.text}` fails{reason}"


def _shown(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(value)}]"
        case _:
            return f"{value:g}" if abs(value) < 1e6 else str(value)


def _unheard(predicate: Predicate, facts: Mapping[str, Facts]) -> str:
    """Names that no device has and that mean nothing: most likely they are misspelt."""
    asked = {name for clause in predicate.clauses for name in names(clause.node)}
    known = {name for card in facts.values() for name in card}
    strange = sorted(name for name in asked - known if not _is_attribute(name))
    if not strange:
        return ""
    what = "no attribute" if len(strange) == 1 else "no attributes"
    return f"; {', '.join(strange)}: {what} of any device: `orlop devices show NAME` lists its own"


def _is_attribute(name: str) -> bool:
    return name in ATTRIBUTES or f"{name.partition('.')[0]}.PLACE" in ATTRIBUTES
