"""A call on a server of somebody else's that may be stopped, and gone on with later.

To stop it is to leave: the server sees a caller that went away.  To go on is to send the prompt's
token ids with those of the answer so far, as one long prompt; what the server still has of it is
not computed again.  Text will not do: cut where a token ends, it may be split otherwise when it is
read anew.

Invariants: 1. each delta is given to the sink once, over all legs of a call; 2. `Preempted` carries
exactly what was given; 3. a call that has begun to answer is stopped only where the ids of all that
was given are known, each by its own text: where they are not, it runs to its end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.errors import KernelError
from orlop.abi.replies import Delta, Generated
from orlop.devices.device import Partial, Preempted, Sink, Turn
from orlop.devices.llamacpp_calls import joined

NOTHING: Final = Partial()

Ask: TypeAlias = Callable[[Infer, Sink], Coroutine[None, None, Generated]]
"""Sends one call and gives its deltas."""


class Words(Protocol):
    """Texts and token ids, as the server has them.  Raises a `KernelError` where it won't say."""

    @property
    def tells_more(self) -> bool:
        """What it can't tell of these pieces it may be able to tell after the next."""
        ...

    def goes_on(self, call: Infer) -> bool:
        """Whether an answer to it, cut at a token, goes on as if never cut."""
        ...

    async def prompt(self, call: Infer) -> tuple[int, ...]:
        """The ids that the call's prompt begins with."""
        ...

    async def said(self, pieces: Sequence[str]) -> tuple[int, ...] | None:
        """The ids of an answer's pieces; None where it is not sure that they are those that were
        generated."""
        ...


class _Tap:
    """Between the server's stream and the caller's sink."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self._kept: list[Delta] = []
        self.pieces: list[str] = []
        """Given so far."""
        self.is_plain = True
        """Text and nothing else."""
        self.is_holding = False
        self.news = asyncio.Event()

    def take(self, delta: Delta) -> None:
        if delta.reasoning or delta.refusal or delta.tool_uses or delta.logprobs:
            self.is_plain = False
        self.news.set()
        if self.is_holding:
            self._kept.append(delta)
        else:
            self._give(delta)

    def flush(self) -> None:
        """It goes on after all."""
        self.is_holding = False
        kept, self._kept = self._kept, []
        for delta in kept:
            self._give(delta)

    def _give(self, delta: Delta) -> None:
        self.pieces.append(delta.text)
        if self._sink is not None:
            self._sink(delta)


async def infer(call: Infer, turn: Turn, sink: Sink | None, ask: Ask, words: Words) -> Generated:
    """Raises `Preempted` once `turn.yield_now` is set, where the call allows it."""
    before = turn.so_far or NOTHING
    prompt = len(before.prompt)
    wanted = call
    if before.tokens:
        left = None
        if call.output_tokens_max is not None:
            left = call.output_tokens_max - len(before.tokens)
            if left <= 0:
                return joined(before.text, None, prompt, len(before.tokens))
        wanted = _longer(call, before.prompt + before.tokens, left)
    tap = _Tap(sink)
    leg = asyncio.create_task(ask(wanted, tap.take))
    try:
        await _first(leg, turn.yield_now)
        while not leg.done():
            tap.news.clear()
            stopped = await _stopped(call, before, tap, words)
            if stopped is not None and not leg.done():
                raise Preempted(stopped)
            tap.flush()
            if not (words.tells_more and tap.is_plain and words.goes_on(call)):
                break
            await _first(leg, tap.news)
        made = await leg
        tap.flush()
    finally:
        leg.cancel()
        await asyncio.wait([leg])
    if not before.tokens:
        return made
    return joined(before.text, made, prompt, len(before.tokens))


async def _stopped(call: Infer, before: Partial, tap: _Tap, words: Words) -> Partial | None:
    """All that was given; None where it can't be gone on from."""
    if not tap.pieces:
        return before  # Its prompt is being read: nothing is lost but that.
    if not tap.is_plain or not words.goes_on(call):
        return None
    tap.is_holding = True
    pieces = list(tap.pieces)
    try:
        tokens = await words.said(pieces)
        prompt = before.prompt or await words.prompt(call)
    except KernelError:
        return None
    if tokens is None:
        return None
    text = before.text + "".join(pieces)
    return Partial(text, before.tokens + tokens, before.deltas + len(pieces), prompt)


def ids_of(pieces: Sequence[str], tokens: Sequence[tuple[int, bytes]]) -> tuple[int, ...] | None:
    """The ids whose texts are these pieces; None where that is not sure.

    A server gives a token's text as soon as it has it, so pieces end where tokens end: one token a
    piece, or several where a letter has several bytes.  Tokens that end otherwise are not those
    that were generated.
    """
    found, at = list[int](), 0
    for piece in pieces:
        wanted, held = piece.encode(), b""
        while held != wanted:
            if at == len(tokens) or not wanted.startswith(held):
                return None
            found.append(tokens[at][0])
            held += tokens[at][1]
            at += 1
    return tuple(found) if at == len(tokens) else None


def _longer(call: Infer, ids: tuple[int, ...], left: int | None) -> Infer:
    return replace(
        call,
        messages=(),
        prompt=ids,
        tools=(),
        tool_choice=None,
        parallel_tool_calls=None,
        response_format=None,
        output_tokens_max=left,
    )


async def _first(leg: "asyncio.Task[Generated]", event: asyncio.Event | None) -> None:
    """Until the leg is over or the event is set."""
    if event is None:
        await asyncio.wait([leg])
        return
    wait = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({wait, leg}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        wait.cancel()
