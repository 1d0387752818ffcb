"""Which tools exist, and what goes in and out of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, DeviceFailed, NotFound, ToolBarred
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.devices.device import Tool
from orlop.effects.found import Source
from orlop.tools import template
from orlop.tools.outside import is_marked
from orlop.tools.schema import Schema


@dataclass(frozen=True, slots=True)
class Schemas:
    """Of one tool's arguments, and of what it says."""

    arguments: Schema
    results: Schema
    is_held: bool = False
    """Some fields are held outside: `tools.outside`."""


@dataclass(frozen=True, slots=True)
class Barred:
    """A tool that must not be called, and why.  tool: what an operator may still agree to."""

    reason: str
    tool: Tool | None


class Catalog:
    """Tools by name; a name is either usable or barred.  sources: where others come from.

    Raises `BadCall` for a tool whose schemas are wrong.
    """

    def __init__(self, tools: Iterable[Tool], sources: Sequence[Source] = ()) -> None:
        self.sources = sources
        self._tools: dict[str, Tool] = {}
        self._schemas: dict[str, Schemas] = {}
        self._barred: dict[str, Barred] = {}
        for tool in tools:
            self.put(tool)

    def put(self, tool: Tool) -> None:
        """Add it, or put it in the place of the one that had its name."""
        card = tool.card
        schemas = self.check(tool)
        # From here on nothing can fail.
        self.drop(card.name)
        self._tools[card.name] = tool
        self._schemas[card.name] = schemas

    def check(self, tool: Tool) -> Schemas:
        """Raises `BadCall` for a schema that is wrong, or a compensation that can't be made."""
        card = tool.card
        _require_undoable(card)
        return Schemas(
            _compiled(card, "parameters", card.parameters),
            _compiled(card, "results", card.results),
            is_marked(card.parameters) or is_marked(card.results),
        )

    def bar(self, name: str, reason: str, tool: Tool | None) -> None:
        """Nobody may call it, whatever it was before."""
        self.drop(name)
        self._barred[name] = Barred(reason, tool)

    def unbar(self, name: str) -> None:
        """Take what was barred into use.  Raises `BadCall`, `NotFound`."""
        barred = self._barred.get(name)
        if barred is None or barred.tool is None:
            raise NotFound(f"nothing can be agreed to: no server offers {name[:NAME_CHARS_MAX]!r}")
        self.put(barred.tool)

    def drop(self, name: str) -> None:
        for table in (self._tools, self._schemas, self._barred):
            table.pop(name, None)

    def barred(self, name: str) -> str:
        """Why it must not be called; empty: it may."""
        return self._barred[name].reason if name in self._barred else ""

    def names(self) -> list[str]:
        return sorted([*self._tools, *self._barred])

    def of_server(self, server: str) -> list[str]:
        return [name for name in self.names() if name.startswith(f"{server}.")]

    def cards(self) -> tuple[ToolCard, ...]:
        """Of those that may be called."""
        return tuple(tool.card for tool in self._tools.values())

    def card(self, name: str) -> ToolCard | None:
        tool = self._tools.get(name)
        return tool.card if tool is not None else None

    def find(self, name: str) -> Tool:
        """Raises `NotFound` with the names that there are, `ToolBarred`, and `DeviceFailed` where
        nobody can know, since its server has not been reached."""
        if (tool := self._tools.get(name)) is not None:
            return tool
        if reason := self.barred(name):
            raise ToolBarred(f"{name} is not called: {reason}")
        for source in self.sources:
            if source.reason and name.startswith(f"{source.name}."):
                raise DeviceFailed(
                    f"{name[:NAME_CHARS_MAX]} is not known: {source.kind} {source.name} can't be "
                    f"reached: {source.reason}"
                )
        raise self.unknown(name)

    def unknown(self, name: str) -> NotFound:
        """Also for a tool that is there, and that whoever asks has no business with."""
        public = sorted(card.name for card in self.cards() if not card.owner)
        names = ", ".join(public) or "none; name some in orlop.toml"
        return NotFound(f"no tool {name[:NAME_CHARS_MAX]!r} here; there is: {names}")

    def schemas(self, name: str) -> Schemas:
        """Of a tool that `find` finds."""
        self.find(name)
        return self._schemas[name]


def _require_undoable(card: ToolCard) -> None:
    """Its compensation's arguments can be made of what is known then."""
    try:
        used = template.roots(card.compensate_with)
    except BadCall as error:
        raise BadCall(f"compensate_with of tool {card.name}: {error.message}") from error
    if card.compensate_unknown and "result" in used:
        raise BadCall(
            f"compensate_with of tool {card.name} uses the result, and with `compensate_unknown` "
            "there may be none"
        )


def _compiled(card: ToolCard, field: str, schema: dict[str, object]) -> Schema:
    try:
        return Schema(schema)
    except BadCall as error:
        raise BadCall(f"{field} of tool {card.name[:NAME_CHARS_MAX]}: {error.message}") from error
