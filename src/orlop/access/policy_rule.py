"""One rule as it was read: what its head asks for, and what of a call it looks at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orlop.access.policy_text import Statement


@dataclass(frozen=True, slots=True)
class Scope:
    """What one part of a rule's head asks for.  An empty `op`: anything."""

    op: str = ""
    uids: frozenset[tuple[str, str]] = frozenset()
    type: str = ""

    def can_match(self, uid: tuple[str, str], above: frozenset[tuple[str, str]]) -> bool:
        """above: the thing itself and all that it is in."""
        if self.type and uid[0] != self.type:
            return False
        if self.op == "==":
            return uid in self.uids
        return self.op != "in" or not self.uids.isdisjoint(above)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as it was read.  `looks_at`: paths in the context, as in `calls.agent.hour`."""

    id: str
    statement: Statement
    effect: str
    annotations: Mapping[str, str]
    tree: Mapping[str, object]
    principal: Scope
    action: Scope
    resource: Scope
    looks_at: frozenset[str]
    mentions: frozenset[tuple[str, str]]
    """Entities that it names anywhere."""

    @property
    def asks(self) -> bool:
        return "ask" in self.annotations

    @property
    def told(self) -> str:
        """What the refused, or the asked, are told."""
        said = self.annotations.get("ask", "") or self.annotations.get("reason", "")
        return said or self.annotations.get("note", "")


def scope(part: Mapping[str, object]) -> Scope:
    op = str(part.get("op", "All"))
    if op == "All":
        return Scope()
    kind = str(part.get("entity_type", ""))
    inner = part.get("in")
    if op == "is":
        where = _uids(inner) if isinstance(inner, dict) else frozenset()
        return Scope("in" if where else "", where, kind)
    return Scope(op, _uids(part))


def _uids(part: Mapping[str, object]) -> frozenset[tuple[str, str]]:
    listed = part.get("entities")
    found = listed if isinstance(listed, list) else [part.get("entity")]
    return frozenset((str(uid["type"]), str(uid["id"])) for uid in found if isinstance(uid, dict))


def path_of(node: object) -> str | None:
    """`context.calls.agent` as `calls.agent`; empty: the context itself; None: something else."""
    if not isinstance(node, dict):
        return None
    if node.get("Var") == "context":
        return ""
    access = node.get(".") or node.get("has")
    if not isinstance(access, dict):
        return None
    above, name = path_of(access.get("left")), access.get("attr")
    if above is None or not isinstance(name, str):
        return None
    return f"{above}.{name}" if above else name


def looks_at(node: object) -> Iterator[str]:
    """The longest paths in the context that an expression names."""
    if isinstance(node, dict):
        if (path := path_of(node)) is not None:
            yield path
            return
        for inner in node.values():
            yield from looks_at(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from looks_at(inner)


def mentions(node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        kind, id = node.get("type"), node.get("id")
        if isinstance(kind, str) and isinstance(id, str):
            yield kind, id
        for inner in node.values():
            yield from mentions(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from mentions(inner)
