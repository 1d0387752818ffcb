"""One engine, or one tool, as the scheduler plans with it."""

import math
from dataclasses import dataclass, field
from typing import Final

from orlop.devices.device import Capacity
from orlop.devices.speed import GUESS
from orlop.sched.gate import Gate
from orlop.sched.line import Pool
from orlop.sched.residency import Shelf
from orlop.sched.work import Used, Work

LEARN: Final = 1 / 16
"""Of each observation, in a smoothed number."""

ANSWER_FACTOR: Final = 2.0
"""Answers are held up by prompts: so many times longer than alone they may take."""

FREE_SHARE: Final = 1 / 16
"""Calls that make the step of a token longer by no more than this share hold nobody up."""


@dataclass(eq=False, slots=True)
class Counts:
    """For people; nothing is decided by them."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    wasted_tokens: int = 0
    preempted: int = 0


@dataclass(eq=False, slots=True)
class Station:
    """`running`: calls by arrival."""

    name: str
    capacity: Capacity
    gate: Gate
    shelf: Shelf
    attached: bool = True
    running: dict[Work, None] = field(default_factory=dict)
    pools: list[Pool] = field(default_factory=list)
    yielding: set[Work] = field(default_factory=set)
    """Running calls that were asked to give their seat back."""
    grants: int = 0
    call_s: float = 1.0
    """Smoothed seconds that a call holds its seat."""
    token_s: float = 0.0
    """The same, divided by the tokens that it wrote."""
    read_s: float = float("-inf")
    """When the prompts that were let on will have been read, as its speed tells."""
    reading: Work | None = None
    """The last of them."""
    prompt_s: float = 0.0
    """Smoothed seconds of reading a prompt, and of writing an answer, as its speed tells."""
    answer_s: float = 0.0
    interactive_s: float = float("-inf")
    """When an interactive call was last seen."""
    counts: Counts = field(default_factory=Counts)

    @property
    def is_wanted(self) -> bool:
        """Some call waits that it could serve."""
        return self.waiting > 0

    @property
    def waiting(self) -> int:
        return sum([pool.waiting for pool in self.pools])

    def isolated_s(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """What a call takes that is alone on the engine."""
        if not input_tokens and not output_tokens:
            return 0.0
        speed = self.capacity.speed
        context = input_tokens + output_tokens // 2
        prefill_s = speed.prefill_s(input_tokens - cached_tokens, cached_tokens)
        return prefill_s + output_tokens * speed.decode_s(1, context)

    def decode_s(self, tokens: int) -> float:
        """A token of a call of `tokens` that joins those that run."""
        gate = self.gate
        return self.capacity.speed.decode_s(gate.running + 1, gate.kv_used + tokens)

    def forecast_s(self, input_tokens: int, tokens: int) -> tuple[float, float]:
        """Seconds from its start to a call's first token, and between two: as its speed says, or,
        of an engine whose speed nobody knows, as calls have shown."""
        if self.capacity.speed is GUESS:
            return 0.0, self.token_s
        return self.isolated_s(input_tokens, 0, 0), self.decode_s(tokens)

    def service_s(self, used: Used) -> float:
        """Engine seconds that a call took: its prefill, and its share of the decode steps."""
        prompt_s, answer_s = self._parts_s(used)
        return prompt_s + answer_s / max(1, self.gate.running)

    def _parts_s(self, used: Used) -> tuple[float, float]:
        """Of reading its prompt, and of the decode steps of its answer, as the speed tells."""
        gate, speed = self.gate, self.capacity.speed
        new = max(0, used.input_tokens - used.cached_tokens)
        step_s = speed.decode_s(max(1, gate.running), max(gate.kv_used, used.input_tokens))
        return speed.prefill_s(new, used.cached_tokens), used.output_tokens * step_s

    @property
    def useful(self) -> float:
        """Calls at once that it can make use of: one is read, and meanwhile so many answer as are
        read while one does (Little's law).  More would only hold up the others' answers, but on an
        accelerator, where a step for many takes hardly longer than for one."""
        if not self.prompt_s:
            return math.inf
        step_s = self.capacity.speed.decode_s(1, 0)
        each_s = self.capacity.speed.decode_s(2, 0) - step_s
        if each_s * self.gate.running <= FREE_SHARE * step_s:
            return math.inf
        return 1 + max(1, math.ceil(ANSWER_FACTOR * self.answer_s / self.prompt_s))

    def reads(self, work: Work, cached_tokens: int, now_s: float) -> None:
        """A prompt is let on; engines read them one after another.  Nothing is known of engines
        whose speed nobody knows."""
        if self.capacity.speed is GUESS:
            return
        new = max(0, work.input_tokens - cached_tokens)
        took_s = self.capacity.speed.prefill_s(new, cached_tokens)
        self.read_s, self.reading = max(now_s, self.read_s) + took_s, work

    def has_read(self, work: Work, now_s: float) -> None:
        """Its call is over: if it was the last, nothing is left to read."""
        if work is self.reading:
            self.read_s, self.reading = min(now_s, self.read_s), None

    def observe(self, used: Used, held_s: float) -> None:
        self.call_s += (held_s - self.call_s) * LEARN
        counts = self.counts
        if used.output_tokens and self.capacity.speed is not GUESS:
            self._learn_parts(used)
        if used.output_tokens:
            each_s = held_s / used.output_tokens
            self.token_s += (each_s - self.token_s) * (LEARN if self.token_s else 1.0)
        counts.calls += 1
        counts.input_tokens += used.input_tokens
        counts.cached_tokens += used.cached_tokens
        counts.output_tokens += used.output_tokens
        counts.preempted += used.preempted

    def _learn_parts(self, used: Used) -> None:
        prompt_s, answer_s = self._parts_s(used)
        rate = LEARN if self.prompt_s else 1.0
        self.prompt_s += (prompt_s - self.prompt_s) * rate
        self.answer_s += (answer_s - self.answer_s) * rate
