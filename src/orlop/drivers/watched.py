"""A server of OpenAI's dialect that is looked at from time to time: see `watch`."""

from abc import abstractmethod

from orlop.abi.ids import EngineName
from orlop.devices.device import EngineLoad
from orlop.devices.openai import Manner, OpenAI
from orlop.drivers.watch import WATCH_S, Watch
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock


class Watched(OpenAI):
    """Drivers say what there is to learn when it starts, and what a look sees.

    watch_s: seconds between two looks while calls run; 0: none after the first.
    """

    def __init__(
        self,
        name: EngineName,
        url: str,
        *,
        clock: Clock,
        chance: Chance,
        key: str,
        slots: int,
        manner: Manner,
        watch_s: float = WATCH_S,
    ) -> None:
        super().__init__(name, url, clock=clock, chance=chance, key=key, slots=slots, manner=manner)
        self._watch = Watch(
            name, self._look, clock=clock, is_busy=lambda: self.running > 0, every_s=watch_s
        )

    def load(self) -> EngineLoad | None:
        return self._watch.load

    async def start(self) -> None:
        await super().start()
        await self._learn()
        if self.load() is None:
            await self._watch.look()
        self._watch.start()

    async def close(self) -> None:
        await self._watch.close()
        await super().close()

    @abstractmethod
    async def _learn(self) -> None:
        """What it was started with."""

    @abstractmethod
    async def _look(self) -> EngineLoad | None:
        """What it says of its load now; None: nothing that can be true.  Raises `KernelError`."""
