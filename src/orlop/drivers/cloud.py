"""Models that somebody else runs, behind limits: capacity is what the provider allows a minute,
residency what its prompt cache keeps.

A program's calls go to the same cache (`prompt_cache_key`, or marks in Anthropic's dialect), and
their prefix is never changed.  What a call will cost of the limits is guessed from its bytes and
from what earlier calls of the same program cost; the answer's usage puts the guess right.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, ModelCard
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import ENGINE_PROGRAMS_KNOWN
from orlop.abi.messages import Message
from orlop.abi.replies import Embedded, Generated
from orlop.devices.device import ALONE, Capacity, Sink, Turn
from orlop.devices.openai import Manner, OpenAI, no_words
from orlop.devices.plain import Plain
from orlop.drivers.anthropic import Anthropic
from orlop.drivers.quota import Quota
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.machine.ranges import Count

Dialect = Literal["openai", "anthropic"]
Keep = Literal["", "5m", "1h"]

CACHE_S: Final[Mapping[Keep, float]] = {"": 0.0, "5m": 300.0, "1h": 3_600.0}
"""How long a prompt stays in the cache after its last use."""

CLOUD_SLOTS: Final = 1_024
"""Calls on their way or waiting for the limits: a seat costs nothing here, and a small call must
not wait outside while large ones wait inside."""

_BYTES_PER_TOKEN: Final = 4.0
"""Of English, until the first answers tell."""
_SMOOTHING: Final = 8


@dataclass(frozen=True, slots=True)
class _Kept:
    """A program's last prompt and answer, and how long the provider's cache keeps them."""

    size: int
    tokens: int
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTerms:
    """What a provider counts and keeps."""

    dialect: Dialect = "openai"
    """What it speaks."""
    cache: Keep = "5m"
    """How long its prompt cache keeps a prompt after its last use; empty: nothing is asked of it.
    For the driver `anthropic` too."""
    requests_per_minute: Count = 0
    """What it allows; 0: learned from its headers and refusals.  Likewise the next one."""
    tokens_per_minute: Count = 0
    """Of the input in Anthropic's dialect, without what comes from its cache; else of both."""


class Cloud(Plain):
    """An `Engine`."""

    def __init__(
        self,
        name: EngineName,
        url: str,
        terms: CloudTerms,
        *,
        clock: Clock,
        chance: Chance,
        key: str = "",
        slots: int = CLOUD_SLOTS,
        limit_field: str = "max_tokens",
    ) -> None:
        self.quota = Quota(
            name, clock, requests=terms.requests_per_minute, tokens=terms.tokens_per_minute
        )
        self._clock = clock
        self._terms = terms
        self._slots = slots
        self._inner = self._speaker(name, url, clock, chance, key, limit_field)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes_per_token = _BYTES_PER_TOKEN

    @property
    def name(self) -> EngineName:
        return self._inner.name

    @property
    def slots(self) -> int:
        """Calls that may be on their way: how many of them go now, the limits say."""
        return self._slots

    def capacity(self) -> Capacity:
        cache_s = CACHE_S[self._terms.cache]
        return Capacity(slots=self.slots, prefix_cache=cache_s > 0, prefix_cache_s=cache_s or None)

    def card(self) -> EngineCard:
        return msgspec.structs.replace(self._inner.card(), slots=self.slots)

    def kept_tokens(self, program: str) -> int:
        """Of `program`'s prompt, what the provider's cache should still hold."""
        kept = self._kept.get(program)
        return kept.tokens if kept is not None and kept.until_s > self._clock.now_s() else 0

    async def start(self) -> None:
        await self._inner.start()

    async def models(self) -> Sequence[ModelCard]:
        return await self._inner.models()

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        ends_s = self._clock.now_s() + deadline_s
        size = _bytes_of(call)
        guess = self._guess(size, turn.program)
        async with deadline(deadline_s, f"{self.name}'s limits"):
            await self.quota.admit(guess, turn.urgency, deadline_s)
        left_s = max(0.001, ends_s - self._clock.now_s())
        made = await self._inner.infer(call, model, sink, left_s, turn)
        self._learn(made.usage, size, guess)
        self._remember(turn.program, size, made)
        return made

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        ends_s = self._clock.now_s() + deadline_s
        size = sum(len(text) for text in call.inputs)
        async with deadline(deadline_s, f"{self.name}'s limits"):
            await self.quota.admit(size / self._bytes_per_token, 0, deadline_s)
        return await self._inner.embed(call, model, max(0.001, ends_s - self._clock.now_s()))

    async def close(self) -> None:
        await self.quota.close()
        await self._inner.close()

    def _speaker(
        self,
        name: EngineName,
        url: str,
        clock: Clock,
        chance: Chance,
        key: str,
        limit_field: str,
    ) -> OpenAI | Anthropic:
        match self._terms.dialect:
            case "anthropic":
                return Anthropic(
                    name,
                    url,
                    clock=clock,
                    chance=chance,
                    key=key,
                    slots=self._slots,
                    cache=self._terms.cache,
                    heard=self.quota.heard,
                    driver="cloud",
                )
            case "openai":
                manner = Manner(
                    driver="cloud",
                    words=_words if self._terms.cache else no_words,
                    limit_field=limit_field,
                    heard=self.quota.heard,
                )
                return OpenAI(
                    name, url, clock=clock, chance=chance, key=key, slots=self._slots, manner=manner
                )

    def _guess(self, size: int, program: str) -> float:
        """A prompt that goes on from the last one is as long as that, and what is new."""
        kept = self._kept.get(program)
        if kept is None or size < kept.size:
            return max(1.0, size / self._bytes_per_token)
        new = (size - kept.size) / self._bytes_per_token
        return max(1.0, kept.tokens - self._free(self.kept_tokens(program)) + new)

    def _free(self, cached_tokens: int) -> int:
        """Anthropic does not count what comes from the cache; OpenAI does."""
        return cached_tokens if self._terms.dialect == "anthropic" else 0

    def _learn(self, usage: Usage, size: int, guess: float) -> None:
        if usage.input_tokens <= 0:
            return
        took = usage.input_tokens - self._free(usage.cached_tokens)
        if self._terms.dialect == "openai":
            took += usage.output_tokens
        self.quota.give_back(guess - took)
        ratio = max(1.0, size / usage.input_tokens)
        self._bytes_per_token += (ratio - self._bytes_per_token) / _SMOOTHING

    def _remember(self, program: str, size: int, made: Generated) -> None:
        if not program:
            return
        said = sum(_size(choice.message) for choice in made.choices[:1])
        tokens = made.usage.input_tokens + made.usage.output_tokens
        until_s = self._clock.now_s() + CACHE_S[self._terms.cache]
        self._kept[program] = _Kept(size + said, tokens, until_s)
        self._kept.move_to_end(program)
        if len(self._kept) > ENGINE_PROGRAMS_KNOWN:
            self._kept.popitem(last=False)


def _words(call: Infer, turn: Turn) -> Mapping[str, object]:
    """A key of the caller's own stands."""
    if not turn.program or "prompt_cache_key" in call.extra:
        return {}
    return {"prompt_cache_key": turn.program}


def _bytes_of(call: Infer) -> int:
    """Of the prompt, roughly: what is said, and the tools."""
    size = len(call.prompt) * 4 if isinstance(call.prompt, tuple) else len(call.prompt or "")
    size += sum(map(_size, call.messages))
    return size + sum(len(tool.description) + len(str(tool.parameters)) for tool in call.tools)


def _size(message: Message) -> int:
    return len(message.text()) + sum(len(use.arguments) for use in message.tool_uses)
