"""A server of OpenAI's dialect that is looked at from time to time: see `watch`; and listened to,
where it publishes what it holds: see `kv_stream`."""

from abc import abstractmethod
from collections.abc import Sequence

from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.cards import EngineCard
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Generated
from orlop.devices.device import EngineLoad, Holdings, Sink, Turn
from orlop.devices.openai import Manner, OpenAI
from orlop.drivers.kv_stream import KVSource, KVStream
from orlop.drivers.watch import WATCH_S, Watch
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.wire.token_trace import TokenTrace


class Watched(OpenAI):
    """Drivers say what there is to learn when it starts, and what a look sees.

    watch_s: seconds between two looks while calls run; 0: none after the first.  kv_sources: where
    it publishes its KV events; none: where it says itself.
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
        kv_sources: Sequence[KVSource] = (),
    ) -> None:
        super().__init__(name, url, clock=clock, chance=chance, key=key, slots=slots, manner=manner)
        self._watch = Watch(
            name, self._look, clock=clock, is_busy=lambda: self.running > 0, every_s=watch_s
        )
        self._kv_stream = KVStream(name)
        self._kv_sources = tuple(kv_sources)

    def load(self) -> EngineLoad | None:
        return self._watch.load

    def holdings(self) -> Holdings | None:
        return self._kv_stream.holdings()

    def card(self) -> EngineCard:
        return replace(super().card(), kv_events=self._kv_stream.state)

    async def start(self) -> None:
        await super().start()
        await self._learn()
        self._kv_stream.start(self._kv_sources or await self._publishers())
        if self.load() is None:
            await self._watch.look()
        self._watch.start()

    async def close(self) -> None:
        await self._kv_stream.close()
        await self._watch.close()
        await super().close()

    async def leg(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn,
        trace: TokenTrace | None = None,
    ) -> Generated:
        generated = await super().leg(call, model, sink, deadline_s, turn, trace)
        if turn.program and len(generated.choices) == 1:
            usage = generated.usage
            self._kv_stream.spoke(turn.program, usage.input_tokens + usage.output_tokens)
        return generated

    async def _publishers(self) -> Sequence[KVSource]:
        """Where it says itself that it publishes its KV events."""
        return ()

    @abstractmethod
    async def _learn(self) -> None:
        """What it was started with."""

    @abstractmethod
    async def _look(self) -> EngineLoad | None:
        """What it says of its load now; None: nothing that can be true.  Raises `KernelError`."""
