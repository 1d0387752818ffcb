"""Engines that load and unload models by name: Ollama, Triton, llama.cpp's router.

Invariant: of one model, loads and unloads take turns; those of different models don't wait for
each other here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from orlop.abi.errors import DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import ENGINE_START_S_MAX
from orlop.devices.device import Resident
from orlop.machine.clock import deadline

Move: TypeAlias = Callable[[ModelName], Awaitable[None]]


class Loading:
    """A `Residence`.

    bring, send_away: return when it is done.  needs: what the engine lacks where it can't.
    """

    def __init__(self, name: EngineName, *, bring: Move, send_away: Move, needs: str) -> None:
        self._name = name
        self._bring = bring
        self._send_away = send_away
        self._needs = needs
        self._can_load = True
        self._models: dict[ModelName, Resident] = {}
        self._turns: dict[ModelName, asyncio.Lock] = {}

    @property
    def loads(self) -> bool:
        return self._can_load

    @property
    def sleeps(self) -> bool:
        return False

    def resident(self) -> Mapping[ModelName, Resident]:
        return self._models

    def learn(self, models: Mapping[ModelName, Resident], *, can_load: bool = True) -> None:
        """What the engine says that it has, and where."""
        self._models = dict(models)
        self._can_load = can_load

    async def load(self, model: ModelName) -> None:
        await self._move(model, self._bring, "loading")
        size = self._models.get(model, Resident(state="disk")).device_bytes
        self._models[model] = Resident(state="hot", device_bytes=size)

    async def unload(self, model: ModelName) -> None:
        await self._move(model, self._send_away, "unloading")
        self._models[model] = Resident(state="disk")

    async def sleep(self) -> None:
        raise DeviceRefused(f"{self._name} does not sleep: unload its models instead")

    async def wake(self) -> None:
        raise DeviceRefused(f"{self._name} does not sleep: load its models instead")

    async def _move(self, model: ModelName, move: Move, what: str) -> None:
        if not self._can_load:
            raise DeviceRefused(f"{self._name} can't load models by name: {self._needs}")
        if model not in self._models:
            there = ", ".join(self._models) or "none"
            raise DeviceRefused(f"{self._name} has no model {model!r} to load; there is: {there}")
        turn = self._turns.setdefault(model, asyncio.Lock())
        async with deadline(ENGINE_START_S_MAX, f"{what} {model} on {self._name}"), turn:
            await move(model)
