"""What engines behind HTTP have in common: a server, how it is, and the list of its models."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from orlop.abi.cards import EngineCard, ModelCard
from orlop.abi.errors import DeadlineMissed, DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName
from orlop.devices.device import Capacity
from orlop.devices.plain import Plain
from orlop.devices.server import Server
from orlop.machine.clock import Clock, deadline

_LIST_S: Final = 10.0
"""To answer which models there are."""


class Remote(Plain, ABC):
    """An `Engine` but for its calls.  `running`: calls that are on their way."""

    def __init__(self, server: Server, *, clock: Clock, slots: int, driver: str) -> None:
        self.server = server
        self.running = 0
        self._clock = clock
        self._slots = slots
        self._driver = driver
        self._models: tuple[ModelCard, ...] = ()

    @property
    def name(self) -> EngineName:
        return self.server.name

    @property
    def slots(self) -> int:
        return self._slots

    def capacity(self) -> Capacity:
        return Capacity(slots=self.slots)

    def card(self) -> EngineCard:
        return EngineCard(
            name=self.name,
            driver=self._driver,
            url=str(self.server.url),
            slots=self._slots,
            health=self.server.health,
            reason=self.server.reason,
            models=tuple(card.name for card in self._models),
            running=self.running,
            continues=self.capacity().continues,
        )

    async def start(self) -> None:
        await self.server.start()
        await self.models()

    async def models(self) -> Sequence[ModelCard]:
        try:
            async with deadline(_LIST_S, f"listing {self.name}'s models"):
                self._models = await self._listed(self._clock.now_s() + _LIST_S)
        except (DeviceRefused, DeadlineMissed) as error:
            # Nobody's call is wrong here: it is the engine that can't be used.
            self.server.ailing(error.message)
            raise DeviceFailed(error.message) from error
        return self._models

    async def close(self) -> None:
        await self.server.close()

    @abstractmethod
    async def _listed(self, ends_s: float) -> tuple[ModelCard, ...]:
        """Ask the server for its list."""

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        """Count a call while it is on its way."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
