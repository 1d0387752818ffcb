"""An engine that takes as long as a real one would: the engine model behind a driver's face.

In real or virtual time; what it answers is arithmetic, as the fake engine's answers are.  It has a
prefix cache, runs out of memory, continues what was cut short, and says of itself what vLLM says in
its metrics.  So the whole kernel can be tried on hardware that is not here.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, Health, ModelCard
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Choice, Embedded, Generated
from orlop.devices.device import (
    ALONE,
    Capacity,
    EngineLoad,
    Partial,
    Preempted,
    Sink,
    Turn,
)
from orlop.devices.fake_answers import answer, content_of, deltas_of, tokens_in, words_in
from orlop.devices.model import EngineModel
from orlop.devices.model_calls import Ended, Job
from orlop.devices.plain import Plain
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner
from orlop.wire.portable import to_openai

CHAINS_MAX: Final = 1_024
"""Programs whose last prompt is remembered, to know what the next one repeats."""


class _Inside:
    """One call on the model."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended: Ended | None = None
        self.is_lost = False
        self.news = asyncio.Event()


class ModelledEngine(Plain):
    """An `Engine`.  `tokens`: of an answer whose caller names no length."""

    def __init__(
        self,
        name: EngineName,
        capacity: Capacity,
        *,
        clock: Clock,
        model: str = "modelled",
        tokens: int = 200,
        window_tokens: int | None = None,
    ) -> None:
        self._name = name
        self._model = ModelName(model)
        self._tokens = tokens
        self._window = window_tokens
        self._clock = clock
        self._engine = EngineModel(capacity)
        self._inside: dict[int, _Inside] = {}
        self._numbers = 0
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._tasks = TaskOwner(f"{name} in time")
        self._changed = asyncio.Event()
        self._health: Health = "starting"

    @property
    def name(self) -> EngineName:
        return self._name

    @property
    def slots(self) -> int:
        return self._engine.capacity.slots

    def capacity(self) -> Capacity:
        return self._engine.capacity

    def load(self) -> EngineLoad:
        memory = self._engine.memory
        return EngineLoad(
            running=self._engine.running,
            waiting=self._engine.queued,
            kv_usage=min(1.0, memory.held / memory.kv_tokens),
            preemptions=self._engine.count.preemptions,
            seen_s=self._clock.now_s(),
        )

    def card(self) -> EngineCard:
        return EngineCard(
            name=self._name,
            driver="modelled",
            slots=self.slots,
            health=self._health,
            models=(self._model,),
            running=self._engine.running,
            waiting=self._engine.waiting,
            continues=self.capacity().continues,
        )

    async def start(self) -> None:
        self._health = "ready"
        self._tasks.start(self._keep_time())

    async def models(self) -> Sequence[ModelCard]:
        tokens = self._window or self._engine.capacity.kv_tokens
        return (ModelCard(name=self._model, engine=self._name, context_tokens=tokens),)

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        if self._health != "ready":
            raise DeviceFailed(f"{self._name} is {self._health}")
        if model != self._model:
            raise DeviceRefused(f"{self._name} has no chat model `{model}`")
        call = to_openai(call)
        content, input_tokens = content_of(call)
        wanted = call.hints.output_tokens or self._tokens
        choices = tuple(answer(call, content, index, wanted) for index in range(call.sampling.n))
        job = self._job(call, turn, choices, input_tokens)
        inside = self._inside[job.id] = _Inside(job.id)
        self._engine.submit(job, self._clock.now_s())
        self._changed.set()
        try:
            end = await self._follow(inside, job, choices, sink, turn)
        finally:
            del self._inside[job.id]
        return _generated(self._model, choices, input_tokens, end)

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        raise DeviceRefused(f"{self._name} models no embeddings")

    async def close(self) -> None:
        self._health = "gone"
        await self._tasks.close()
        self._lose()

    def fail(self) -> None:
        """The engine is lost with all that runs and lies there, and is back at once."""
        self._engine.fail(self._clock.now_s())
        self._lose()

    def _lose(self) -> None:
        for inside in self._inside.values():
            inside.is_lost = True
            inside.news.set()

    def _job(self, call: Infer, turn: Turn, choices: Sequence[Choice], input_tokens: int) -> Job:
        """Raises `DeviceRefused` for what can never fit."""
        so_far = turn.so_far or Partial()
        prompt = input_tokens + so_far.deltas
        output = max(1, sum(words_in(choice) for choice in choices) - so_far.deltas)
        if self._window is not None and prompt + output > self._window:
            raise DeviceRefused(
                f"{self._model} takes {self._window} tokens, and the call needs {prompt + output}"
            )
        if not self._engine.fits(prompt, output):
            raise DeviceRefused(
                f"{self._name} holds {self._engine.memory.kv_tokens} tokens, and the call needs"
                f" {prompt + output}"
            )
        self._numbers += 1
        chain = turn.program or f"call {self._numbers}"
        text = "\0".join(message.text() for message in call.messages)
        before = self._texts.pop(chain, "")
        self._texts[chain] = text
        if len(self._texts) > CHAINS_MAX:
            self._texts.popitem(last=False)
        same = _alike(before, text)
        return Job(
            id=self._numbers,
            chain=chain,
            prompt=prompt,
            output=output,
            prefix=min(tokens_in(same), prompt) if same else 0,
            urgency=turn.urgency,
        )

    async def _follow(
        self,
        inside: _Inside,
        job: Job,
        choices: Sequence[Choice],
        sink: Sink | None,
        turn: Turn,
    ) -> Ended:
        """To its end; gives pieces as they are generated.  Raises `Preempted`, `DeviceFailed`."""
        before = told = turn.so_far.deltas if turn.so_far is not None else 0
        pieces = [delta for choice in choices for delta in deltas_of(choice, 1)]
        asked = self._tasks.start(_when(turn.yield_now, inside.news)) if turn.yield_now else None
        try:
            while inside.ended is None:
                await inside.news.wait()
                inside.news.clear()
                if inside.is_lost:
                    raise DeviceFailed(f"{self._name} was lost")
                made = self._engine.generated(job.id, self._clock.now_s())
                until = len(pieces) if inside.ended else min(len(pieces), before + made)
                if sink is not None:
                    for delta in pieces[told:until]:
                        sink(delta)
                told = max(told, until)
                if inside.ended is None and turn.yield_now is not None and turn.yield_now.is_set():
                    text = "".join(delta.text for delta in pieces[:told])
                    raise Preempted(Partial(text=text, deltas=told))
            return inside.ended
        finally:
            if asked is not None:
                asked.cancel()
            if inside.ended is None and not inside.is_lost:
                self._engine.cancel(job.id, self._clock.now_s())
                self._changed.set()

    async def _keep_time(self) -> None:
        """Bring the model forward whenever something happens in it."""
        while True:
            self._changed.clear()
            for end in self._engine.advance(self._clock.now_s()):
                inside = self._inside.get(end.id)
                if inside is not None:
                    inside.ended = end
            for inside in self._inside.values():
                inside.news.set()
            wait_s = self._engine.next_s() - self._clock.now_s()
            timer = None
            if wait_s < math.inf:
                timer = self._tasks.start(self._wake_after(max(0.0, wait_s)))
            await self._changed.wait()
            if timer is not None:
                timer.cancel()

    async def _wake_after(self, wait_s: float) -> None:
        await self._clock.sleep(wait_s)
        self._changed.set()


def _alike(one: str, other: str) -> int:
    """Characters with which both begin."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if other.startswith(one[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


async def _when(asked: asyncio.Event, news: asyncio.Event) -> None:
    await asked.wait()
    news.set()


def _generated(
    model: ModelName, choices: tuple[Choice, ...], input_tokens: int, end: Ended
) -> Generated:
    return Generated(
        choices=choices,
        usage=Usage(
            input_tokens=input_tokens,
            cached_tokens=min(input_tokens, end.cached + end.restored),
            output_tokens=sum(words_in(choice) for choice in choices),
        ),
        model=model,
        fingerprint="modelled",
        prefill_s=end.first_token_s - end.began_s,
        decode_s=end.at_s - end.first_token_s,
    )
