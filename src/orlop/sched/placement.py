"""Where a call runs: one cost in seconds for each engine that can serve it.

cost = wait + start + bring back or compute what is not there + decode among those that run there
       + what it slows them by.

A program stays where its context lies because everywhere else it must be computed again: it moves
exactly when waiting costs more than that (Preble; llm-d's scorers weigh the same things by hand).
Engines of different kinds need no rule of their own: their speeds and sizes are in the cost.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

from orlop.sched.program import Context
from orlop.sched.residency import restore_s
from orlop.sched.station import Station
from orlop.sched.work import Work


class Choice(Struct, frozen=True):
    station: Station
    cost_s: float
    why: str
    cached_tokens: int


def wait_s(station: Station, ahead: int) -> float:
    """Until a seat is free for who has `ahead` calls before him there."""
    gate = station.gate
    free = gate.seats - gate.running
    return 0.0 if ahead < free else (ahead - free + 1) * station.call_s / gate.seats


def fetch_s(station: Station, context: Context, work: Work) -> tuple[float, int]:
    """Seconds to have a call's input on the device, and how many of its tokens are there now."""
    tokens = work.input_tokens
    device, host = station.shelf.finds(context, work.head)
    speed = station.capacity.speed
    there = min(tokens, device)
    best_s = speed.prefill_s(tokens - there, there)
    if host > device:
        kept = min(tokens, host)
        back_s = restore_s(station.capacity, kept) + speed.prefill_s(tokens - kept, kept)
        if back_s < best_s:
            return back_s, kept
    return best_s, there


def cost_s(
    work: Work, context: Context, station: Station, ahead: int, now_s: float
) -> tuple[float, int]:
    """Seconds until the call would be done there, with those it costs others; and cached tokens."""
    # Where the memory is full, the next of those that run to end makes room.
    full_s = 0.0
    if not station.gate.has_room(work):
        full_s = station.call_s / max(1, station.gate.running)
    total_s = max(full_s, wait_s(station, ahead), station.read_s - now_s) + work.start_s.get(
        station.name, 0.0
    )
    if not work.is_model_call:
        return total_s, 0
    kv_tokens = station.capacity.kv_tokens
    if kv_tokens is not None and work.tokens > kv_tokens:
        return math.inf, 0
    fetched_s, cached = fetch_s(station, context, work)
    gate, speed = station.gate, station.capacity.speed
    with_s = station.decode_s(work.tokens)
    without_s = speed.decode_s(gate.running, gate.kv_used) if gate.running else with_s
    # All that run there wait while it is fetched, and then are slower for each of its tokens.
    slowed_s = gate.running * (fetched_s + work.output_tokens * max(0.0, with_s - without_s))
    return total_s + fetched_s + work.output_tokens * with_s + slowed_s, cached


def only(work: Work, context: Context, station: Station) -> Choice:
    """Where there is no choice, no cost needs to be known."""
    cached = 0
    if work.is_model_call:
        cached = min(max(station.shelf.finds(context, work.head)), work.input_tokens)
    return Choice(station, 0.0, "the only engine", cached)


def best(work: Work, context: Context, stations: Sequence[Station], now_s: float) -> Choice:
    """The cheapest; ties to the first.  `stations`: at least one."""
    found = [(*cost_s(work, context, station, 0, now_s), station) for station in stations]
    least_s, cached, station = min(found, key=lambda one: one[0])
    if context.engine == station.name and cached:
        why = f"its context is there ({cached} tokens), of {len(stations)} engines"
    else:
        why = f"soonest of {len(stations)} engines ({least_s:.3g} s)"
    return Choice(station, least_s, why, cached)
