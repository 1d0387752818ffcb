"""Who waits, for which engines, and in what order.

Invariants:
1. a call waits in exactly one line of the one pool of its candidates, and `waiting` counts it;
2. no pool holds more than `waiting_max` calls.
"""

import math
from collections.abc import Iterator

from orlop.abi.errors import Broken
from orlop.abi.hints import LatencyClass
from orlop.abi.limits import TENANTS_KNOWN_MAX
from orlop.sched.config import SchedulerConfig
from orlop.sched.history import History
from orlop.sched.line import Line, Pool, Tenant
from orlop.sched.policy import BAND, POLICIES, patience_s
from orlop.sched.program import Context
from orlop.sched.station import Station
from orlop.sched.work import Phase, Work


class WaitingRoom:
    def __init__(
        self, config: SchedulerConfig, history: History, stations: dict[str, Station]
    ) -> None:
        self._config = config
        self._history = history
        self._stations = stations
        self._has_bands = POLICIES[config.policy].bands or bool(config.classes)
        self._pools: dict[tuple[str, ...], Pool] = {}
        self._tenants: dict[str, Tenant] = {}
        self._lines: dict[Work, Line] = {}
        self._virtual = 0.0
        """Of the tenant that was served last: who comes new starts there."""

    def __len__(self) -> int:
        return len(self._lines)

    def pool(self, candidates: tuple[str, ...]) -> Pool:
        """Raises `Broken` for an engine that was never attached."""
        pool = self._pools.get(candidates)
        if pool is None:
            missing = [name for name in candidates if name not in self._stations]
            if missing or not candidates:
                raise Broken(f"no such engine is attached: {', '.join(missing) or 'none named'}")
            pool = self._pools[candidates] = Pool(candidates)
            for name in candidates:
                self._stations[name].pools.append(pool)
        return pool

    def crowded(self) -> Iterator[Pool]:
        """Pools in which somebody waits."""
        return (pool for pool in tuple(self._pools.values()) if pool.waiting)

    def stations(self, pool: Pool) -> list[Station]:
        """The pool's engines that are there; all of them if none is."""
        stations = [self._stations[name] for name in pool.engines]
        return [station for station in stations if station.attached] or stations

    def beside(self, station: Station) -> list[Station]:
        """Others that share a crowded pool with it: its calls may be in the way there."""
        names = {name for pool in station.pools if pool.waiting for name in pool.engines}
        return [self._stations[name] for name in sorted(names) if name != station.name]

    def band(self, latency_class: LatencyClass) -> int:
        return BAND[latency_class] if self._has_bands else 0

    def ahead(self, latency_class: LatencyClass, pool: Pool) -> int:
        """Calls that wait in the band of a class or a better one."""
        band = self.band(latency_class)
        return sum(line.count for line in pool.lines.values() if line.band <= band)

    def add(self, work: Work, context: Context) -> bool:
        """Let it wait; whether it is the first of its line."""
        pool, program, tenant = self.pool(work.candidates), context.program, self._tenant(work)
        line = self._line(pool, work)
        self._lines[work] = line
        work.phase = Phase.WAITING
        context.waiting += work.is_model_call
        program.waiting += 1
        self._lift(tenant)
        tenant.waiting += 1
        pool.waiting += 1
        line.push(work, program, tenant)
        if line.policy.patient and self._config.patience > 0:
            half_s = (work.deadline_s - work.arrived_s) / 2
            patience_s = min(half_s, self._patience_s(work, context))
            if patience_s < math.inf:
                pool.promote_at(work, work.arrived_s + patience_s)
        return line.first() is work

    def stations_of(self, work: Work) -> list[Station]:
        return self.stations(self._pools[work.candidates])

    def remove(self, work: Work, context: Context) -> None:
        """It has been let on, or has gone."""
        pool, program, tenant = self._pools[work.candidates], context.program, self._tenant(work)
        context.waiting -= work.is_model_call
        program.waiting -= 1
        tenant.waiting -= 1
        pool.waiting -= 1
        self._lines.pop(work).remove(work, program)

    def move(self, work: Work, context: Context, candidates: tuple[str, ...]) -> bool:
        """Let it wait for these engines instead, as if it had done so from the first; whether it
        does.  Where too many wait for them, it stays where it is."""
        if self.pool(candidates).waiting >= self._config.waiting_max:
            return False
        tenant = self._tenant(work)
        tenant.waiting += 1  # It has had something to do all along.
        self.remove(work, context)
        work.candidates = candidates
        self.add(work, context)
        tenant.waiting -= 1
        return True

    def charge(self, work: Work, token_s: float, running: int) -> None:
        """What the work's tenant has had, in token-seconds; `running`: calls more or less."""
        tenant = self._tenant(work)
        self._lift(tenant)
        if running > 0:
            self._virtual = max(self._virtual, tenant.virtual)
        tenant.running += running
        tenant.virtual += token_s / tenant.weight
        for line in tuple(tenant.lines):
            line.retell(tenant)

    def _lift(self, tenant: Tenant) -> None:
        """Who had nothing to do saves nothing up: start-time fair queueing."""
        if tenant.waiting == 0 and tenant.running == 0:
            tenant.virtual = max(tenant.virtual, self._virtual)

    def counts(self) -> dict[str, int]:
        """Calls that wait, by latency class."""
        counts = dict.fromkeys(BAND, 0)
        for work in self._lines:
            counts[work.latency_class] += 1
        return {str(name): count for name, count in counts.items()}

    def _patience_s(self, work: Work, context: Context) -> float:
        config, program = self._config, context.program
        alone_s = program.isolated_s + work.isolated_s
        return patience_s(alone_s, program.owed_s, config.patience, config.patience_min_s)

    def _tenant(self, work: Work) -> Tenant:
        tenant = self._tenants.get(work.tenant)
        if tenant is None:
            self._forget_idle()
            weight = self._config.weights.get(work.tenant, 1.0)
            tenant = self._tenants[work.tenant] = Tenant(work.tenant, weight, self._virtual)
        return tenant

    def _forget_idle(self) -> None:
        """An idle tenant that has caught up is as good as a new one."""
        if len(self._tenants) >= TENANTS_KNOWN_MAX:
            for tenant in tuple(self._tenants.values()):
                if not tenant.waiting and not tenant.running:
                    del self._tenants[tenant.name]

    def _line(self, pool: Pool, work: Work) -> Line:
        band = self.band(work.latency_class)
        line = pool.lines.get(band)
        if line is None:
            name = self._config.classes.get(work.latency_class, self._config.policy)
            quantum_s = self._config.quantum_s
            line = pool.lines[band] = Line(band, POLICIES[name], self._history, quantum_s)
        return line


def first_impatient(pools: list[Pool], now_s: float) -> Work | None:
    """Who has waited too long, the longest overdue first."""
    first_s, first = math.inf, None
    for pool in pools:
        found = pool.impatient() if pool.waiting else None
        if found is not None and found[0] <= now_s and found[0] < first_s:
            first_s, first = found
    return first
