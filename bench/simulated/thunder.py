"""ThunderAgent (arXiv 2602.13692) as a dispatcher, with the defaults of Dynamo's port of it.

A program is REASONING (a call on the engine), ACTING (away for a tool) or PAUSED.  Every 5 s, where
the contexts of an engine's programs (those of acting ones halved every second) exceed 95 % of what
it holds (device and host), programs are paused until 80 % is left: acting ones first, smallest
first; reasoning ones when their call ends.  Paused programs wait in one queue for all engines and
are resumed, those that fit best (largest) first, while 85 % is not passed; after 1,800 s anyway.
"""

from dataclasses import dataclass

from bench.simulated.baselines import Passthrough
from orlop.devices.model_calls import Ended
from orlop.operate.plan.replay import Call, Fleet, Program

PAUSE, TARGET, HYSTERESIS = 0.95, 0.80, 0.10
DECAY_S, TICK_S, FORCED_S = 1.0, 5.0, 1800.0


@dataclass(eq=False, slots=True)
class Entry:
    """What it knows of one program.  `engine` is -1 while it is paused."""

    program: Program
    context: int
    engine: int = -1
    is_reasoning: bool = False
    is_marked: bool = False
    """Pause when its call ends."""
    since_s: float = 0.0
    """In this state."""
    call: Call | None = None
    """That waits for a resume."""


class ThunderAgent(Passthrough):
    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._entries: dict[int, Entry] = {}
        self._tick_s = TICK_S

    def enter(self, call: Call, now_s: float) -> None:
        entry = self._entries.get(call.program.number)
        if entry is None:
            entry = self._entries[call.program.number] = Entry(call.program, 0, since_s=now_s)
        entry.context = call.step.prompt + call.step.output
        entry.call = call
        if entry.engine >= 0:
            self._go(entry, now_s)
        else:
            self._resume(now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        entry = self._entries[call.program.number]
        entry.is_reasoning, entry.since_s = False, now_s
        if entry.is_marked:
            self._pause(entry, now_s)

    def program_ended(self, program: Program, now_s: float) -> None:
        del self._entries[program.number]
        self._resume(now_s)

    def next_s(self) -> float:
        return self._tick_s if self._entries else float("inf")

    def wake(self, now_s: float) -> None:
        self._tick_s = now_s + TICK_S
        for index in range(len(self.fleet.engines)):
            self._relieve(index, now_s)
        self._resume(now_s)

    def _room(self, index: int) -> int:
        memory = self.fleet.engines[index].memory
        return memory.kv_tokens + memory.host.tokens_max

    def _used(self, index: int, now_s: float) -> float:
        used = 0.0
        for entry in self._entries.values():
            if entry.engine == index:
                away_s = 0.0 if entry.is_reasoning else now_s - entry.since_s
                used += entry.context * 0.5 ** (away_s / DECAY_S)
        return used

    def _relieve(self, index: int, now_s: float) -> None:
        room = self._room(index)
        used = self._used(index, now_s)
        if used <= PAUSE * room:
            return
        mine = [entry for entry in self._entries.values() if entry.engine == index]
        for entry in sorted(mine, key=lambda entry: (entry.is_reasoning, entry.context)):
            if used <= TARGET * room:
                return
            if entry.is_reasoning:
                if entry.is_marked:
                    continue
                entry.is_marked = True
            else:
                self._pause(entry, now_s)
            used -= entry.context

    def _pause(self, entry: Entry, now_s: float) -> None:
        entry.engine, entry.is_marked, entry.since_s = -1, False, now_s

    def _go(self, entry: Entry, now_s: float) -> None:
        assert entry.call is not None
        entry.is_reasoning, entry.since_s = True, now_s
        call, entry.call = entry.call, None
        self.fleet.submit(call, entry.engine, now_s)

    def _resume(self, now_s: float) -> None:
        """Only programs with a call to serve are worth their room."""
        paused = [e for e in self._entries.values() if e.engine < 0 and e.call is not None]
        if not paused:
            return
        used = [self._used(index, now_s) for index in range(len(self.fleet.engines))]
        paused.sort(key=lambda e: (now_s - e.since_s < FORCED_S, -e.context))
        for entry in paused:
            able = self.fleet.eligible(entry.program.task)
            best = min(able, key=lambda index: used[index] / self._room(index))
            limit = (PAUSE - HYSTERESIS) * self._room(best)
            fits = used[best] + entry.context <= limit or used[best] == 0
            if fits or now_s - entry.since_s >= FORCED_S:
                entry.engine = best
                used[best] += entry.context
                self._go(entry, now_s)
