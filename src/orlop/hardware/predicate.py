"""What a claim asks of a device, once it is read (`predicate_text`), and whether a device meets it.

The language is a subset of CEL, which Kubernetes selects devices with.  It is total: a predicate
can't fail on a device.  What nobody has told of a device is unknown: a condition on it is neither
met nor unmet, and so is its opposite (Kleene's logic); `has(name)` asks whether it is known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal, TypeAlias, TypeGuard

from orlop.abi.devices import Value

Facts: TypeAlias = Mapping[str, Value]
"""What is known of one device, by name."""

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in"]


@dataclass(frozen=True, slots=True)
class Name:
    """Something that is known of a device, or not."""

    path: str


@dataclass(frozen=True, slots=True)
class Condition:
    """`left operator right`; without an operator, `left` itself should be true."""

    left: Name | Value
    operator: Operator | None = None
    right: Name | Value = True


@dataclass(frozen=True, slots=True)
class Has:
    name: Name


@dataclass(frozen=True, slots=True)
class Not:
    inner: "Node"


@dataclass(frozen=True, slots=True)
class All:
    clauses: tuple["Clause", ...]


@dataclass(frozen=True, slots=True)
class Some:
    clauses: tuple["Clause", ...]


Node: TypeAlias = Condition | Has | Not | All | Some


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition, and the words that it was written in."""

    node: Node
    text: str


@dataclass(frozen=True, slots=True)
class Predicate:
    """A predicate as read.  `clauses`: what must all be met."""

    text: str
    clauses: tuple[Clause, ...]


def is_met(predicate: Predicate, facts: Facts) -> bool:
    return all(truth(clause.node, facts) is True for clause in predicate.clauses)


def truth(node: Node, facts: Facts) -> bool | None:
    """None: not known."""
    match node:
        case Condition():
            return _compare(_value(node.left, facts), node.operator, _value(node.right, facts))
        case Has():
            return node.name.path in facts
        case Not():
            inner = truth(node.inner, facts)
            return None if inner is None else not inner
        case All():
            return _fold([truth(clause.node, facts) for clause in node.clauses], False)
        case Some():
            return _fold([truth(clause.node, facts) for clause in node.clauses], True)


def names(node: Node) -> tuple[str, ...]:
    """What a condition asks for, each once, in order."""
    match node:
        case Condition():
            found = [side.path for side in (node.left, node.right) if isinstance(side, Name)]
        case Has():
            found = [node.name.path]
        case Not():
            found = list(names(node.inner))
        case All() | Some():
            found = [name for clause in node.clauses for name in names(clause.node)]
    return tuple(dict.fromkeys(found))


def shortfall(node: Node, facts: Facts) -> float:
    """How far a condition is from being met: 0 if it is, else up to 1; a near number is less."""
    if truth(node, facts) is True:
        return 0.0
    if isinstance(node, Condition):
        left, right = _value(node.left, facts), _value(node.right, facts)
        if _is_number(left) and _is_number(right):
            largest = max(abs(left), abs(right))
            return abs(left - right) / (2 * largest) if largest else 1.0
    return 1.0


def _fold(truths: list[bool | None], decisive: bool) -> bool | None:
    if decisive in truths:
        return decisive
    return None if None in truths else not decisive


def _value(side: Name | Value, facts: Facts) -> Value | None:
    return facts.get(side.path) if isinstance(side, Name) else side


def _compare(left: Value | None, operator: Operator | None, right: Value | None) -> bool | None:
    """None where a side is unknown, or where the two can't be compared."""
    if left is None or right is None:
        return None
    if operator is None:
        return left if isinstance(left, bool) else None
    if operator == "in":
        return left in right if isinstance(left, str) and isinstance(right, tuple) else None
    if isinstance(left, str) and isinstance(right, str):
        order = _as_versions(left, right) if operator not in ("==", "!=") else int(left != right)
    elif _is_number(left) and _is_number(right):
        order = (left > right) - (left < right)
    elif type(left) is type(right) and operator in ("==", "!="):
        order = int(left != right)
    else:
        return None
    return {
        "==": order == 0,
        "!=": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[operator]


def _is_number(value: Value | None) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_versions(left: str, right: str) -> int:
    """-1, 0 or 1: runs of digits compare as numbers, all else as text; a missing part is least."""
    pieces = zip_longest(_VERSION.findall(left), _VERSION.findall(right), fillvalue="")
    for one, other in pieces:
        if one != other:
            if one.isdigit() and other.isdigit():
                if int(one) == int(other):
                    continue
                return 1 if int(one) > int(other) else -1
            return 1 if one > other else -1
    return 0


_VERSION: Final = re.compile(r"[0-9]+|[A-Za-z]+")
