"""Which models exist, and on which engines."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import DeviceFailed, NotFound
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.devices.device import Engine


class Registry:
    """Engines by name, and the cards of what each can run as last told."""

    def __init__(self, engines: Sequence[Engine], aliases: Mapping[str, ModelName]) -> None:
        self.engines: dict[EngineName, Engine] = {engine.name: engine for engine in engines}
        self._aliases = dict(aliases)
        self._cards: dict[EngineName, tuple[ModelCard, ...]] = {}
        self._by_name: dict[tuple[str, ModelKind], list[ModelCard]] = {}
        self._unheard = set(self.engines)
        self._heard = asyncio.Event()

    def learn(self, engine: EngineName, cards: Iterable[ModelCard]) -> bool:
        """What `engine` runs from now on; replaces what was known of it.  Whether it is more."""
        before = {card.name for card in self._cards.get(engine, ())}
        self._cards[engine] = tuple(cards)
        self._by_name = {}
        for card in self.cards():
            for name in {card.name, f"{card.engine}/{card.name}"}:
                self._by_name.setdefault((name, card.kind), []).append(card)
        self.heard_of(engine)
        return any(card.name not in before for card in self._cards[engine])

    def heard_of(self, engine: EngineName) -> None:
        """`engine` has told what it runs, or has failed to."""
        self._unheard.discard(engine)
        self._heard.set()
        self._heard = asyncio.Event()

    @property
    def all_heard(self) -> bool:
        """Every engine has told what it runs, or has failed to."""
        return not self._unheard

    async def heard(self, model: str, kind: ModelKind) -> None:
        """Return once `model` is known, or no engine is left that has never been heard of."""
        while self._unheard and not self._serving(model, kind):
            await self._heard.wait()

    def add(self, engine: Engine) -> None:
        self.engines[engine.name] = engine
        self._unheard.add(engine.name)

    def cards(self) -> tuple[ModelCard, ...]:
        return tuple(card for cards in self._cards.values() for card in cards)

    def named(self, model: str) -> list[ModelCard]:
        """Every card that goes by this name, for whatever it may serve; none is fine."""
        name = self.meant(model)
        return [*self._by_name.get((name, "chat"), ()), *self._by_name.get((name, "embed"), ())]

    def find(self, model: str, kind: ModelKind) -> list[ModelCard]:
        """Every card that serves `model`, which is a name, an alias, or `engine/name`.

        Raises `NotFound` with the names that there are; `DeviceFailed` where an engine has not been
        able to tell yet, since it may be the one that has it.
        """
        found = self._serving(model, kind)
        silent = [name for name in self.engines if name not in self._cards]
        if not found and silent:
            reasons = "; ".join(f"{name}: {self._reason(name)}" for name in silent)
            raise DeviceFailed(
                f"no {kind} model {model[:NAME_CHARS_MAX]!r} is known yet ({reasons})",
                retry_after_s=1.0,
            )
        if not found:
            names = ", ".join(sorted({card.name for card in self.cards() if card.kind == kind}))
            shown, meant = model[:NAME_CHARS_MAX], self.meant(model)
            behind = "" if meant == model else f" ([models.aliases] has it stand for {meant!r})"
            raise NotFound(f"no {kind} model {shown!r} here{behind}; there is: {names or 'none'}")
        return found

    def meant(self, model: str) -> str:
        """The name behind an alias."""
        return self._aliases.get(model, model)

    def _reason(self, engine: EngineName) -> str:
        card = self.engines[engine].card()
        return card.reason or card.health

    def _serving(self, model: str, kind: ModelKind) -> list[ModelCard]:
        return self._by_name.get((self._aliases.get(model, model), kind), [])
