"""JSON schemas of tools, checked at a cost that is known beforehand.

Schemas come from whoever wrote the tool, MCP servers among them, and are checked in the kernel's
own loop: so nothing is fetched, patterns take linear time, and a schema whose check could take long
is refused, as are values that would make it so.
"""

from collections.abc import Mapping
from typing import Final

import jsonschema_rs

from orlop.abi.errors import BadCall
from orlop.abi.limits import SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SCHEMA_STEPS_MAX

SAID_CHARS_MAX: Final = 300
"""Of what is wrong with a value: it may hold the value itself."""

DATA: Final = frozenset({"const", "default", "enum", "examples", "description", "title"})
"""Keywords whose values are no schemas."""

MOVING: Final = frozenset({"$dynamicRef", "$recursiveRef"})
"""References whose target is known only while a value is checked."""


class Schema:
    """One schema, compiled.  Raises `BadCall` for one that is wrong, or could take too long."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        self.text = dict(schema)
        self._weight = _Weight(self.text)
        try:
            self._validator = jsonschema_rs.validator_for(
                self.text, pattern_options=jsonschema_rs.RegexOptions(), offline=True
            )
        except (jsonschema_rs.ValidationError, ValueError) as error:
            said = str(error).partition("\n")[0][:SAID_CHARS_MAX]
            raise BadCall(f"the schema is no valid JSON schema: {said}") from error

    def wrong(self, value: object) -> str:
        """What is wrong with `value` and where; empty: nothing."""
        nodes, depth = measure(value)
        steps = nodes * self._weight.nodes * max(1, self._weight.returns) ** depth
        if steps > SCHEMA_STEPS_MAX:
            return (
                f"{nodes} values, {depth} deep, would take more than {SCHEMA_STEPS_MAX} steps "
                "to check against its schema (SCHEMA_STEPS_MAX)"
            )
        try:
            error = next(self._validator.iter_errors(value), None)
        except ValueError as refused:  # Deeper than the library goes.
            return str(refused)[:SAID_CHARS_MAX]
        if error is None:
            return ""
        where = "".join(f"/{part}" for part in error.instance_path)
        said = error.message[:SAID_CHARS_MAX]
        return f"{where}: {said}" if where else said


class _Weight:
    """nodes: of the schema with all references written out.  returns: references back to a schema
    that they are inside of; at each of them a value's own children are checked anew."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        self._root = schema
        self.nodes = 0
        self.returns = 0
        self._walk(schema, 0, ())

    def _walk(self, node: object, depth: int, inside: tuple[int, ...]) -> None:
        if not isinstance(node, dict | list):
            return
        self.nodes += 1
        if self.nodes > SCHEMA_NODES_MAX or depth > SCHEMA_DEPTH_MAX:
            raise BadCall(
                f"the schema has more than {SCHEMA_NODES_MAX} parts (SCHEMA_NODES_MAX) or is more "
                f"than {SCHEMA_DEPTH_MAX} deep (SCHEMA_DEPTH_MAX), its references written out"
            )
        if isinstance(node, list):
            for child in node:
                self._walk(child, depth + 1, inside)
            return
        if moving := MOVING & node.keys():
            raise BadCall(f"the schema uses {', '.join(sorted(moving))}, which is not supported")
        inside = (*inside, id(node))
        if isinstance(reference := node.get("$ref"), str):
            target = self._find(reference)
            if id(target) in inside:
                self.returns += 1
            else:
                self._walk(target, depth + 1, inside)
        for key, child in node.items():
            # Definitions count where something refers to them.
            if key not in DATA and key not in ("$defs", "definitions"):
                self._walk(child, depth + 1, inside)

    def _find(self, reference: str) -> object:
        """What a reference within the schema names.  Raises `BadCall` for any other."""
        found: object = self._root
        if reference != "#" and not reference.startswith("#/"):
            raise BadCall(f"the schema refers to {reference[:SAID_CHARS_MAX]!r}, outside of itself")
        for part in reference.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise BadCall(f"the schema refers to {reference[:SAID_CHARS_MAX]!r}: nothing there")
        return found


def measure(value: object) -> tuple[int, int]:
    """How many values a JSON value holds, itself among them, and how deep."""
    nodes, depth = 0, 0
    level = [value]
    while level:
        nodes += len(level)
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return nodes, depth - 1
