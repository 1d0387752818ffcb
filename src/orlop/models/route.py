"""Choosing an engine.  A pure function: same inputs, same choice, so that a replay agrees."""

from collections.abc import Mapping, Sequence

from orlop.abi.cards import EngineCard, ModelCard
from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import EngineName


def route(candidates: Sequence[ModelCard], engines: Mapping[EngineName, EngineCard]) -> ModelCard:
    """The candidate whose engine is the least loaded, counted in calls per slot; ties by name.

    An engine that is starting is chosen only if no other is ready: its calls wait for it.
    Raises `DeviceFailed` with every engine's own reason if none can be asked.
    """
    alive = [card for card in candidates if engines[card.engine].health in ("ready", "starting")]
    if not alive:
        reasons = "; ".join(
            f"{card.engine}: {engines[card.engine].reason or engines[card.engine].health}"
            for card in candidates
        )
        raise DeviceFailed(f"no engine can serve {candidates[0].name} ({reasons})")

    def load(card: ModelCard) -> tuple[bool, float, str]:
        engine = engines[card.engine]
        return engine.health != "ready", (engine.running + engine.waiting) / engine.slots, card.name

    return min(alive, key=load)
