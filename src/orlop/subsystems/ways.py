"""What lies between a call and an engine, in seconds: the way there, its price, a model to load.

Placement adds them to what the call would take there (`sched.placement`).  A price counts as the
seconds that a dollar is worth (`[scheduler] seconds_per_dollar`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from orlop.abi.cards import ModelCard
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import EngineName
from orlop.models.residency import ON_DEVICE, State, room_s
from orlop.models.residents import Resident
from orlop.sched.work import NOTHING
from orlop.state.core import Kernel

HERE: Final = "kernel"
"""What devices call this place in `round_trip_s` and `egress_dollars_gb`."""

ANSWER_BYTES: Final = 4
"""Of a token of an answer."""

SOONER: Final = 0.5
"""A model is loaded for a call that would wait for longer than its load takes, by this factor: both
are forecasts, and a load costs its device something."""


def starts_s(
    kernel: Kernel, engines: Mapping[EngineName, ModelCard], size: int, output_tokens: int
) -> Mapping[str, float]:
    """Of each engine that has a way or a price.  size: bytes of the call's input."""
    if len(engines) < 2:
        return NOTHING
    found = dict[str, float]()
    for name in engines:
        device = kernel.devices.device_of(name)
        if device is None:
            continue
        told = device.attributes
        way_s, dollars_gb = told.get(f"round_trip_s.{HERE}"), told.get(f"egress_dollars_gb.{HERE}")
        if isinstance(way_s, int | float):
            found[name] = way_s
        if isinstance(dollars_gb, int | float):
            moved_gb = (size + output_tokens * ANSWER_BYTES) / 1e9
            price_s = moved_gb * dollars_gb * kernel.scheduler.config.seconds_per_dollar
            found[name] = found.get(name, 0.0) + price_s
    return found


def worth_loading(
    kernel: Kernel,
    ready: Sequence[tuple[Resident | None, ModelCard]],
    cold: Sequence[tuple[Resident, ModelCard]],
    latency_class: LatencyClass,
) -> tuple[Resident, ModelCard, float] | None:
    """The engine that could begin sooner once it has loaded the model than those that have it; and
    how long these would let a call wait.  Who would have to leave for it counts with the start that
    he will need in turn."""
    wait_s = min(kernel.scheduler.forecasts.wait_s(card.engine, latency_class) for _, card in ready)
    if not wait_s:
        return None
    load_s, row, card = min(
        ((_load_s(kernel, row), row, card) for row, card in cold), key=lambda found: found[0]
    )
    return (row, card, wait_s) if load_s < SOONER * wait_s else None


def _load_s(kernel: Kernel, row: Resident) -> float:
    """Until it could serve, with what that costs others; infinite where it can't be loaded now."""
    now_s = kernel.clock.now_s()
    if row.is_draining or now_s < row.retry_s:
        return math.inf
    if row.state in ON_DEVICE:
        return row.cold_s() if row.state is State.LOADING else math.inf
    residents = kernel.residents
    standings = [other.standing(now_s) for other in residents]
    one = row.standing(now_s)
    return row.cold_s() + room_s(one, standings, residents.budgets, now_s, residents.terms)
