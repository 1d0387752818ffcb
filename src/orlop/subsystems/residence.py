"""Brings models to their devices and lets them go: the loop that applies `models.residency`.

A load is a task of its own, so it keeps no call of another model; calls for the model itself wait
until it is hot, each with its own deadline, or hear why it can't be loaded.
"""

import asyncio
import logging
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, assert_never

from msgspec.structs import replace

from orlop.abi.cards import ModelCard
from orlop.abi.errors import Broken, KernelError
from orlop.abi.events import Event
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS
from orlop.abi.limits import ENGINE_RETRY_S_MAX, ENGINE_START_S_MAX
from orlop.abi.residency import ModelLeft, ModelLoaded
from orlop.devices.device import Engine
from orlop.devices.device import Resident as Seen
from orlop.hardware.page_cache import cached_share
from orlop.machine.clock import deadline
from orlop.models.residency import ON_DEVICE, Drain, Leave, Load, State, plan
from orlop.models.residents import CPU, ORIGINS, Resident
from orlop.state.core import Kernel

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
"""Between two decisions where no call and no change asks for one: idling and forecasts."""

TICK_WAITING_S: Final = 0.05
"""Likewise while a call waits for a model to leave: a burst's end is no event."""

LOOK_S: Final = 15.0
"""Between two looks at what engines and the page cache say."""

CACHED: Final = 0.95
"""A file with this part of it in RAM counts as being there: the first pages are mere metadata."""


def attend(kernel: Kernel, engine: Engine) -> None:
    """Take note of the engine's models, if it lets the kernel move them.  Loads nothing."""
    residence, residents = engine.residence, kernel.residents
    if residence is None or not (residence.loads or residence.sleeps):
        return
    paths = {card.name: card.path for card in kernel.registry.cards() if card.engine == engine.name}
    for model, seen in residence.resident().items():
        row = residents.find(engine.name, model)
        if row is None:
            row = Resident(
                engine=engine,
                residence=residence,
                model=model,
                device=pool(engine),
                state=State(seen.state),
            )
            residents.rows[engine.name, model] = row
            _recall(kernel, row)
        row.path = paths.get(model, row.path)
        look(kernel, row, seen)


def unlisted(kernel: Kernel, engine: Engine, cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Cards of models that the engine has and lists no more, since they are not loaded: only as
    long as they are known can a call bring them back."""
    if engine.residence is None:
        return []
    here, listed = engine.residence.resident(), {card.name for card in cards}
    return [
        card
        for card in kernel.registry.cards()
        if card.engine == engine.name and card.name in here and card.name not in listed
    ]


def pool(engine: Engine) -> str:
    """Whose memory its models take: a device that is not named is the engine's own."""
    device = engine.card().device
    return CPU if device.startswith(CPU) else device or engine.name


def _recall(kernel: Kernel, row: Resident) -> None:
    """What the journal remembers of it."""
    row.is_pinned = row.model in kernel.residents.pinned
    row.used_s = row.hot_since_s = kernel.clock.now_s()
    known = kernel.tables.models.rows.get((row.engine.name, row.model))
    if known is None:
        return
    row.bytes = known.bytes
    if known.pinned is not None:
        row.is_pinned = known.pinned
    for origin, seconds in known.starts.items():
        for took_s in seconds:
            row.starts.note(origin, took_s)


def look(kernel: Kernel, row: Resident, seen: Seen) -> None:
    """Believe what the engine and the page cache say of a model that is not on its way."""
    if seen.device_bytes:
        row.bytes = seen.device_bytes
    if row.state in (State.LOADING, State.LEAVING):
        return
    if seen.state == "hot" and row.state is not State.HOT:
        row.move("appeared")
        row.hot_since_s = row.used_s = kernel.clock.now_s()
        kernel.turns.news(row.engine.name)
    elif seen.state == "asleep" and row.state is not State.ASLEEP and not row.running:
        row.move("dozed")
    elif seen.state == "disk" and row.state in (State.HOT, State.ASLEEP) and not row.running:
        row.move("lost")
        kernel.residents.wake.set()
    look_in_cache(row)


def look_in_cache(row: Resident) -> None:
    """Whether the weights lie in RAM; where nobody can tell they count as on the disk."""
    if row.path and row.state in (State.DISK, State.HOST):
        share = cached_share(Path(row.path))
        is_cached = share is not None and share >= CACHED
        if is_cached is not (row.state is State.HOST):
            row.move("warmed" if is_cached else "cooled")


def begin(kernel: Kernel, engines: Iterable[Engine]) -> None:
    """At boot: bring what fits, pinned ones and small ones first; the others come when called."""
    residents, new = kernel.residents, {engine.name for engine in engines}
    free = {
        device: budget - residents.held_bytes(device)
        for device, budget in residents.budgets.items()
    }
    outside = [row for row in residents if row.state in ORIGINS and row.engine.name in new]
    for row in sorted(outside, key=lambda row: (not row.is_pinned, row.bytes, row.key)):
        left = free.get(row.device, math.inf)
        if row.bytes <= left:
            free[row.device] = int(left - row.bytes) if math.isfinite(left) else 0
            start_load(kernel, row, "it fits")


async def run(kernel: Kernel) -> None:
    """For ever: look, decide, begin what was decided, wait for a reason to decide again."""
    residents, clock = kernel.residents, kernel.clock
    looked_s = clock.now_s()
    while True:
        if clock.now_s() - looked_s >= LOOK_S:
            looked_s = clock.now_s()
            for engine in tuple(kernel.registry.engines.values()):
                attend(kernel, engine)
        settle(kernel)
        waits = any(row.waiting and row.state not in ON_DEVICE for row in residents)
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_WAITING_S if waits else TICK_S):
                await residents.wake.wait()
        residents.wake.clear()


