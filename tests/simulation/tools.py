"""Tools whose effects are counted in the world outside, where no crash of a kernel reaches."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from simulation.power import Power

from orlop.abi.cards import Effect, ToolCard
from orlop.abi.errors import DeviceFailed, ToolFailed
from orlop.machine.chance import Chance

EFFECTS: tuple[Effect, ...] = ("pure", "idempotent", "queryable", "compensable", "irreversible")


ENDING_S = 0.5
"""How long a tool takes to end when it is told to, at most."""


@dataclass(eq=False, slots=True)
class World:
    """What tools have done, by the order that they were given and by key."""

    done: Counter[str] = field(default_factory=Counter)
    """Times that an order took effect.  An idempotent tool does nothing for a key it knows."""
    keys: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The keys under which an order took effect."""
    kinds: dict[str, Effect] = field(default_factory=dict)
    """What kind of effect each order has."""
    known: set[str] = field(default_factory=set)
    """Keys that have taken effect."""


class TownTool:
    """A `Tool`.  It dies with the kernel that runs it, before or after it took effect."""

    def __init__(
        self,
        effect: Effect,
        world: World,
        power: Power,
        chance: Chance,
        *,
        tool_s: float,
        faults: float,
    ) -> None:
        self._card = ToolCard(name=effect, effect=effect, concurrency=2)
        self._world = world
        self._power = power
        self._chance = chance
        self._tool_s = tool_s
        self._faults = faults

    @property
    def card(self) -> ToolCard:
        return self._card

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        order = str(arguments["order"])
        self._require_power()
        await asyncio.sleep(self._chance.uniform() * self._tool_s)
        await self._stumble(ToolFailed(f"{self._card.name} did nothing"))
        self._require_power()
        self._act(order, key)
        try:
            await asyncio.sleep(self._chance.uniform() * self._tool_s)
            await self._stumble(DeviceFailed(f"{self._card.name} did not answer"))
        except asyncio.CancelledError:
            await asyncio.sleep(self._chance.uniform() * ENDING_S)
            raise
        return {"order": order, "key": key}

    async def happened(self, key: str) -> bool | None:
        await asyncio.sleep(self._chance.uniform() * self._tool_s)
        return key in self._world.known

    def _act(self, order: str, key: str) -> None:
        self._world.kinds[order] = self._card.effect
        if self._card.effect == "idempotent" and key in self._world.known:
            return
        self._world.done[order] += 1
        self._world.keys[order].add(key)
        self._world.known.add(key)

    async def _stumble(self, failure: DeviceFailed) -> None:
        if self._chance.uniform() < self._faults / 2:
            raise failure

    def _require_power(self) -> None:
        """A dead kernel starts nothing."""
        if not self._power.is_on:
            raise DeviceFailed("the kernel that called is gone")
