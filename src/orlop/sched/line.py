"""Calls that wait, in order: tenants take turns, then programs by the policy's key, then arrival.

A `Pool` holds the calls that the same engines can serve.  It has one `Line` a latency class, or a
single one where the policy has no bands.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from operator import itemgetter
from typing import TypeAlias

from orlop.sched.history import History
from orlop.sched.ordered import Key, Ordered
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


Place: TypeAlias = tuple[int, Key, Key]
"""Band, the turn of the tenant, the key of the program."""

Ahead: TypeAlias = tuple[Place, "Line", Work, Program]


@dataclass(eq=False, slots=True)
class Party:
    """One program's calls in a line, the oldest first."""

    tenant: Tenant
    works: OrderedDict[Work, None] = field(default_factory=OrderedDict)
    ended: int = 0
    """Programs that the history knew of when its key was made."""


class Line:
    """Calls of one band."""

    def __init__(self, band: int, policy: Policy, history: History, quantum_s: float) -> None:
        self.band = band
        self.policy = policy
        self._history = history
        self._quantum_s = quantum_s
        self._everyone = Tenant("")
        """Whose all programs are where tenants do not take turns."""
        self._tenants: Ordered[Tenant] = Ordered()
        self._programs: dict[Tenant, Ordered[Program]] = {}
        self._parties: dict[Program, Party] = {}
        self.count = 0

    def push(self, work: Work, program: Program, tenant: Tenant) -> None:
        party = self._parties.get(program)
        if party is None:
            owner = tenant if self.policy.shares else self._everyone
            party = self._parties[program] = Party(owner)
            program.lines.add(self)
        works = party.works
        is_late = bool(works) and next(reversed(works)).order > work.order
        works[work] = None
        if is_late:  # It waited elsewhere before.
            for other in sorted(works, key=lambda one: one.order):
                works.move_to_end(other)
        self.count += 1
        self.refresh(program)

    def remove(self, work: Work, program: Program) -> None:
        party = self._parties.get(program)
        if party is None or work not in party.works:
            return
        del party.works[work]
        self.count -= 1
        if party.works:
            self.refresh(program)
            return
        tenant = party.tenant
        del self._parties[program]
        program.lines.discard(self)
        programs = self._programs[tenant]
        programs.discard(program)
        if not programs:
            del self._programs[tenant]
            self._tenants.discard(tenant)
            tenant.lines.discard(self)

    def refresh(self, program: Program) -> None:
        """Its key may have changed: it has been served, or its oldest call is another."""
        party = self._parties[program]
        party.ended = self._history.ended_count
        programs = self._programs.get(party.tenant)
        if programs is None:
            programs = self._programs[party.tenant] = Ordered()
            party.tenant.lines.add(self)
            self.retell(party.tenant)
        programs.put(program, self._key(next(iter(party.works)), program))

    def _key(self, work: Work, program: Program) -> Key:
        key = self.policy.key(work, program, self._history, self._quantum_s)
        away = 0 if program.context(work).there else self.policy.levels_away
        return key + away, program.running, work.order

    def retell(self, tenant: Tenant) -> None:
        """Its virtual time has changed."""
        self._tenants.put(tenant, (tenant.virtual,))

    def first(self) -> Work | None:
        return next((work for _, _, work, _ in self.ahead(1)), None)

    def ahead(self, count: int) -> Iterator[Ahead]:
        """Who is let on next: at least so many, where so many wait.  None is taken out."""
        ended = self._history.ended_count
        for turn, _, tenant in self._tenants.first(count):
            for key, work, program, party in self._of(tenant, count):
                if party.ended != ended:
                    self.refresh(program)  # More is known of its kind: for the next time.
                yield (self.band, turn, key), self, work, program

    def _of(self, tenant: Tenant, count: int) -> Iterable[tuple[Key, Work, Program, Party]]:
        """A tenant's calls in order, of at least so many programs if there are as many."""
        found = [
            (key, next(iter(party.works)), program, party)
            for key, _, program in self._programs[tenant].first(count)
            for party in (self._parties[program],)
        ]
        if self.count == len(self._parties):
            return found
        # Of a program's calls none goes before an older one.
        for key, _, program, party in tuple(found):
            for work in islice(party.works, 1, count):
                key = max(key, self._key(work, program))
                found.append((key, work, program, party))
        return sorted(found, key=itemgetter(0))


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
