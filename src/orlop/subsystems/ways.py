"""What lies between a call and an engine, in seconds: the way there, its price, a model to load.

Placement adds them to what the call would take there (`sched.placement`).  A price counts as the
seconds that a dollar is worth (`[scheduler] seconds_per_dollar`).
"""

from collections.abc import Mapping
from typing import Final

from orlop.abi.cards import ModelCard
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import EngineName
from orlop.models.residency import ON_DEVICE, State
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
    ready: list[tuple[Resident | None, ModelCard]],
    cold: list[tuple[Resident, ModelCard]],
    latency_class: LatencyClass,
) -> tuple[Resident, ModelCard, float] | None:
    """The engine that could begin sooner once it has loaded the model than those that have it; and
    how long these would let a call wait.  Nobody has to leave for it."""
    wait_s = min(kernel.scheduler.forecasts.wait_s(card.engine, latency_class) for _, card in ready)
    may = [(row.cold_s(), row, card) for row, card in cold if _has_room(kernel, row)]
    if not may or not wait_s:
        return None
    load_s, row, card = min(may, key=lambda found: found[0])
    return (row, card, wait_s) if load_s < SOONER * wait_s else None


def _has_room(kernel: Kernel, row: Resident) -> bool:
    if row.is_draining or kernel.clock.now_s() < row.retry_s:
        return False
    if row.state in ON_DEVICE:
        return row.state is State.LOADING
    budget = kernel.residents.budgets.get(row.device)
    return budget is None or kernel.residents.held_bytes(row.device) + row.bytes <= budget
