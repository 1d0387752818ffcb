"""The scheduler's invariants, asserted: for tests, the simulation and whoever hunts a bug."""

from collections import Counter

from orlop.abi.errors import Broken
from orlop.sched.program import Context, State
from orlop.sched.scheduler import Scheduler
from orlop.sched.station import Station
from orlop.sched.work import Phase

ROUNDING: float = 1e-3


def check(scheduler: Scheduler, now_s: float) -> None:
    """Raises `Broken` where a count does not agree with what it counts."""
    contexts = [
        context
        for program in scheduler.programs.newest(len(scheduler.programs))
        for context in program.contexts.values()
    ]
    for station in scheduler.stations.values():
        _station(station, [one for one in contexts if one.engine == station.name], now_s)
    waiting = sum(pool.waiting for pool in scheduler.waiting.crowded())
    _require(waiting == len(scheduler.waiting), "the pools count all that wait")
    for station in scheduler.stations.values():
        idle = not station.running and not any(
            scheduler.stations[name].running for pool in station.pools for name in pool.engines
        )
        _require(not (idle and station.is_wanted), f"nobody waits for {station.name}, which idles")


def _station(station: Station, contexts: list[Context], now_s: float) -> None:
    gate, shelf, name = station.gate, station.shelf, station.name
    tokens = sum(work.tokens for work in station.running)
    _require(gate.running == len(station.running), f"{name}: seats taken are calls that run")
    _require(gate.kv_used == tokens, f"{name}: memory in use is that of the calls that run")
    heads = Counter(work.head for work in station.running if work.head and gate.shares)
    _require(gate.kv_common == 0 or max(heads.values(), default=0) > 1, f"{name}: shared by nobody")
    _require(
        all(work.phase is Phase.RUNNING for work in station.running), f"{name}: what runs runs"
    )
    shared, faded = shelf.totals(now_s)
    in_use = shared + sum(one.held for one in contexts if one.state is State.REASONING)
    _require(shelf.in_use == in_use, f"{name}: what is in use is held by those that reason")
    own = faded + sum(shelf.own(one, now_s) for one in contexts if one.state is State.ACTING)
    retained = shelf.retained(now_s)
    _require(
        abs(retained - own) <= 1 + ROUNDING * own, f"{name}: what is retained is of those away"
    )
    limit = station.capacity.kv_tokens
    if limit is not None and not station.running and not shelf.is_told:
        _require(shelf.device_tokens <= max(limit, 0), f"{name}: no more lies there than fits")
    host_fits = shelf.host_tokens <= station.capacity.host_tokens or shelf.is_told
    _require(host_fits, f"{name}: nor on its host")
    for one in contexts:
        reasons = one.state is State.REASONING
        _require(reasons == (one.running > 0), f"{one.name} reasons exactly while a call runs")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(f"the scheduler's books are wrong: {what}")
