"""Ladders at the door: which cards each rung has, and how short an answer must be to be in time."""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import DeviceFailed, KernelError, NotFound, RuleForbids
from orlop.abi.limits import CALL_DEADLINE_S, CALL_DEADLINE_S_MAX
from orlop.models.ladder import Rung, climb
from orlop.sched.work import Work
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import devices, forms

SAFE: Final = 0.9
"""Of the time that is left, what an answer is planned to take: a forecast is a mean."""


class Attempt(Struct, frozen=True):
    """A rung, and what may serve it."""

    rung: Rung
    cards: Sequence[ModelCard]


def cards(
    kernel: Kernel, process: Process, running: Running, model: str, kind: ModelKind
) -> Sequence[ModelCard]:
    """What may serve: by the model's name, by what is asked of a device, and by the rules."""
    hints, left = running.call.hints, running.engines
    found = forms.find(kernel, model, kind, hints)
    found = devices.eligible(kernel, found, hints, process.row.tenant)
    return found if left is None else [card for card in found if card.engine in left]


def rungs(kernel: Kernel, call: Infer) -> list[Rung]:
    """What to try, in order; most models are a ladder of one."""
    ladder = kernel.ladders.get(call.model)
    return [Rung(call.model)] if ladder is None else climb(ladder, call.hints.ladder)


def models(kernel: Kernel, call: Infer) -> list[Infer]:
    """The call as each of the models would get it that may come to serve it."""
    if call.model not in kernel.ladders:
        return [call]
    names = dict.fromkeys(rung.model for rung in rungs(kernel, call))
    return [replace(call, model=name) for name in names]


def attempts(kernel: Kernel, process: Process, running: Running, call: Infer) -> list[Attempt]:
    """At least one.  A rung that nothing serves now is left out; raises as the first one does if
    all are."""
    found: list[Attempt] = []
    refused: list[KernelError] = []
    for rung in rungs(kernel, call):
        try:
            if may := cards(kernel, process, running, rung.model, "chat"):
                found.append(Attempt(rung, may))
        except (NotFound, DeviceFailed) as error:
            refused.append(error)
    if not found:
        raise refused[0] if refused else RuleForbids(f"no engine may serve {call.model}")
    return found


def longest_s(call: Infer, attempts: Sequence[Attempt]) -> float:
    """How long all of them together may take."""
    allowed = call.hints.deadline_s or CALL_DEADLINE_S
    return min(CALL_DEADLINE_S_MAX, allowed + max(one.rung.defer_s for one in attempts))


def as_tried(call: Infer, rung: Rung) -> Infer:
    """What a rung's engine is asked: of one that puts it off, by a later deadline."""
    if not rung.defer_s:
        return call
    allowed = (call.hints.deadline_s or CALL_DEADLINE_S) + rung.defer_s
    hints = replace(call.hints, latency_class="batch", deadline_s=min(CALL_DEADLINE_S_MAX, allowed))
    return replace(call, hints=hints)


def shortened(kernel: Kernel, call: Infer, rung: Rung, work: Work) -> tuple[Infer, str]:
    """The call with as long an answer as it has time for, and how that is to be called.

    Only of a call whose deadline its caller named, on engines that are known by experience.
    Raises `Exhausted` where the rung allows no answer so short.
    """
    now_s = kernel.clock.now_s()
    forecast = kernel.scheduler.forecasts.of(work) if work.is_hard else None
    if forecast is None:
        return call, ""
    token_s, left_s = forecast.token_s, SAFE * (work.deadline_s - now_s)
    room = int((left_s - forecast.first_s) / token_s) if token_s > 0 else work.output_tokens
    if room >= work.output_tokens:
        return call, ""
    least = math.ceil(max(1.0, rung.shrink_min * work.output_tokens))
    if room < least:
        needed_s, has_s = forecast.last_s(work.output_tokens), work.deadline_s - now_s
        why = f"{rung.model} would need about {needed_s:.1f} s, and has {has_s:.1f} s"
        raise forecast.too_late(why, least, left_s)
    work.output_tokens, work.least_tokens = room, min(room, work.least_tokens)
    return replace(call, output_tokens_max=room), f"shrunk to {room} tokens"
