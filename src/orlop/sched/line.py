"""Calls that wait, in order: tenants take turns, then programs by the policy's key, then arrival.

A `Pool` holds the calls that the same engines can serve.  It has one `Line` a latency class, or a
single one where the policy has no bands.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from heapq import heappop, heappush

from orlop.sched.heap import Heap, Key
from orlop.sched.history import History
from orlop.sched.policy import Policy
from orlop.sched.program import Program
from orlop.sched.work import Phase, Work


@dataclass(eq=False, slots=True)
class Tenant:
    """`virtual`: token-seconds of engine memory it has had, over its weight > 0."""

    name: str
    weight: float = 1.0
    virtual: float = 0.0
    waiting: int = 0
    running: int = 0
    lines: set["Line"] = field(default_factory=set)
    """Where calls of it wait."""


class Line:
    """Calls of one band."""

    def __init__(self, band: int, policy: Policy, history: History, quantum_s: float) -> None:
        self.band = band
        self.policy = policy
        self._history = history
        self._quantum_s = quantum_s
        self._everyone = Tenant("")
        """Whose all programs are where tenants do not take turns."""
        self._tenants: Heap[Tenant] = Heap()
        self._programs: dict[Tenant, Heap[Program]] = {}
        self._works: dict[Program, OrderedDict[Work, None]] = {}
        self._owner: dict[Program, Tenant] = {}
        self.count = 0

    def push(self, work: Work, program: Program, tenant: Tenant, *, first: bool = False) -> None:
        """first: it was taken from the head and goes back there."""
        works = self._works.get(program)
        if works is None:
            works = self._works[program] = OrderedDict()
            self._owner[program] = tenant if self.policy.shares else self._everyone
            program.lines.add(self)
        is_late = bool(works) and next(reversed(works)).order > work.order
        works[work] = None
        if first:
            works.move_to_end(work, last=False)
        elif is_late:  # It waited elsewhere before.
            for other in sorted(works, key=lambda one: one.order):
                works.move_to_end(other)
        self.count += 1
        self.refresh(program)

    def remove(self, work: Work, program: Program) -> None:
        works = self._works.get(program)
        if works is None or work not in works:
            return
        del works[work]
        self.count -= 1
        tenant = self._owner[program]
        if works:
            self.refresh(program)
            return
        del self._works[program], self._owner[program]
        program.lines.discard(self)
        programs = self._programs[tenant]
        programs.discard(program)
        if not programs:
            del self._programs[tenant]
            self._tenants.discard(tenant)
            tenant.lines.discard(self)

    def refresh(self, program: Program) -> None:
        """Its key may have changed: it has been served, or its oldest call is another."""
        tenant, works = self._owner[program], self._works[program]
        head = next(iter(works))
        programs = self._programs.get(tenant)
        if programs is None:
            programs = self._programs[tenant] = Heap()
            tenant.lines.add(self)
            self.retell(tenant)
        key = self.policy.key(head, program, self._history, self._quantum_s)
        context = program.contexts[head.context or head.process]
        away = 0 if context.there else self.policy.levels_away
        programs.put(program, (key + away, program.running, head.order))

    def retell(self, tenant: Tenant) -> None:
        """Its virtual time has changed."""
        self._tenants.put(tenant, (tenant.virtual,))

    def head_key(self) -> Key:
        """Of the first call; somebody waits."""
        head = self.head()
        assert head is not None
        return head[0]

    def first(self) -> Work:
        """Somebody waits."""
        head = self.head()
        assert head is not None
        return head[1]

    def head(self) -> tuple[Key, Work] | None:
        """The first call and the key of its place, band first."""
        top = self._tenants.peek()
        if top is None:
            return None
        turn, tenant = top
        found = self._programs[tenant].peek()
        assert found is not None
        key, program = found
        return (self.band, *turn, *key), next(iter(self._works[program]))


class Pool:
    """Calls that the same engines can serve."""

    def __init__(self, engines: tuple[str, ...]) -> None:
        self.engines = engines
        self.lines: dict[int, Line] = {}
        self.waiting = 0
        self._impatient: list[tuple[float, int, Work]] = []
        """A heap: when each call is to be promoted.  What waits no more stays until it is met."""

    def promote_at(self, work: Work, at_s: float) -> None:
        heappush(self._impatient, (at_s, work.order, work))

    def impatient_s(self, after_s: float) -> float:
        """When the first call runs out of patience, unless that is known already."""
        found = self.impatient()
        return found[0] if found is not None and found[0] > after_s else math.inf

    def impatient(self) -> tuple[float, Work] | None:
        """The call that waits and will be, or was, the first to be promoted; and when."""
        while self._impatient:
            at_s, _, work = self._impatient[0]
            if work.phase is Phase.WAITING and work.candidates == self.engines:
                return at_s, work
            heappop(self._impatient)
        return None
