"""Which tools exist."""

from collections.abc import Iterable

from orlop.abi.cards import ToolCard
from orlop.abi.errors import NotFound
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.devices.device import Tool


class Catalog:
    """Tools by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.card.name: tool for tool in tools}

    def cards(self) -> tuple[ToolCard, ...]:
        return tuple(tool.card for tool in self._tools.values())

    def find(self, name: str) -> Tool:
        """Raises `NotFound` with the names that there are."""
        if (tool := self._tools.get(name)) is None:
            names = ", ".join(sorted(self._tools)) or "none; name some in orlop.toml"
            raise NotFound(f"no tool {name[:NAME_CHARS_MAX]!r} here; there is: {names}")
        return tool
