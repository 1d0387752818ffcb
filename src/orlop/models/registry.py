"""Which models exist, and on which engines."""

from collections.abc import Iterable, Mapping, Sequence

from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import NotFound
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.devices.device import Engine


class Registry:
    """Engines by name, and the cards of what each can run as last told."""

    def __init__(self, engines: Sequence[Engine], aliases: Mapping[str, ModelName]) -> None:
        self.engines: dict[EngineName, Engine] = {engine.name: engine for engine in engines}
        self._aliases = dict(aliases)
        self._cards: dict[EngineName, tuple[ModelCard, ...]] = {}

    def learn(self, engine: EngineName, cards: Iterable[ModelCard]) -> None:
        """What `engine` runs from now on; replaces what was known of it."""
        self._cards[engine] = tuple(cards)

    def add(self, engine: Engine) -> None:
        self.engines[engine.name] = engine

    def cards(self) -> tuple[ModelCard, ...]:
        return tuple(card for cards in self._cards.values() for card in cards)

    def find(self, model: str, kind: ModelKind) -> list[ModelCard]:
        """Every card that serves `model`, which is a name, an alias, or `engine/name`.

        Raises `NotFound` with the names that there are.
        """
        wanted = self._aliases.get(model, ModelName(model))
        of_kind = [card for card in self.cards() if card.kind == kind]
        found = [card for card in of_kind if wanted in (card.name, f"{card.engine}/{card.name}")]
        if not found:
            names = ", ".join(sorted({card.name for card in of_kind})) or "none"
            shown = model[:NAME_CHARS_MAX]
            raise NotFound(f"no {kind} model {shown!r} here; there is: {names}")
        return found
