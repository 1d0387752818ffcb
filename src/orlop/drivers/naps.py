"""An engine with one model that sleeps: the weights in host RAM, the device free for others.

Invariant: sleeping and waking take turns, and a call wakes an engine that we put to sleep.
"""

import asyncio
from collections.abc import Mapping

from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.ids import ModelName
from orlop.abi.limits import ENGINE_START_S_MAX
from orlop.devices.device import Resident
from orlop.devices.openai import OpenAI
from orlop.machine.clock import deadline


class Naps:
    """A `Residence`.

    down, up: the paths that it is sent to sleep and woken by.  needs: what it has to be started
    with for that.
    """

    def __init__(self, engine: OpenAI, *, down: str, up: str, needs: str) -> None:
        self._engine = engine
        self._down = down
        self._up = up
        self._needs = needs
        self._turns = asyncio.Lock()
        self._can_sleep = False
        self._is_asleep = False

    @property
    def loads(self) -> bool:
        return False

    @property
    def sleeps(self) -> bool:
        return self._can_sleep

    def resident(self) -> Mapping[ModelName, Resident]:
        state = Resident(state="asleep" if self._is_asleep else "hot")
        return dict.fromkeys(self._engine.card().models, state)

    def learn(self, *, can_sleep: bool, is_asleep: bool | None = None) -> None:
        """What the engine says of itself, each time it is started or looked at anew.

        is_asleep: None where it does not say: then what we did last holds.
        """
        self._can_sleep = can_sleep
        if is_asleep is not None:
            self._is_asleep = is_asleep

    async def load(self, model: ModelName) -> None:
        raise self._never("loads one model for its whole life")

    async def unload(self, model: ModelName) -> None:
        raise self._never("keeps its model for its whole life; let it sleep instead")

    async def sleep(self) -> None:
        self._check_sleeps()
        async with self._turns:
            await self._ask(self._down)
            self._is_asleep = True

    async def wake(self) -> None:
        self._check_sleeps()
        async with self._turns:
            if self._is_asleep:
                await self._ask(self._up)
                self._is_asleep = False

    async def wake_for_call(self, deadline_s: float) -> None:
        """It would take the call and never answer."""
        if self._is_asleep:
            async with deadline(deadline_s, f"{self._engine.name}'s waking"):
                await self.wake()

    async def _ask(self, path: str) -> None:
        try:
            await self._engine.server.look(path, ENGINE_START_S_MAX, method="POST", body=b"{}")
        except DeviceRefused as error:
            raise DeviceFailed(error.message) from error

    def _check_sleeps(self) -> None:
        if not self._can_sleep:
            raise self._never(f"can't sleep: start it with {self._needs}")

    def _never(self, why: str) -> DeviceRefused:
        return DeviceRefused(f"{self._engine.name} {why}")
