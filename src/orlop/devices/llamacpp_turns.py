"""One call on one host: fed while nobody urgent runs, stopped when told to, gone on with later.

llama.cpp has no priorities, but it keeps what it has computed of a cancelled prompt.  So a prompt
is held by cancelling it and sending it again, which costs nothing but the piece under way; and an
answer goes on from its own token ids, since its text may be cut where no token ends.

Invariants: 1. each delta is given to the sink once, over all legs of a call; 2. `Preempted` carries
exactly what was given; 3. nothing of a cancelled leg is given after the leg was cancelled.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Protocol

from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.ids import ModelName
from orlop.abi.limits import PROMPT_HELD_S_MAX
from orlop.abi.replies import Delta, Generated
from orlop.devices.device import Partial, Preempted, Sink, Turn
from orlop.devices.llamacpp_calls import goes_on, joined
from orlop.devices.llamacpp_contexts import Place
from orlop.devices.llamacpp_slots import Held
from orlop.machine.clock import Clock

NOTHING: Final = Partial()

_SHORT_TOKENS: Final = 128
"""A piece of a prompt: less is read on the side of whoever reads."""

_COMING_S: Final = 0.3
"""From a slot given up to the call that it was given up for."""

_End = Literal["done", "hold", "yield"]


class Feed:
    """Whose prompt is read: one at a time, and none while an interactive call runs.

    The host reads prompts one after another anyway, and notices that a call was cancelled only
    when it has read a piece of it: so what waits, waits here, where it can be stopped at once.
    """

    def __init__(self) -> None:
        self._urgent = 0
        self._is_reading = False
        self._line: deque[asyncio.Event] = deque()
        self.held = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    def begin(self) -> None:
        """An interactive call starts, or is about to."""
        self._urgent += 1
        self.held.set()
        self.free.clear()

    def end(self) -> None:
        self._urgent -= 1
        if not self._urgent:
            self.held.clear()
            self.free.set()

    def stand(self) -> asyncio.Event:
        """A place in the line, which is set when its turn has come."""
        place = asyncio.Event()
        self._line.append(place)
        self._move()
        return place

    def leave(self, place: asyncio.Event) -> None:
        """Out of the line, or done with reading."""
        if place.is_set():
            self._is_reading = False
        else:
            self._line.remove(place)
        self._move()

    def _move(self) -> None:
        if self._line and not self._is_reading:
            self._is_reading = True
            self._line.popleft().set()


class _Tap:
    """Between the engine's stream and the caller's sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.begun = asyncio.Event()
        """The answer has."""
        self.cut = asyncio.Event()
        """Something came that is kept back: what was given ends where a token does."""
        self.is_closing = False
        self.is_plain = True
        """Text and nothing else."""
        self.on_begun: Callable[[], None] | None = None
        """Called once, with the first of the answer."""
        self.given = 0
        self.text: list[str] = []
        self._kept: list[Delta] = []

    def take(self, delta: Delta) -> None:
        if not self.begun.is_set():
            self.begun.set()
            if self.on_begun is not None:
                self.on_begun()
        if delta.reasoning or delta.refusal or delta.tool_uses or delta.logprobs:
            self.is_plain = False
        if self.is_closing:
            self._kept.append(delta)
            self.cut.set()
        else:
            self.give(delta)

    def flush(self) -> None:
        """The answer came to its end before it could be cut."""
        self.is_closing = False
        kept, self._kept = self._kept, []
        for delta in kept:
            self.give(delta)

    def give(self, delta: Delta) -> None:
        """To the caller, and count it."""
        self.given += 1
        self.text.append(delta.text)
        self._sink(delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One call that has its slot."""

    call: Infer
    """In the host's words."""
    model: ModelName
    sink: Sink
    turn: Turn
    place: Place
    ends_s: float

    @property
    def so_far(self) -> Partial:
        return self.turn.so_far or NOTHING

    @property
    def is_urgent(self) -> bool:
        return self.turn.latency_class == "interactive"

    def may_stop(self, tap: _Tap) -> bool:
        """While its prompt is read any call may; then those that go on from their tokens."""
        return not tap.begun.is_set() or (tap.is_plain and goes_on(self.call))


class Streams(Protocol):
    """Who talks to the host in OpenAI's dialect."""

    async def infer(
        self, call: Infer, model: ModelName, sink: Sink | None, deadline_s: float
    ) -> Generated: ...


class Tokens(Protocol):
    """Texts and token ids, as the host has them; `HostApi` is one."""

    async def prompt_tokens(self, call: Infer, model: str) -> tuple[int, ...]: ...

    async def tokens(self, text: str, *, special: bool) -> tuple[int, ...]: ...

    async def text(self, tokens: Sequence[int]) -> str: ...


class Saves(Protocol):
    """Copies slots; `HostContexts` is one."""

    async def write(self, held: Held) -> int: ...

    async def tokens_saved(self, held: Held) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs on one host."""

    api: Tokens
    inner: Streams
    contexts: Saves
    feed: Feed
    clock: Clock

    async def run(self, job: Job) -> Generated:
        """Raises `Preempted` once `Turn.yield_now` is set, where the call allows it."""
        call = job.call
        slot = {"id_slot": job.place.slot, "cache_prompt": True}
        call = replace(call, extra={**call.extra, **slot})
        tap = _Tap(job.sink)
        if not job.is_urgent:
            return await self._run(job, call, tap)
        self.feed.begin()
        try:
            return await self._run(job, call, tap)
        finally:
            self.feed.end()

    async def _run(self, job: Job, call: Infer, tap: _Tap) -> Generated:
        if job.so_far.text or job.so_far.tokens:
            return await self._go_on(job, call, tap)
        return await self._legs(job, call, tap)

    async def _go_on(self, job: Job, call: Infer, tap: _Tap) -> Generated:
        """From the tokens that the answer has so far."""
        before = job.so_far
        prompt = await self.api.prompt_tokens(job.call, job.model)
        tokens = before.tokens or await self.api.tokens(before.text, special=False)
        said = await self.api.text(tokens)
        pending = said[len(before.text) :] if said.startswith(before.text) else ""
        if pending:
            # The last token's text was not all told: spaces wait for the word after them.
            tap.give(Delta(text=pending))
        left = None if call.output_tokens_max is None else call.output_tokens_max - len(tokens)
        if left is not None and left <= 0:
            return joined(before.text + pending, None, len(prompt), len(tokens))
        more = replace(
            call,
            messages=(),
            prompt=prompt + tokens,
            tools=(),
            tool_choice=None,
            parallel_tool_calls=None,
            response_format=None,
            output_tokens_max=left,
        )
        made = await self._legs(job, more, tap)
        return joined(before.text + pending, made, len(prompt), len(tokens))

    async def _legs(self, job: Job, call: Infer, tap: _Tap) -> Generated:
        """The same call sent as often as it was held; nothing of it is computed twice."""
        held_s = 0.0
        while True:
            place = self.feed.stand() if self._must_stand(job) else None
            try:
                held_s += await self._wait_for_turn(job, place, PROMPT_HELD_S_MAX - held_s)
                if _is_set(job.turn.yield_now) and not tap.begun.is_set():
                    end: _End = "yield"
                else:
                    end, made = await self._leg(job, call, tap, place, held_s)
                    if made is not None:
                        return made
            finally:
                if place is not None and not tap.begun.is_set():
                    self.feed.leave(place)
            if end == "yield":
                raise Preempted(await self._given_up(job, tap))

    def _must_stand(self, job: Job) -> bool:
        """A prompt of which little is new is read on the side."""
        return not job.is_urgent and job.place.new_tokens > _SHORT_TOKENS

    async def _leg(
        self, job: Job, call: Infer, tap: _Tap, place: asyncio.Event | None, held_s: float
    ) -> tuple[_End, Generated | None]:
        left_s = job.ends_s - self.clock.now_s()
        tap.on_begun = None if place is None else partial(self.feed.leave, place)
        leg = asyncio.create_task(self.inner.infer(call, job.model, tap.take, left_s))
        try:
            end = await self._watch(leg, job, tap, may_hold=held_s < PROMPT_HELD_S_MAX)
            if end != "done":
                return end, None
            made = leg.result()
            tap.flush()
            return end, made
        finally:
            leg.cancel()
            await asyncio.wait([leg])

    async def _given_up(self, job: Job, tap: _Tap) -> Partial:
        """Its slot is wanted by somebody more urgent: prompts stop meanwhile, and a moment more,
        so that he need not wait for them in turn."""
        self.feed.begin()
        try:
            return await self._partial(job, tap)
        finally:
            asyncio.get_running_loop().call_later(_COMING_S, self.feed.end)

    async def _wait_for_turn(self, job: Job, place: asyncio.Event | None, limit_s: float) -> float:
        """In line, and then until no interactive call runs, or for so long; returns that time.

        Ends early where the call should yield.
        """
        stop = [] if job.turn.yield_now is None else [job.turn.yield_now]
        if place is not None:
            await _first(None, [place, *stop])
        if job.is_urgent or self.feed.free.is_set() or limit_s <= 0 or any(map(_is_set, stop)):
            return 0.0
        begun_s = self.clock.now_s()
        pause = asyncio.create_task(self.clock.sleep(limit_s))
        try:
            await _first(pause, [self.feed.free, *stop])
        finally:
            pause.cancel()
        return self.clock.now_s() - begun_s

    async def _watch(
        self, leg: "asyncio.Task[Generated]", job: Job, tap: _Tap, *, may_hold: bool
    ) -> _End:
        """Until the leg is over, or should be."""
        wanted = job.turn.yield_now
        is_patient = may_hold and not job.is_urgent
        while not leg.done():
            events = [] if tap.begun.is_set() else [tap.begun]
            if tap.is_closing:
                events.append(tap.cut)
            elif wanted is not None and job.may_stop(tap):
                events.append(wanted)
            if is_patient and not tap.begun.is_set():
                events.append(self.feed.held)
            await _first(leg, events)
            if leg.done():
                break
            if tap.is_closing and tap.cut.is_set():
                return "yield"
            if wanted is not None and wanted.is_set() and job.may_stop(tap):
                if not tap.begun.is_set():
                    return "yield"
                # One token more, kept back: so the slot holds all that was given, and where that
                # ends a token ends.
                tap.is_closing = True
            elif is_patient and self.feed.held.is_set() and not tap.begun.is_set():
                return "hold"
        return "done"

    async def _partial(self, job: Job, tap: _Tap) -> Partial:
        """What the caller has been given, in tokens; the slot's context is saved on the way."""
        text = job.so_far.text + "".join(tap.text)
        given = job.so_far.deltas + tap.given
        try:
            await self.contexts.write(job.place.held)
            tokens = await self._tokens_of(job, text) if text else ()
        except (DeviceFailed, DeviceRefused, OSError):
            # Its text is enough to go on from; only the cut may fall elsewhere.
            tokens = ()
        return Partial(text, tokens, given)

    async def _tokens_of(self, job: Job, text: str) -> tuple[int, ...]:
        """The ids of the answer up to where `text` ends; empty where the slot holds others."""
        held = await self.contexts.tokens_saved(job.place.held)
        prompt = await self.api.prompt_tokens(job.call, job.model)
        if held[: len(prompt)] != prompt:
            return ()
        return await self._cut(held[len(prompt) :], text)

    async def _cut(self, tokens: Sequence[int], text: str) -> tuple[int, ...]:
        """The fewest leading tokens that say all of `text`."""
        low, high = 0, len(tokens)
        if not (await self.api.text(tokens)).startswith(text):
            return ()
        while low < high:
            middle = (low + high) // 2
            if (await self.api.text(tokens[:middle])).startswith(text):
                high = middle
            else:
                low = middle + 1
        return tuple(tokens[:low])


def _is_set(event: asyncio.Event | None) -> bool:
    return event is not None and event.is_set()


async def _first(
    task: "asyncio.Task[Generated] | asyncio.Task[None] | None", events: Sequence[asyncio.Event]
) -> None:
    """Until the task is over or one of the events is set."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait([*waits, *([task] if task else [])], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
