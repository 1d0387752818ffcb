"""Models that somebody else runs, behind limits: capacity is what the provider allows a minute,
residency what its prompt cache keeps.

A program's calls go to the same cache (`prompt_cache_key`, or marks in Anthropic's dialect), and
their prefix is never changed.  What a call will cost of the limits is guessed from its bytes and
from what earlier calls of the same program cost; the answer's usage puts the guess right.  A call
that the provider refuses comes back to the line, with the place that it had.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import msgspec

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, ModelCard
from orlop.abi.errors import DeviceBusy
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import ENGINE_PROGRAMS_KNOWN, ENGINE_RETRIES_MAX, ENGINE_RETRY_DELAY_S
from orlop.abi.messages import Message
from orlop.abi.replies import Embedded, Generated
from orlop.devices.device import ALONE, Capacity, Sink, Turn
from orlop.devices.openai import Manner, OpenAI, no_words
from orlop.devices.plain import Plain
from orlop.drivers.anthropic import Anthropic
from orlop.drivers.quota import Leave, Quota
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
_WRAPPING_MAX: Final = 200.0
_DOUBT_MAX: Final = 1_000.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Asked:
    """The call that a task makes, and whose limits it counts against."""

    quota: Quota
    leave: Leave


_ASKED: Final[ContextVar[_Asked]] = ContextVar("the call that this task sends to a cloud")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A program's last prompt and answer, and how long the provider's cache keeps the prompt."""

    size: int
    tokens: int
    prompt: int
    """Of those tokens, the prompt's: the answer is computed anew as part of the next one."""
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
    """What it allows each model; 0: learned from its headers and refusals.  Likewise the next."""
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
        self._quotas: dict[ModelName, Quota] = {}
        self._clock = clock
        self._terms = terms
        self._slots = slots
        self._inner = self._speaker(name, url, clock, chance, key, limit_field)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes_per_token = _BYTES_PER_TOKEN
        self._wrapping = 0.0
        """Tokens around what is new in a prompt: roles, ends of messages."""
        self._doubt = 0.0
        """Tokens by which guesses of what a call takes have been wrong, on average."""
        self._kept_from = 0
        """Prompts of fewer tokens are not kept: as far as misses and hits have told."""

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
        if kept is None or kept.until_s <= self._clock.now_s() or kept.prompt < self._kept_from:
            return 0
        return kept.prompt

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
        size = _bytes_of(call)
        guess = self._guess(call, size, turn.program)

        async def ask(left_s: float) -> Generated:
            return await self._inner.infer(call, model, sink, left_s, turn)

        made = await self._within_limits(model, guess, turn.urgency, deadline_s, ask)
        self._learn(model, made.usage, size, guess, turn.program)
        self._remember(turn.program, size, made)
        return made

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        size = sum(len(text) for text in call.inputs)

        async def ask(left_s: float) -> Embedded:
            return await self._inner.embed(call, model, left_s)

        guess = size / self._bytes_per_token
        return await self._within_limits(model, guess, 0, deadline_s, ask)

    async def close(self) -> None:
        for quota in self._quotas.values():
            await quota.close()
        await self._inner.close()

    def quota(self, model: ModelName) -> Quota:
        """Providers count each model apart."""
        if model not in self._quotas:
            requests, tokens = self._terms.requests_per_minute, self._terms.tokens_per_minute
            self._quotas[model] = Quota(self.name, self._clock, requests=requests, tokens=tokens)
        return self._quotas[model]

    async def _within_limits(
        self,
        model: ModelName,
        tokens: float,
        urgency: int,
        deadline_s: float,
        ask: Callable[[float], Awaitable[T]],
    ) -> T:
        """What `ask` answers, sent when the limits allow it, and again where it was refused."""
        quota, came_s = self.quota(model), self._clock.now_s()
        ends_s = came_s + deadline_s
        refusals = 0
        while True:
            left_s = max(0.001, ends_s - self._clock.now_s())
            async with deadline(left_s, f"{self.name}'s limits"):
                leave = await quota.admit(tokens, urgency, left_s, came_s)
            _ASKED.set(_Asked(quota, leave))
            try:
                return await ask(max(0.001, ends_s - self._clock.now_s()))
            except DeviceBusy as error:
                refusals += not leave.is_explained
                wait_s = error.retry_after_s or ENGINE_RETRY_DELAY_S
                is_late = self._clock.now_s() + wait_s >= ends_s
                if not leave.is_refused or is_late or refusals > ENGINE_RETRIES_MAX:
                    raise
            await self._clock.sleep(wait_s)

    def _heard(self, status: int, headers: Mapping[str, str]) -> None:
        """The task that asks is the call's own.  A list of models is of no model."""
        asked = _ASKED.get(None)
        if asked is not None:
            asked.quota.heard(status, headers, asked.leave)

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
                    heard=self._heard,
                    driver="cloud",
                )
            case "openai":
                manner = Manner(
                    driver="cloud",
                    words=_words if self._terms.cache else no_words,
                    limit_field=limit_field,
                    heard=self._heard,
                )
                return OpenAI(
                    name, url, clock=clock, chance=chance, key=key, slots=self._slots, manner=manner
                )

    def _guess(self, call: Infer, size: int, program: str) -> float:
        """A prompt that goes on from the last one is as long as that, and what is new."""
        kept = self._kept.get(program)
        if kept is None or size < kept.size:
            tokens = size / self._bytes_per_token
        else:
            new = (size - kept.size) / self._bytes_per_token
            tokens = kept.tokens - self._free(self.kept_tokens(program)) + new
        tokens += self._wrapping + self._doubt
        if self._terms.dialect == "openai":
            # It sets aside what a call may say, if that is more than what it was told.
            tokens = max(tokens, call.output_tokens_max or 0)
        return max(1.0, tokens)

    def _free(self, cached_tokens: int) -> int:
        """Anthropic does not count what comes from the cache; OpenAI does."""
        return cached_tokens if self._terms.dialect == "anthropic" else 0

    def _learn(self, model: ModelName, usage: Usage, size: int, guess: float, program: str) -> None:
        if usage.input_tokens <= 0:
            return
        quota = self.quota(model)
        took = float(usage.input_tokens - self._free(usage.cached_tokens))
        if self._terms.dialect == "openai":
            took += usage.output_tokens
            if quota.is_told("tokens"):
                took = max(took, guess)  # What it sets aside it keeps, unless it says otherwise.
        elif (kept_tokens := self.kept_tokens(program)) > 0:
            if usage.cached_tokens > 0:
                self._wrapping += (took - guess + self._doubt) / _SMOOTHING
                self._wrapping = min(max(self._wrapping, 0.0), _WRAPPING_MAX)
            else:
                self._kept_from = max(self._kept_from, kept_tokens + 1)
        if usage.cached_tokens > 0:
            self._kept_from = min(self._kept_from, usage.cached_tokens)
        self._doubt += (min(abs(guess - self._doubt - took), _DOUBT_MAX) - self._doubt) / _SMOOTHING
        quota.give_back(guess - took)
        ratio = max(1.0, size / usage.input_tokens)
        self._bytes_per_token += (ratio - self._bytes_per_token) / _SMOOTHING

    def _remember(self, program: str, size: int, made: Generated) -> None:
        if not program:
            return
        said = sum(_size(choice.message) for choice in made.choices[:1])
        prompt = made.usage.input_tokens
        until_s = self._clock.now_s() + CACHE_S[self._terms.cache]
        tokens = prompt + made.usage.output_tokens
        self._kept[program] = _Kept(size + said, tokens, prompt, until_s)
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
