"""An engine with one model that can be brought and sent away, for tests of residency."""

from collections.abc import Mapping

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Generated
from orlop.devices.device import ALONE, ModelState, Resident, Sink, Turn
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock


class Movable:
    """A `Residence` that takes its time, and counts."""

    def __init__(
        self, model: str, clock: Clock, *, size: int, load_s: float, sleeps: bool = False
    ) -> None:
        self.model = ModelName(model)
        self.size = size
        self.load_s = load_s
        self.wake_s = load_s / 10
        self.state: ModelState = "disk"
        self.loaded = 0
        self.left = 0
        self.failing = ""
        self._clock = clock
        self._sleeps = sleeps

    @property
    def loads(self) -> bool:
        return True

    @property
    def sleeps(self) -> bool:
        return self._sleeps

    def resident(self) -> Mapping[ModelName, Resident]:
        return {self.model: Resident(state=self.state, device_bytes=self.size)}

    async def load(self, model: ModelName) -> None:
        await self._bring(self.load_s)

    async def wake(self) -> None:
        await self._bring(self.wake_s)

    async def _bring(self, takes_s: float) -> None:
        await self._clock.sleep(takes_s)
        if self.failing:
            raise DeviceFailed(self.failing)
        self.state = "hot"
        self.loaded += 1

    async def unload(self, model: ModelName) -> None:
        await self._go("disk")

    async def sleep(self) -> None:
        await self._go("asleep")

    async def _go(self, state: ModelState) -> None:
        await self._clock.sleep(self.load_s / 20)
        self.state = state
        self.left += 1


class MovableEngine(FakeEngine):
    """Refuses what is asked of it while its model is not hot: nobody may ask it then."""

    def __init__(
        self,
        movable: Movable,
        *,
        clock: Clock,
        chance: Chance,
        call_s: float,
        name: str = "",
        slots: int = 8,
    ) -> None:
        config = FakeConfig(
            models=(movable.model,), embed_models=(), tokens=1, decode_s=call_s, slots=slots
        )
        super().__init__(EngineName(name or movable.model), config, clock=clock, chance=chance)
        self.movable = movable
        self.asked_cold = 0

    @property
    def residence(self) -> Movable:
        return self.movable

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        self.asked_cold += self.movable.state != "hot"
        made = await super().infer(call, model, sink, deadline_s, turn)
        self.asked_cold += self.movable.state != "hot"
        return made
