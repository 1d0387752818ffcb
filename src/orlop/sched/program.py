"""Programs, the unit of scheduling, and their contexts, the unit of residency.

Invariants:
1. a context's state changes by `step` alone;
2. a context is REASONING exactly while a call of its own runs;
3. a program is forgotten only when none of its calls waits or runs.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from orlop.abi.errors import Broken
from orlop.sched.beginnings import Beginning
from orlop.sched.work import Work


class State(StrEnum):
    REASONING = "reasoning"
    """A call of it runs."""
    ACTING = "acting"
    """It is away using a tool, or is back and waits; its context has its place, which fades."""
    PAUSED = "paused"
    """Its context has lost its place, and must be admitted anew."""
    HIBERNATED = "hibernated"
    """It is new, or has been away for long: nothing is kept for it on any device."""


TRANSITIONS: Final[Mapping[tuple[State, str], State]] = {
    (State.HIBERNATED, "admit"): State.REASONING,
    (State.PAUSED, "admit"): State.REASONING,
    (State.ACTING, "admit"): State.REASONING,
    (State.REASONING, "rest"): State.ACTING,
    (State.ACTING, "pause"): State.PAUSED,
    (State.ACTING, "hibernate"): State.HIBERNATED,
    (State.PAUSED, "hibernate"): State.HIBERNATED,
}


def step(state: State, event: str) -> State:
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Broken(f"a context that is {state} can't {event}") from None


@dataclass(eq=False, slots=True)
class Context:
    """One conversation.  `engine`: where it lies, or lay last."""

    name: str
    program: "Program"
    state: State = State.HIBERNATED
    engine: str = ""
    tokens: int = 0
    head: int = 0
    """Names the beginning that it has in common with other programs' contexts; 0: none."""
    head_tokens: int = 0
    held: int = 0
    """Tokens that its engine counts for it alone while it is held; when ACTING, as of `since_s`."""
    shares: Beginning | None = None
    """The beginning that is counted beside `held`."""
    there: int = 0
    """Tokens of it believed to lie on its engine or on that one's host."""
    since_s: float = 0.0
    rests_on: object = None
    """The shelf that it rested on last; within one moment it may have rested on two."""
    running: int = 0
    waiting: int = 0
    path_s: float = 0.0
    """Engine seconds of its program's critical path, up to the end of its last call."""
    tool: str = ""
    """That its program is away with; empty: a human's turn."""
    rested_s: float = 0.0
    is_away: bool = False
    """Since `rested_s`, by its own will: how long is worth learning."""
    gap_hint_s: float | None = None

    @property
    def held_now(self) -> int:
        """Tokens that its running calls hold already, with the beginning that they share."""
        if self.state is not State.REASONING:
            return 0
        return self.held + (self.shares.tokens if self.shares is not None else 0)

    def lies(self, tokens: int) -> None:
        """So many are on its engine or on that one's host.  Who has lost all, or has some again,
        stands elsewhere in the order."""
        is_other = (tokens > 0) != (self.there > 0)
        self.there = tokens
        if is_other:
            self.program.refresh()

    def step(self, event: str, now_s: float) -> None:
        self.state = step(self.state, event)
        self.since_s = now_s


class Ordered(Protocol):
    """A place where programs with waiting calls stand in order."""

    def refresh(self, program: "Program") -> None:
        """What its order depends on has changed."""
        ...


@dataclass(eq=False, slots=True)
class Program:
    name: str
    tenant: str
    agent: str
    head: int = 0
    """Names the beginning of its first call."""
    contexts: dict[str, Context] = field(default_factory=dict)
    attained_s: float = 0.0
    """Engine seconds along its critical path: calls in parallel count once."""
    work_s: float = 0.0
    """Engine seconds of all its calls."""
    running_s: float = 0.0
    """Estimated engine seconds of the calls that run now: nobody is young who is being served."""
    isolated_s: float = 0.0
    """What its calls would have taken alone."""
    waited_s: float = 0.0
    """Seconds that its calls have waited for seats, in all."""
    owed_s: float = 0.0
    """Of that, since a call of it was last let on before its turn."""
    running: int = 0
    waiting: int = 0
    calls: int = 0
    first_s: float = 0.0
    """When its first call came, and its last."""
    seen_s: float = 0.0
    lines: set[Ordered] = field(default_factory=set)
    """Where calls of it wait."""
    is_ended: bool = False
    predicted_s: float | None = None
    """Of its whole work, as predicted when it began."""

    def refresh(self) -> None:
        """What its order depends on has changed."""
        for line in tuple(self.lines):
            line.refresh(self)

    def context(self, work: Work) -> Context:
        """Of a call of it that is in flight."""
        return self.contexts[work.context or work.process]

    @property
    def is_idle(self) -> bool:
        return self.running == 0 and self.waiting == 0

    @property
    def largest(self) -> Context | None:
        return max(self.contexts.values(), key=lambda context: context.tokens, default=None)

    @property
    def state(self) -> State:
        """That of its liveliest context."""
        states = {context.state for context in self.contexts.values()}
        return next((state for state in State if state in states), State.HIBERNATED)


class ProgramTable:
    """Programs by name, the least recently active first; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._orders = 0
        self._contexts: dict[str, Context] = {}

    def __len__(self) -> int:
        return len(self._programs)

    def get(self, name: str) -> Program | None:
        return self._programs.get(name)

    def take(self, work: Work, now_s: float) -> Context:
        """The context that `work` goes on with, and its program, new if need be."""
        name = work.program or work.process
        program = self._programs.get(name)
        if program is None:
            program = Program(name, work.tenant, work.agent, first_s=now_s)
            self._programs[name] = program
        else:
            self._programs.move_to_end(name)
        program.seen_s = now_s
        own = work.context or work.process
        context = program.contexts.get(own)
        if context is None:
            context = program.contexts[own] = Context(own, program, since_s=now_s)
            context.path_s = program.attained_s
            self._contexts[own] = context
        return context

    def named(self, context: str) -> Context | None:
        """The context of that name, whosever it is."""
        return self._contexts.get(context)

    def drop(self, context: Context) -> None:
        """Of a program that goes on."""
        context.program.contexts.pop(context.name, None)
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    def context(self, work: Work) -> Context:
        """Of a call that is in flight."""
        program = self._programs.get(work.program or work.process)
        if program is None:
            raise Broken(f"the program of a call of {work.process} is forgotten")
        return program.context(work)

    def next_order(self) -> int:
        """Numbers calls in the order of their arrival."""
        self._orders += 1
        return self._orders

    def overdue(self) -> Program | None:
        """The oldest idle program, while there are too many."""
        if len(self._programs) <= self._limit:
            return None
        return next((each for each in self._programs.values() if each.is_idle), None)

    def forget(self, program: Program) -> None:
        self._programs.pop(program.name, None)
        for context in tuple(program.contexts.values()):
            if self._contexts.get(context.name) is context:
                del self._contexts[context.name]

    def newest(self, count: int) -> list[Program]:
        found: list[Program] = []
        for program in reversed(self._programs.values()):
            if len(found) == count:
                break
            found.append(program)
        return found

    def states(self) -> Counter[State]:
        return Counter(program.state for program in self._programs.values())
