"""Which tools exist, and what goes in and out of each."""

from collections.abc import Iterable
from dataclasses import dataclass

from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, NotFound
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.devices.device import Tool
from orlop.tools.schema import Schema


@dataclass(frozen=True, slots=True)
class Schemas:
    """Of one tool's arguments, and of what it says."""

    arguments: Schema
    results: Schema


class Catalog:
    """Tools by name.  Raises `BadCall` for one whose schemas are wrong."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        self._schemas: dict[str, Schemas] = {}
        for tool in tools:
            self.put(tool)

    def put(self, tool: Tool) -> None:
        """Add it, or put it in the place of the one that had its name."""
        card = tool.card
        schemas = Schemas(
            _compiled(card, "parameters", card.parameters), _compiled(card, "results", card.results)
        )
        # From here on nothing can fail.
        self._tools[card.name] = tool
        self._schemas[card.name] = schemas

    def drop(self, name: str) -> None:
        self._tools.pop(name, None)
        self._schemas.pop(name, None)

    def cards(self) -> tuple[ToolCard, ...]:
        return tuple(tool.card for tool in self._tools.values())

    def find(self, name: str) -> Tool:
        """Raises `NotFound` with the names that there are."""
        if (tool := self._tools.get(name)) is None:
            names = ", ".join(sorted(self._tools)) or "none; name some in orlop.toml"
            raise NotFound(f"no tool {name[:NAME_CHARS_MAX]!r} here; there is: {names}")
        return tool

    def schemas(self, name: str) -> Schemas:
        """Of a tool that `find` finds."""
        self.find(name)
        return self._schemas[name]


def _compiled(card: ToolCard, field: str, schema: dict[str, object]) -> Schema:
    try:
        return Schema(schema)
    except BadCall as error:
        raise BadCall(f"{field} of tool {card.name[:NAME_CHARS_MAX]}: {error.message}") from error