def settle(kernel: Kernel) -> None:
    """One decision: begin all that the policy wants now."""
    residents, now_s = kernel.residents, kernel.clock.now_s()
    wanted = {row.device for row in residents if row.waiting and row.state not in ON_DEVICE}
    for row in residents:
        if row.is_draining and row.device not in wanted:
            row.is_draining = False  # Who wanted its place has it, or has left.
            row.tell()
            kernel.turns.news(row.engine.name)
    standings = [row.standing(now_s) for row in residents]
    rows = {row.key: row for row in residents}
    for action in plan(standings, residents.budgets, now_s, residents.terms):
        row = rows[action.key]
        match action:
            case Load():
                start_load(kernel, row, action.why)
            case Leave():
                start_leave(kernel, row, action.why)
            case Drain():
                log.info("%s takes no new calls: %s", row.key, action.why)
                row.is_draining = True
            case _:
                assert_never(action)


def start_load(kernel: Kernel, row: Resident, why: str) -> None:
    look_in_cache(row)
    row.origin = row.state
    row.move("load")
    kernel.tasks.start(_load(kernel, row, why), f"load {row.key}")


def start_leave(kernel: Kernel, row: Resident, why: str) -> None:
    row.move("leave")
    kernel.tasks.start(_leave(kernel, row, why), f"unload {row.key}")


async def _load(kernel: Kernel, row: Resident, why: str) -> None:
    began_s = kernel.clock.now_s()
    error: KernelError | None = None
    try:
        async with deadline(ENGINE_START_S_MAX, f"loading {row.key}"):
            if row.origin is State.ASLEEP:
                await row.residence.wake()
            else:
                await row.residence.load(row.model)
    except KernelError as reason:
        error = reason
    except Exception as bug:  # Callers wait for this load: they must hear that it is over.
        log.exception("a bug in loading %s", row.key)
        error = Broken(f"a bug in loading {row.key}: {bug!r}")
    took_s = kernel.clock.now_s() - began_s
    if error is not None:
        _failed(kernel, row, error)
    else:
        _loaded(kernel, row, why, took_s)
        await _learn(kernel, row)
    kernel.residents.wake.set()


def _failed(kernel: Kernel, row: Resident, error: KernelError) -> None:
    pause_s = min(2.0**row.failed_in_a_row, ENGINE_RETRY_S_MAX)
    row.retry_s = kernel.clock.now_s() + pause_s
    row.failures += 1
    row.failed_in_a_row += 1
    row.error = error
    log.warning("%s could not be loaded: %s", row.key, error.message)
    row.move("failed")


def _loaded(kernel: Kernel, row: Resident, why: str, took_s: float) -> None:
    row.failed_in_a_row, row.error, row.is_draining = 0, None, False
    row.loads += 1
    row.hot_since_s = row.used_s = kernel.clock.now_s()
    row.starts.note(row.origin, took_s)
    seen = row.residence.resident().get(row.model)
    if seen is not None and seen.device_bytes:
        row.bytes = seen.device_bytes
    log.info("%s is loaded from %s in %.2f s: %s", row.key, row.origin, took_s, why)
    row.move("loaded")
    kernel.turns.news(row.engine.name)
    _record(
        kernel,
        ModelLoaded(
            engine=row.engine.name,
            model=row.model,
            origin=row.origin,
            seconds=took_s,
            bytes=row.bytes,
            why=why,
        ),
    )


async def _learn(kernel: Kernel, row: Resident) -> None:
    """A loaded engine knows more of its model than its file tells; what it costs stays."""
    try:
        fresh = await row.engine.models()
    except KernelError as error:
        log.debug("%s does not list its models: %s", row.engine.name, error.message)
        return
    known = {card.name: card for card in kernel.registry.cards() if card.engine == row.engine.name}
    kernel.registry.learn(
        row.engine.name,
        [
            replace(
                known.get(card.name, card),
                context_tokens=card.context_tokens,
                artefact=card.artefact,
                dimensions=card.dimensions,
            )
            for card in fresh
        ]
        + unlisted(kernel, row.engine, fresh),
    )


async def _leave(kernel: Kernel, row: Resident, why: str) -> None:
    began_s = kernel.clock.now_s()
    sleeps = row.residence.sleeps
    try:
        async with deadline(ENGINE_START_S_MAX, f"unloading {row.key}"):
            if sleeps:
                await row.residence.sleep()
            else:
                await row.residence.unload(row.model)
    except KernelError as error:
        log.warning("%s does not leave: %s", row.key, error.message)
        row.move("failed")
        return
    except Exception:  # What is said of its state must not be wrong for ever.
        log.exception("a bug in unloading %s", row.key)
        row.move("failed")
        return
    took_s = kernel.clock.now_s() - began_s
    row.is_draining = False
    kernel.residents.evictions += 1
    log.info("%s has left %s: %s", row.key, row.device, why)
    row.move("slept" if sleeps else "unloaded")
    look_in_cache(row)
    _record(
        kernel,
        ModelLeft(
            engine=row.engine.name,
            model=row.model,
            to="asleep" if sleeps else "disk",
            seconds=took_s,
            why=why,
        ),
    )
    kernel.residents.wake.set()


def _record(kernel: Kernel, event: Event) -> None:
    """The fact is a fact even where the journal has stopped; it is then known in RAM only."""
    try:
        kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event)
    except KernelError as error:
        log.warning("not recorded: %s", error.message)
