"""Step times of a live engine, measured from outside: to first token, and between tokens.

Prompts are words by chance, so that no cache knows them; a prefix is one that the engine has just
served.  Calls run one after the other (prefill) or so many at once (decode).  Each point is the
median of a few calls; the engine should have nothing else to do.
"""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Delta, Generated
from orlop.devices.calibration import Calibration, Row
from orlop.devices.device import Engine, Turn
from orlop.devices.fit import calibration
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock

LENGTHS: Final = (64, 256, 1_024, 4_096, 16_384)
"""Tokens computed, or before them, or of context; as far as the engine's window goes."""
BATCHES: Final = (1, 2, 4, 8, 16, 32)
"""As far as the engine has slots."""
OUTPUT_TOKENS: Final = 32
SPARE_TOKENS: Final = 64
"""Beside a prompt and its answer: what a chat's template adds."""
WINDOW_MIN: Final = 2 * (LENGTHS[1] + OUTPUT_TOKENS + SPARE_TOKENS)
"""Two lengths are needed, each with as much before it."""
TOKENS_MIN: Final = 8
"""Of an answer; a shorter one tells nothing of decoding."""
ROUNDS: Final = 3
"""Calls, or batches of them, a point."""
DEADLINE_S: Final = 600.0
VOCABULARY: Final = (
    "order",
    "river",
    "seven",
    "table",
    "window",
    "market",
    "yellow",
    "garden",
    "winter",
    "paper",
    "silver",
    "music",
    "doctor",
    "bridge",
    "letter",
    "orange",
    "butter",
    "corner",
    "family",
    "number",
    "engine",
    "summer",
    "people",
    "forest",
    "island",
    "castle",
)
WARM_WORDS: Final = 64

Report = Callable[[str, int, int], object]


@dataclass(slots=True)
class Timed:
    """One call.  Seconds since it was sent."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    times_s: list[float] = field(default_factory=list)

    @property
    def step_s(self) -> float:
        """Between tokens."""
        return (self.times_s[-1] - self.times_s[0]) / max(1, self.output_tokens - 1)


class Calibrator:
    """One engine, started, and one of its models."""

    def __init__(
        self,
        engine: Engine,
        model: ModelName,
        *,
        clock: Clock,
        chance: Chance,
        window_tokens: int,
        rounds: int = ROUNDS,
    ) -> None:
        self._engine = engine
        self._model = model
        self._clock = clock
        self._chance = chance
        self._window = window_tokens
        self._rounds = rounds
        self._tokens_per_word = 1.5
        self._overhead = 0

    async def measure(self, report: Report) -> Calibration:
        """Raises `DeviceFailed` where the engine's answers are of no use."""
        await self._learn_words()
        lengths = [n for n in LENGTHS if n + OUTPUT_TOKENS + SPARE_TOKENS <= self._window / 2]
        if len(lengths) < 2:
            raise DeviceFailed(
                f"{self._engine.name} has a window of {self._window} tokens: too small to measure; "
                f"{WINDOW_MIN} at least"
            )
        batches = [n for n in BATCHES if n <= self._engine.slots]
        points = len(lengths) * (len(lengths) + 1) + len(batches) * len(lengths)
        done = 0
        prefill: list[Row] = []
        decode: list[Row] = []
        for new in lengths:
            for prefix in (0, *lengths):
                prefill.append((new, prefix, await self._prefill_ms(new, prefix)))
                report("points", done := done + 1, points)
        for batch in batches:
            for context in lengths:
                decode.append((batch, context, await self._decode_ms(batch, context)))
                report("points", done := done + 1, points)
        return calibration(decode, prefill)

    async def _learn_words(self) -> None:
        """Tokens of a word and of what the engine adds, from two prompts; warms it, too."""
        few = await self._timed(self._words(WARM_WORDS), 1)
        many = await self._timed(self._words(5 * WARM_WORDS), 1)
        if many.input_tokens <= few.input_tokens:
            raise DeviceFailed(
                f"{self._engine.name} says that {WARM_WORDS} words are {few.input_tokens} tokens"
                f" and {5 * WARM_WORDS} words {many.input_tokens}: its usage can't be used"
            )
        self._tokens_per_word = (many.input_tokens - few.input_tokens) / (4 * WARM_WORDS)
        self._overhead = max(0, round(few.input_tokens - WARM_WORDS * self._tokens_per_word))

    async def _prefill_ms(self, new: int, prefix: int) -> float:
        found = []
        for _ in range(self._rounds):
            head = self._prompt(prefix, self._overhead) if prefix else ""
            turn = Turn(program=f"calibrate-{self._chance.token(4).hex()}")
            if prefix:
                await self._timed(head, 1, turn)
            asked = f"{head} {self._prompt(new, 0 if prefix else self._overhead)}".strip()
            found.append((await self._timed(asked, 1, turn)).times_s[0])
        return statistics.median(found) * 1e3

    async def _decode_ms(self, batch: int, context: int) -> float:
        found: list[float] = []
        for _ in range(self._rounds):
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(
                        self._timed(
                            self._prompt(context, self._overhead),
                            OUTPUT_TOKENS,
                            Turn(program=f"calibrate-{self._chance.token(4).hex()}"),
                        )
                    )
                    for _ in range(batch)
                ]
            calls = [task.result() for task in running]
            found += _together(calls)
        if not found:
            raise DeviceFailed(
                f"{self._engine.name} ends its answers before {TOKENS_MIN} tokens: nothing to time"
            )
        return statistics.median(found) * 1e3

    def _prompt(self, tokens: int, overhead: int) -> str:
        return self._words(max(1, round((tokens - overhead) / self._tokens_per_word)))

    def _words(self, count: int) -> str:
        draw = self._chance.uniform
        return " ".join(VOCABULARY[int(draw() * len(VOCABULARY))] for _ in range(count))

    async def _timed(self, text: str, output_tokens: int, turn: Turn | None = None) -> Timed:
        timed, began_s = Timed(), self._clock.now_s()

        def note(delta: Delta) -> None:
            if delta.text or delta.reasoning:
                timed.times_s.append(self._clock.now_s() - began_s)

        call = Infer(
            model=self._model,
            messages=(Message("user", text),),
            output_tokens_max=output_tokens,
            sampling=Sampling(temperature=0.0),
            stream=True,
        )
        answer: Generated = await self._engine.infer(
            call, self._model, note, DEADLINE_S, turn or Turn()
        )
        timed.input_tokens = answer.usage.input_tokens
        timed.cached_tokens = answer.usage.cached_tokens
        timed.output_tokens = answer.usage.output_tokens
        if not timed.times_s:
            # An answer without a visible piece still took its time.
            timed.times_s.append(self._clock.now_s() - began_s)
        return timed


def _together(calls: Sequence[Timed]) -> list[float]:
    """Seconds a step of those that were long enough, while all of them decoded."""
    began_s = max(call.times_s[0] for call in calls)
    ended_s = min(call.times_s[-1] for call in calls)
    found = []
    for call in calls:
        inside = [at_s for at_s in call.times_s if began_s <= at_s <= ended_s]
        if len(inside) >= TOKENS_MIN:
            pieces = max(1.0, call.output_tokens / len(call.times_s))
            found.append((inside[-1] - inside[0]) / (len(inside) - 1) / pieces)
    if not found:
        # They did not overlap: each for itself is all that there is.
        found = [call.step_s for call in calls if call.output_tokens >= TOKENS_MIN]
    return found
