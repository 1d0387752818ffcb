"""Calls that can be stopped since their server tells token ids beside its pieces: vLLM, SGLang.

What a server keeps beside the tokens is lost when its call is left: the place of a seed in its
sequence, a grammar's state, what a parser of tools has read, how often a token was said (penalties
count an answer, and what was said is a prompt now), a stop sequence that has begun.  Calls with any
of that run to their end once they have begun to answer; so do those with a field that is not known
here.
"""

import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import ModelName
from orlop.abi.replies import Generated
from orlop.devices.device import ALONE, Capacity, Partial, Sink, Turn
from orlop.devices.llamacpp_calls import goes_on as is_plain
from orlop.drivers import stoppable
from orlop.drivers.naps import Naps
from orlop.drivers.watched import Watched
from orlop.wire.token_trace import TokenTrace

HARMLESS: Final = frozenset(
    (
        "add_generation_prompt",
        "add_special_tokens",
        "allowed_token_ids",
        "chat_template_kwargs",
        "ignore_eos",
        "metadata",
        "min_p",
        "reasoning_effort",
        "repetition_penalty",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "stop_token_ids",
        "store",
        "top_k",
        "user",
        "verbosity",
    )
)
"""Fields of a server's own that say nothing of an answer that its tokens don't tell, or matter only
until the prompt is made.  (What is repeated is counted over prompt and answer alike.)"""


def goes_on(call: Infer) -> bool:
    """Whether its answer, cut at a token, goes on as if never cut, given as one long prompt."""
    sampling = call.sampling
    return (
        is_plain(call)
        and not sampling.stop
        and not sampling.presence_penalty
        and not sampling.frequency_penalty
        and not call.suffix
        and not call.echo
        # Nobody says how long the answer to such a prompt may get: servers have an own default.
        and (call.prompt is None or call.output_tokens_max is not None)
        and HARMLESS.issuperset(call.extra)
    )


def may_stop(call: Infer, turn: Turn, sink: Sink | None, *, goes_on: bool) -> bool:
    """Whether to look out for a stop.  An answer that nobody reads along is asked for whole where
    it could not be gone on with: each of its pieces would have to be read here."""
    if turn.so_far is not None:
        return True
    return turn.yield_now is not None and call.sampling.n == 1 and (sink is not None or goes_on)


Text: TypeAlias = Callable[[Sequence[int]], Awaitable[str]]


class Told:
    """`Words` of one leg of a call.

    goes_on: whether it does on this server.  text: what ids say, where the server is to be asked
    for that before they are believed.
    """

    def __init__(self, so_far: Partial | None, *, goes_on: bool, text: Text | None = None) -> None:
        self._prompt = so_far.prompt if so_far is not None else ()
        self._goes_on = goes_on
        self._text = text
        self._trace = TokenTrace()

    @property
    def trace(self) -> TokenTrace | None:
        """What is to be asked for; None: nothing could be gone on with."""
        return self._trace if self._goes_on else None

    @property
    def tells_more(self) -> bool:
        """It has told the ids of all that it has said."""
        return self._trace.is_told

    def goes_on(self, call: Infer) -> bool:
        return self._goes_on

    async def prompt(self, call: Infer) -> tuple[int, ...]:
        if not self._prompt and not self._trace.prompt:
            raise DeviceFailed("the server has not told its prompt's token ids")
        return self._prompt or self._trace.prompt

    async def said(self, pieces: Sequence[str]) -> tuple[int, ...] | None:
        ids = self._trace.said
        if ids is None or self._text is None:
            return ids
        return ids if await self._text(ids) == "".join(pieces) else None


class TellsIds(Watched):
    """A server that naps and, from some version on, tells token ids.

    Drivers say how one call is sent, and set `_tells_ids` when they have looked.
    """

    _naps: Naps
    _kv_tokens: int | None = None
    _may_continue = True
    _tells_ids = False

    def capacity(self) -> Capacity:
        continues = self._tells_ids and self._may_continue
        return Capacity(slots=self.slots, kv_tokens=self._kv_tokens, continues=continues)

    def goes_on(self, call: Infer) -> bool:
        return goes_on(call)

    @property
    def residence(self) -> Naps:
        return self._naps

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        ends_s = self._clock.now_s() + deadline_s
        await self._naps.wake_for_call(deadline_s)
        goes_on = self._tells_ids and self.goes_on(call)
        if not may_stop(call, turn, sink, goes_on=goes_on):
            return await self._sent(call, model, sink, ends_s, turn, None)
        told = Told(turn.so_far, goes_on=goes_on, text=self._said_by)

        async def ask(one: Infer, pass_on: Sink) -> Generated:
            one = self._bounded(one, model)
            return await self._sent(one, model, pass_on, ends_s, turn, told.trace)

        try:
            return await stoppable.infer(call, turn, sink, ask, told)
        finally:
            self._tells_ids = self._tells_ids and told.tells_more

    @property
    def _said_by(self) -> Text | None:
        """As `Told` is given it."""
        return None

    def _bounded(self, call: Infer, model: ModelName) -> Infer:
        """With an end of its own, where the server's would be another for token ids."""
        return call

    def _left_s(self, ends_s: float) -> float:
        return max(0.001, ends_s - self._clock.now_s())

    @abstractmethod
    async def _sent(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        ends_s: float,
        turn: Turn,
        trace: TokenTrace | None,
    ) -> Generated:
        """One call to the server, and its whole answer."""


def version(said: str) -> tuple[int, ...]:
    """As far as it is numbers: `0.32.0+cpu` is (0, 32, 0)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", said)
    return tuple(int(part) for part in found[1].split(".")) if found is not None else ()
