"""Numbers that rules only hold against constants: what matters is between which of them they lie.

A rule like `context.calls.agent.hour >= 100` says the same for 3 and for 4.  So an answer is kept
for all values between two constants, and a count that grows with each call asks Cedar again only
when it reaches one of them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from orlop.access.policy_rule import Rule, path_of

Levels: TypeAlias = Mapping[str, Sequence[int]]
"""By path: where an answer may change, in order; the value there belongs to what is above."""

_EDGES: Final[Mapping[str, tuple[int, ...]]] = {
    ">=": (0,),
    "<": (0,),
    ">": (1,),
    "<=": (1,),
    "==": (0, 1),
    "!=": (0, 1),
}
"""Of a comparison with a constant on its right: where its truth changes, counted from there."""

_MIRRORED: Final = {">=": "<=", "<=": ">=", ">": "<", "<": ">", "==": "==", "!=": "!="}


def levels_of(rules: Iterable[Rule]) -> Levels:
    """Of the paths that these rules use in no other way; what is used whole has no levels."""
    edges: dict[str, set[int]] = {}
    used = set[str]()
    for rule in rules:
        for path, found in _uses(rule.tree["conditions"]):
            if found is None:
                used.add(path)
            else:
                edges.setdefault(path, set()).update(found)
    return {
        path: sorted(found)
        for path, found in edges.items()
        if not any(_is_within(path, other) or _is_within(other, path) for other in used)
    }


def level(levels: Levels, path: str, value: object) -> object:
    """What stands for the value in the name of an answer."""
    edges = levels.get(path)
    if edges is None or not isinstance(value, int) or isinstance(value, bool):
        return value
    return bisect_right(edges, value)


def _uses(node: object) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Paths in the context that an expression names, each with the edges of its comparison; None:
    it is used otherwise."""
    if isinstance(node, dict):
        if (path := path_of(node)) is not None:
            yield path, None
            return
        for name, inner in node.items():
            compared = _compared(name, inner)
            if compared is not None:
                yield compared
            else:
                yield from _uses(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _uses(inner)


def _compared(name: str, sides: object) -> tuple[str, tuple[int, ...]] | None:
    if name not in _EDGES or not isinstance(sides, dict):
        return None
    left, right = sides.get("left"), sides.get("right")
    path, constant = path_of(left), _constant(right)
    if not path:
        name, path, constant = _MIRRORED[name], path_of(right), _constant(left)
    if not path or constant is None:
        return None
    return path, tuple(constant + step for step in _EDGES[name])


def _constant(node: object) -> int | None:
    if not isinstance(node, dict) or set(node) != {"Value"}:
        return None
    value = node["Value"]
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_within(path: str, other: str) -> bool:
    return other in ("", path) or path.startswith(f"{other}.")
