"""Which engines can serve a call now.  A pure function; which of them does, the scheduler says."""

from collections.abc import Mapping, Sequence

from orlop.abi.cards import EngineCard, ModelCard
from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import EngineName


def servable(
    candidates: Sequence[ModelCard], engines: Mapping[EngineName, EngineCard]
) -> dict[EngineName, ModelCard]:
    """The card of each engine that is ready, by name, the first of each.

    Engines that are starting are asked only if no other is ready: their calls wait for them.
    Raises `DeviceFailed` with every engine's own reason if none can be asked.
    """
    if len(candidates) == 1 and engines[candidates[0].engine].health in ("ready", "starting"):
        return {candidates[0].engine: candidates[0]}  # As most models have it.
    for health in ("ready", "starting"):
        found = {
            card.engine: card
            for card in sorted(candidates, key=lambda card: card.engine, reverse=True)
            if engines[card.engine].health == health
        }
        if found:
            return dict(sorted(found.items()))
    reasons = "; ".join(
        f"{card.engine}: {engines[card.engine].reason or engines[card.engine].health}"
        for card in candidates
    )
    raise DeviceFailed(f"no engine can serve {candidates[0].name} ({reasons})")
