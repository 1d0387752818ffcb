"""An engine that keeps its own bills: what it did for whom, where no crash of a kernel reaches."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceBusy, DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Generated
from orlop.devices.device import ALONE, Preempted, Sink, Turn
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock

GREETING = "You are "
"""How the first message of each conversation in the town begins, before its agent's name."""


@dataclass(slots=True)
class Bill:
    calls: int = 0
    tokens: int = 0


class Biller(FakeEngine):
    """bills: by agent."""

    def __init__(
        self,
        name: EngineName,
        config: FakeConfig,
        bills: MutableMapping[str, Bill],
        *,
        clock: Clock,
        chance: Chance,
    ) -> None:
        super().__init__(name, config, clock=clock, chance=chance)
        self._bills: Mapping[str, Bill] = bills

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        bill = self._bills[call.messages[0].text().removeprefix(GREETING).rstrip(".")]
        tokens = 1  # Of a call that is cut off; it has been shown something at least.
        try:
            generated = await super().infer(call, model, sink, deadline_s, turn)
            tokens = generated.usage.input_tokens + generated.usage.output_tokens
            return generated
        except (DeviceBusy, DeviceRefused, Preempted):
            tokens = 0  # Nothing was done, or it goes on later and is billed whole at its end.
            raise
        finally:
            bill.calls += turn.so_far is None
            bill.tokens += tokens
