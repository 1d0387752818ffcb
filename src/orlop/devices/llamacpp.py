"""llama.cpp as an engine: the kernel's side of an engine host.

The host speaks OpenAI's dialect, so calls go through that driver; `llamacpp_calls` makes them fit.

Invariants: 1. one caller at a time starts the host, and a failed start is not repeated at once;
2. a host that has ended is found out by a call on it, which starts it again and is asked once more,
unless its caller has been told something of the answer already;
3. nobody waits longer than the deadline, for a start either.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace
from yarl import URL

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, Health, ModelCard, ModelKind
from orlop.abi.errors import DeadlineMissed, DeviceFailed, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import BODY_BYTES_MAX, ENGINE_RETRY_S_MAX, ENGINE_START_S_MAX
from orlop.abi.replies import Delta, Embedded, Generated
from orlop.devices.artefact import remembered_digest
from orlop.devices.device import ALONE, Capacity, Contexts, Sink, Turn
from orlop.devices.engine_host import HostKeeper, HostSettings, HostState
from orlop.devices.lines import Lines
from orlop.devices.llamacpp_calls import Props, asked, goes_on, one_choice, passing, together
from orlop.devices.llamacpp_memory import EngineMemory, MemoryConfig
from orlop.devices.llamacpp_residence import HostResidence
from orlop.devices.openai import OpenAI
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline

_PROPS_S: Final = 10.0
_UNLOADED: Final = "not loaded: the next call loads it"
Answer = TypeVar("Answer", Embedded, Generated)
_ENDED: Final = "its host ended: the next call starts it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppConfig:
    """One embedded engine."""

    name: EngineName
    model: ModelName
    path: Path
    """A GGUF file."""
    folder: Path
    """Where the host's state, log and saved slots go."""
    sha256: str = ""
    """That the file must have; empty: nobody has said."""
    kind: ModelKind = "chat"
    slots: int = 4
    """Calls served at once; each has its own part of the KV cache."""
    context_tokens: int = 4096
    """What one slot can hold: prompt and answer."""
    is_lazy: bool = False
    """To start is to look whether the weights are there; `residence` or a call loads them."""
    moves_contexts: bool = True
    """We say what lies in which slot, and save what leaves one; else the host does as it ships."""
    host_cache: bool = True
    """Where it does as it ships: prompts that left their slot stay in the host's RAM."""
    ram_bytes: int | None = None
    """Saved contexts in RAM take at most this; None: as much as is fair.  `disk_bytes` likewise."""
    disk_bytes: int | None = None
    lifeline: int | None = None
    """The read end of the supervisor's pipe: the host ends with the supervisor, not with us."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """A host that answers, and the driver that talks to it."""

    host: HostState
    inner: OpenAI
    props: Props


class LlamaCpp:
    """An `Engine`."""

    def __init__(self, config: LlamaCppConfig, *, clock: Clock, chance: Chance) -> None:
        self._config = config
        self._clock = clock
        self._chance = chance
        is_moving = config.moves_contexts and config.kind == "chat"
        self._memory = _memory_of(config, clock, chance) if is_moving else None
        settings = HostSettings(
            name=config.model,
            model=str(config.path),
            slots=config.slots,
            context_tokens=config.context_tokens,
            embedding=config.kind == "embed",
            slot_folder="" if self._memory is None else str(self._memory.slot_folder),
            cache=config.host_cache and self._memory is None,
            sha256=config.sha256,
        )
        self._keeper = HostKeeper(config.name, settings, config.folder, config.lifeline, clock)
        self._residence = HostResidence(
            config.model,
            config.path,
            config.slots * config.context_tokens,
            self._keeper,
            self._brought,
            self._unloaded,
        )
        self._starting = asyncio.Lock()
        self._seat: _Seat | None = None
        self._health: Health = "starting"
        self._reason = "not started yet"
        self._failures = 0
        self._retry_s = 0.0
        """Not started again before this."""

    @property
    def name(self) -> EngineName:
        return self._config.name

    @property
    def slots(self) -> int:
        return self._config.slots

    def capacity(self) -> Capacity:
        return Capacity(slots=self.slots) if self._memory is None else self._memory.capacity()

    def holdings(self) -> None:
        """What it holds is what was sent to it."""

    def load(self) -> None:
        return None

    @property
    def contexts(self) -> Contexts | None:
        return self._memory

    @property
    def residence(self) -> HostResidence:
        return self._residence

    def goes_on(self, call: Infer) -> bool:
        return goes_on(call)

    def card(self) -> EngineCard:
        seat = self._seat
        card = EngineCard(
            name=self.name,
            driver="llamacpp",
            slots=self.slots,
            health=self._health,
            reason=self._reason,
            device="cpu",
            models=(self._config.model,),
            continues=self.capacity().continues,
        )
        if seat is None:
            return card
        return replace(card, url=seat.host.url, running=seat.inner.card().running)

    async def start(self) -> None:
        if not self._config.is_lazy or self._keeper.seen() is not None:
            await self._attached()
        elif self._seat is None and not self._starting.locked():
            self._require_weights()
            self._health, self._reason = "ready", _UNLOADED

    async def models(self) -> Sequence[ModelCard]:
        """Its one model; of one that is not loaded, what its file and our settings say."""
        card = ModelCard(
            name=self._config.model,
            engine=self.name,
            kind=self._config.kind,
            context_tokens=self._config.context_tokens,
            artefact=remembered_digest(self._config.path),
            path=str(self._config.path),
        )
        if self._config.is_lazy and self._seat is None:
            return [card]
        seat = await self._attached()
        context_tokens = seat.props.default_generation_settings.n_ctx
        return [
            replace(
                card,
                context_tokens=context_tokens or self._config.context_tokens,
                artefact=seat.host.sha256,
            )
        ]

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        began_s = self._clock.now_s()
        ends_s = began_s + deadline_s
        is_told = False

        def tell(delta: Delta) -> None:
            nonlocal is_told
            is_told = True
            if sink is not None:
                sink(delta)

        async def answer(seat: _Seat) -> Generated:
            return await self._answer(seat, call, model, tell if sink else None, turn, ends_s)

        async with deadline(deadline_s, f"{self.name}'s answer"):
            made = await self._asked(answer, lambda: not is_told)
        # What its host does not time: its start, the wait for a slot, a context brought back.
        first_s = self._clock.now_s() - began_s - made.decode_s
        return replace(made, prefill_s=max(made.prefill_s, first_s))

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        ends_s = self._clock.now_s() + deadline_s

        async def answer(seat: _Seat) -> Embedded:
            return await seat.inner.embed(call, model, ends_s - self._clock.now_s())

        async with deadline(deadline_s, f"{self.name}'s vectors"):
            return await self._asked(answer, lambda: True)

    async def _asked(
        self, ask: Callable[[_Seat], Awaitable[Answer]], may_repeat: Callable[[], bool]
    ) -> Answer:
        """Ask the host; once more if it turns out to have ended, and a new one can say it all."""
        seat = await self._attached()
        try:
            answer = await ask(seat)
        except DeviceFailed:
            if not await self._has_ended(seat) or not may_repeat():
                raise
            seat = await self._attached()
            try:
                answer = await ask(seat)
            except DeviceFailed:
                await self._has_ended(seat)
                raise
        self._failures = 0
        return answer

    async def _answer(
        self,
        seat: _Seat,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        turn: Turn,
        ends_s: float,
    ) -> Generated:
        wanted = asked(call, seat.props, self.name)
        answers = []
        # Of several choices some would be whole and one not: such a call runs to its end.
        own_turn = turn if call.sampling.n == 1 else replace(turn, yield_now=None)
        for index in range(call.sampling.n):
            one = one_choice(wanted, index)
            pass_on = passing(call, sink, index)
            if self._memory is not None:
                made = await self._memory.run(one, model, pass_on, own_turn, ends_s)
            else:
                left_s = ends_s - self._clock.now_s()
                made = await seat.inner.infer(one, model, pass_on, left_s)
            answers.append(made)
        return together(call, answers)

    async def erase(self) -> str:
        """Nothing of any call is left that could be read through this engine."""
        if self._memory is not None:
            await self._attached()  # What it has on disk is known only then.
        await self._unloaded()
        return "its host has ended, with its KV and its prompt cache; saved contexts are deleted"

    async def close(self) -> None:
        """Let go of the host.  It runs on for the next kernel while a lifeline holds it."""
        async with self._starting:
            await self._leave()
            if self._memory is not None:
                await self._memory.close()
            if self._config.lifeline is None:
                await self._keeper.end()
            self._health, self._reason = "gone", "closed"

    async def _attached(self) -> _Seat:
        """The host, started if need be; one caller starts it, the others wait for that."""
        if self._seat is not None:
            return self._seat
        async with self._starting:
            if self._seat is not None:
                return self._seat
            pause_s = self._retry_s - self._clock.now_s()
            if self._failures and pause_s > 0:
                raise DeviceFailed(
                    f"{self.name} did not start: {self._reason}", retry_after_s=pause_s
                )
            try:
                async with deadline(ENGINE_START_S_MAX, f"starting {self.name}"):
                    self._seat = await self._take_seat()
            except (DeviceFailed, DeadlineMissed) as error:
                raise self._failed(error) from error
            self._health, self._reason = "ready", ""
            return self._seat

    async def _brought(self) -> _Seat:
        """For who has seen that the host is not there, which no call may have found out yet."""
        async with self._starting:
            if self._seat is not None and self._keeper.seen() is None:
                await self._leave()
        return await self._attached()

    async def _unloaded(self) -> None:
        """End the host on purpose; the next call starts it again."""
        async with self._starting:
            await self._leave()
            await self._keeper.end()
            if self._memory is not None:
                await self._memory.erase()
            self._health, self._reason = "ready", _UNLOADED

    def _require_weights(self) -> None:
        if not self._config.path.exists():
            raise DeviceFailed(
                f"{self._config.path} is missing: bring it with `orlop pull {self._config.model}`"
            )

    async def _take_seat(self) -> _Seat:
        self._require_weights()
        self._health, self._reason = "starting", "loading"
        if self._memory is not None:
            self._memory.prepare()
        host = await self._keeper.ready()
        try:
            props = await _ask_props(host)
        except DeviceFailed:
            # A host that was there and does not answer is no use, and holds the model's memory.
            await self._keeper.end()
            host = await self._keeper.ready()
            props = await _ask_props(host)
        inner = OpenAI(
            self.name,
            host.url,
            clock=self._clock,
            chance=self._chance,
            key=host.key,
            slots=self.slots,
        )
        await inner.start()
        if self._memory is not None:
            await self._memory.attach(host, inner, props.chat_template)
        return _Seat(host, inner, props)

    def _failed(self, error: KernelError) -> DeviceFailed:
        self._health, self._reason = "failing", error.message
        pause_s = min(2.0**self._failures, ENGINE_RETRY_S_MAX)
        self._failures += 1
        self._retry_s = self._clock.now_s() + pause_s
        return DeviceFailed(f"{self.name} did not start: {error.message}", retry_after_s=pause_s)

    async def _has_ended(self, seat: _Seat) -> bool:
        """After a failed call.  A host that does not answer is let go of; the next call starts it
        again, at once where it has answered some call since it was started last."""
        try:
            await _ask_props(seat.host)
        except DeviceFailed as error:
            if self._seat is seat:
                await self._leave()
                if self._failures:
                    self._failed(error)
                else:
                    self._health, self._reason, self._failures = "ready", _ENDED, 1
            return True
        return False

    async def _leave(self) -> None:
        seat, self._seat = self._seat, None
        if seat is not None:
            await seat.inner.close()
            if self._memory is not None:
                await self._memory.detach()


def _memory_of(config: LlamaCppConfig, clock: Clock, chance: Chance) -> EngineMemory:
    own = MemoryConfig(
        name=config.name,
        folder=config.folder,
        slots=config.slots,
        context_tokens=config.context_tokens,
        ram_bytes=config.ram_bytes,
        disk_bytes=config.disk_bytes,
    )
    return EngineMemory(own, clock=clock, chance=chance)


async def _ask_props(host: HostState) -> Props:
    """Proves that this host listens where it says, with its key."""
    url = URL(host.url) / "props"
    lines = Lines(url, {"authorization": f"Bearer {host.key}"})
    try:
        async with asyncio.timeout(_PROPS_S), await lines.ask("GET", url, None) as answer:
            told = await answer.read(BODY_BYTES_MAX)
            if answer.status != 200:
                raise OSError(f"it answered {answer.status}")
            return msgspec.json.decode(told, type=Props)
    except (OSError, msgspec.DecodeError) as error:
        reason = str(error) or type(error).__name__
        raise DeviceFailed(f"the engine host at {host.url} does not answer: {reason}") from error
    finally:
        lines.close()
