"""An engine made of arithmetic, in real or virtual time, with faults if asked for."""

import asyncio
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, Health, ModelCard
from orlop.abi.errors import DeviceBusy, DeviceFailed, DeviceRefused
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Choice, Embedded, Generated
from orlop.devices.device import ALONE, Capacity, Partial, Preempted, Sink, Turn
from orlop.devices.fake_answers import (
    answer,
    content_of,
    deltas_of,
    hashed_vector,
    tokens_in,
    words_in,
)
from orlop.devices.plain import Plain
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.ranges import Chances, Count, Many, Seconds
from orlop.wire.portable import to_openai

Fault = Literal["", "refuse", "busy", "hang", "die", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeConfig:
    """How the arithmetic behaves.  Times are in seconds; with all at 0 nothing ever waits."""

    slots: Many = 8
    """Calls served at once."""
    models: tuple[str, ...] = ("fake",)
    """Names of its chat models."""
    embed_models: tuple[str, ...] = ("fake-embed",)
    """Names of its embedding models."""
    prefill_s: Seconds = 0.0
    """A token of the input."""
    decode_s: Seconds = 0.0
    """A token of the output."""
    step_tokens: Many = 1
    """Tokens in one delta, and between two waits."""
    tokens: Many = 12
    """Of an answer, unless the call allows fewer."""
    dimensions: Many = 16
    """Of a vector, unless the call asks for others."""
    refuse: Chances = 0.0
    """Chance, 0 to 1, that a call is refused for good.  All chances together are at most 1."""
    busy: Chances = 0.0
    """That it is told to come back."""
    hang: Chances = 0.0
    """That it is never answered; only a deadline or a cancellation ends it."""
    die: Chances = 0.0
    """That the whole engine dies under it for `dead_s`, with all that run."""
    fail: Chances = 0.0
    """That it breaks somewhere in its answer."""
    dead_s: Seconds = 1.0
    """How long it stays dead."""
    kv_tokens: Count = 0
    """Tokens of context that it says to hold; 0: it does not say."""
    host_tokens: Count = 0
    """And beside the device, in RAM."""
    continues: bool = False
    """It stops a call when asked to, and goes on later as if nothing had been."""
    tally: bool = False
    """Keep `computed_by`; costs memory for each different call."""


class FakeEngine(Plain):
    """An `Engine`.

    `computed` counts the calls that came to their end here, `computed_by` the same by content (see
    `fake_answers.content_of`): the oracle for "nothing is paid twice".  `running_peak` tells
    whether a scheduler kept to the slots.
    """

    def __init__(
        self, name: EngineName, config: FakeConfig, *, clock: Clock, chance: Chance
    ) -> None:
        self.config = config
        self.computed = 0
        self.computed_by: Counter[int] = Counter()
        self.preempted = 0
        self.running = 0
        self.running_peak = 0
        self._name = name
        self._clock = clock
        self._chance = chance
        self._health: Health = "starting"
        self._deaths = 0
        self._dead_until_s = 0.0
        self._models = tuple(map(ModelName, config.models + config.embed_models))
        self._capacity = Capacity(
            slots=config.slots,
            kv_tokens=config.kv_tokens or None,
            host_tokens=config.host_tokens,
            kv_bytes_per_token=1,
            restore_bytes_s=1e6,
            continues=config.continues,
        )
        chances: tuple[tuple[Fault, float], ...] = (
            ("refuse", config.refuse),
            ("busy", config.busy),
            ("hang", config.hang),
            ("die", config.die),
            ("fail", config.fail),
        )
        self._chances = tuple((fault, chance) for fault, chance in chances if chance > 0)

    @property
    def name(self) -> EngineName:
        return self._name

    @property
    def slots(self) -> int:
        return self.config.slots

    def capacity(self) -> Capacity:
        return self._capacity

    def card(self) -> EngineCard:
        is_dead = self._is_dead()
        return EngineCard(
            name=self._name,
            driver="fake",
            slots=self.config.slots,
            health="failing" if is_dead else self._health,
            reason="dead for a while" if is_dead else "",
            device="arithmetic",
            models=self._models,
            running=self.running,
        )

    async def start(self) -> None:
        self._health = "ready"

    async def models(self) -> Sequence[ModelCard]:
        self._check_alive()
        chat = [
            ModelCard(name=ModelName(name), engine=self._name, context_tokens=1_000_000)
            for name in self.config.models
        ]
        size = self.config.dimensions
        return (
            *chat,
            *(
                ModelCard(name=ModelName(name), engine=self._name, kind="embed", dimensions=size)
                for name in self.config.embed_models
            ),
        )

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        self._check_alive()
        if model not in self.config.models:
            raise DeviceRefused(f"{self._name} has no chat model `{model}`")
        call = to_openai(call)  # It speaks the chat dialect, as most engines do.
        self._enter()
        try:
            return await self._infer(call, model, sink, turn)
        finally:
            self.running -= 1

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        self._check_alive()
        if model not in self.config.embed_models:
            raise DeviceRefused(f"{self._name} has no embedding model `{model}`")
        self._enter()
        try:
            tokens = sum(tokens_in(len(text)) for text in call.inputs)
            await self._wait(tokens * self.config.prefill_s)
            size = call.dimensions or self.config.dimensions
            vectors = tuple(hashed_vector(text, size) for text in call.inputs)
            self._count(zlib.crc32("\0".join(call.inputs).encode()))
            return Embedded(vectors=vectors, usage=Usage(input_tokens=tokens), model=model)
        finally:
            self.running -= 1

    async def close(self) -> None:
        self._health = "gone"

    def die(self, for_s: float) -> None:
        """Every call that runs, or that comes in the next `for_s` seconds, fails."""
        self._deaths += 1
        self._dead_until_s = self._clock.now_s() + for_s

    async def _infer(
        self, call: Infer, model: ModelName, sink: Sink | None, turn: Turn
    ) -> Generated:
        deaths = self._deaths
        breaks_at = await self._suffer() if self._chances else None
        config = self.config
        content, input_tokens = content_of(call)
        await self._wait(input_tokens * config.prefill_s)
        choices = tuple(
            answer(call, content, index, config.tokens) for index in range(call.sampling.n)
        )
        if sink is not None or config.decode_s or breaks_at is not None:
            await self._tell(choices, sink, breaks_at, deaths, turn)
        output_tokens = sum(words_in(choice) for choice in choices)
        self._count(content)
        return Generated(
            choices=choices,
            usage=Usage(input_tokens=input_tokens, output_tokens=output_tokens),
            model=model,
            fingerprint="arithmetic",
            prefill_s=input_tokens * config.prefill_s,
            decode_s=output_tokens * config.decode_s,
        )

    async def _tell(
        self,
        choices: Sequence[Choice],
        sink: Sink | None,
        breaks_at: int | None,
        deaths: int,
        turn: Turn,
    ) -> None:
        """Delta by delta, at its pace.  Raises where the engine breaks or has died meanwhile, and
        `Preempted` where it should give way."""
        step_s = self.config.decode_s * self.config.step_tokens
        before = turn.so_far.deltas if turn.so_far is not None else 0
        told = 0
        for choice in choices:
            for delta in deltas_of(choice, self.config.step_tokens):
                if told == breaks_at or deaths != self._deaths:
                    raise DeviceFailed(f"{self._name} broke after {told} pieces of its answer")
                if told < before:
                    told += 1
                    continue
                if self.config.continues and turn.yield_now is not None and turn.yield_now.is_set():
                    self.preempted += 1
                    raise Preempted(Partial(deltas=told))
                await self._wait(step_s)
                told += 1
                if sink is not None:
                    sink(delta)

    def _draw(self) -> Fault:
        """What goes wrong with this call, if anything does."""
        draw = self._chance.uniform()
        for fault, chance in self._chances:
            if draw < chance:
                return fault
            draw -= chance
        return ""

    async def _suffer(self) -> int | None:
        """The delta before which the call will break, or None; other faults happen here."""
        match self._draw():
            case "refuse":
                raise DeviceRefused(f"{self._name} refuses this call")
            case "busy":
                raise DeviceBusy(f"{self._name} is overloaded", retry_after_s=0.1)
            case "hang":
                await asyncio.Event().wait()
            case "die":
                self.die(self.config.dead_s)
                raise DeviceFailed(f"{self._name} died")
            case "fail":
                pieces = -(-self.config.tokens // self.config.step_tokens)
                return int(self._chance.uniform() * pieces)
        return None

    async def _wait(self, delay_s: float) -> None:
        if delay_s > 0:
            await self._clock.sleep(delay_s)
            self._check_alive()

    def _enter(self) -> None:
        self.running += 1
        self.running_peak = max(self.running_peak, self.running)

    def _count(self, content: int) -> None:
        self.computed += 1
        if self.config.tally:
            self.computed_by[content] += 1

    def _is_dead(self) -> bool:
        return self._deaths > 0 and self._clock.now_s() < self._dead_until_s

    def _check_alive(self) -> None:
        if self._is_dead():
            raise DeviceFailed(f"{self._name} is dead for a while")
