"""Models that somebody else runs, behind limits: capacity is what the provider allows a minute,
residency what its prompt cache keeps.

A program's calls go to the same cache (`prompt_cache_key`, or marks in Anthropic's dialect), and
their prefix is never changed.  What a call will cost of the limits is guessed from its bytes and
from what earlier calls of the same program cost; the answer's usage puts the guess right.
"""

import math
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
from orlop.abi.replies import Embedded, Generated
from orlop.devices.anthropic import Anthropic
from orlop.devices.device import ALONE, Capacity, EngineLoad, Sink, Turn
from orlop.devices.openai import SLOTS, Manner, OpenAI, no_words
from orlop.devices.quota import MINUTE_S, Quota
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.machine.ranges import Count

Dialect = Literal["openai", "anthropic"]
Keep = Literal["", "5m", "1h"]

CACHE_S: Final[Mapping[Keep, float]] = {"": 0.0, "5m": 300.0, "1h": 3_600.0}
"""How long a prompt stays in the cache after its last use."""

_BYTES_PER_TOKEN: Final = 4.0
"""Of English, until the first answers tell."""
_SMOOTHING: Final = 8
_SPARE: Final = 1.25
"""Calls that may run beyond what the limits ask for, so that no allowance is left unused."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the provider's cache holds of one program."""

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


class Cloud:
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
        slots: int = SLOTS,
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
        self._service_s = 1.0
        self._tokens = 1.0
        """What a call takes of the limit, smoothed; likewise `_service_s`."""

    @property
    def name(self) -> EngineName:
        return self._inner.name

    @property
    def slots(self) -> int:
        """As many as the limits keep busy: what is beyond waits in the kernel, in its order."""
        rates = []
        for kind, each in (("requests", 1.0), ("tokens", self._tokens)):
            limit = self.quota.limit(kind)
            if limit is not None:
                rates.append(limit / MINUTE_S / each)
        if not rates:
            return self._slots
        useful = math.ceil(min(rates) * self._service_s * _SPARE)
        return max(1, min(self._slots, useful))

    def capacity(self) -> Capacity:
        cache_s = CACHE_S[self._terms.cache]
        return Capacity(slots=self.slots, prefix_cache=cache_s > 0, prefix_cache_s=cache_s or None)

    def load(self) -> EngineLoad | None:
        return None

    @property
    def contexts(self) -> None:
        return None

    @property
    def residence(self) -> None:
        return None

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
        begun_s = self._clock.now_s()
        left_s = max(0.001, ends_s - begun_s)
        made = await self._inner.infer(call, model, sink, left_s, turn)
        self._learn(made.usage, size, guess, begun_s)
        self._remember(turn.program, made.usage)
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
        tokens = size / self._bytes_per_token
        return max(1.0, tokens - self._free(self.kept_tokens(program)))

    def _free(self, cached_tokens: int) -> int:
        """Anthropic does not count what comes from the cache; OpenAI does."""
        return cached_tokens if self._terms.dialect == "anthropic" else 0

    def _learn(self, usage: Usage, size: int, guess: float, begun_s: float) -> None:
        if usage.input_tokens <= 0:
            return
        took = usage.input_tokens - self._free(usage.cached_tokens)
        if self._terms.dialect == "openai":
            took += usage.output_tokens
        self.quota.give_back(guess - took)
        service_s = self._clock.now_s() - begun_s
        self._tokens += (max(1.0, took) - self._tokens) / _SMOOTHING
        self._service_s += (service_s - self._service_s) / _SMOOTHING
        ratio = max(1.0, size / usage.input_tokens)
        self._bytes_per_token += (ratio - self._bytes_per_token) / _SMOOTHING

    def _remember(self, program: str, usage: Usage) -> None:
        cache_s = CACHE_S[self._terms.cache]
        if not program or not cache_s:
            return
        tokens = usage.input_tokens + usage.output_tokens
        self._kept[program] = _Kept(tokens, self._clock.now_s() + cache_s)
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
    size += sum(len(message.text()) for message in call.messages)
    uses = (use for message in call.messages for use in message.tool_uses)
    size += sum(len(use.arguments) for use in uses)
    return size + sum(len(tool.description) + len(str(tool.parameters)) for tool in call.tools)
