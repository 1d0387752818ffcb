"""What operators may ask of models and order: where each lies, what it costs, load, unload, pin."""

import math
from contextlib import suppress
from pathlib import Path

from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import BadCall, Conflict, NotFound
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS
from orlop.abi.residency import (
    ColdStartView,
    ModelOrder,
    ModelPinned,
    ModelView,
    PoolView,
    ResidencyView,
)
from orlop.hardware.page_cache import cached_share
from orlop.models.residency import Standing, State, free_bytes, keep_alive_s, price_of
from orlop.models.residents import ORIGINS, Resident
from orlop.state.core import Kernel
from orlop.subsystems import residence
from orlop.subsystems.held import hot, require_room


def view(kernel: Kernel) -> ResidencyView:
    """Every model that a call could name, and the memory they share."""
    residents, now_s = kernel.residents, kernel.clock.now_s()
    standings = [row.standing(now_s) for row in residents]
    models = []
    for card in sorted(kernel.registry.cards(), key=lambda card: (card.name, card.engine)):
        row = residents.find(card.engine, card.name)
        models.append(_fixed(kernel, card) if row is None else _moved(kernel, card, row, standings))
    devices = sorted({row.device for row in residents} | set(residents.budgets))
    pools = [
        PoolView(
            device=device,
            held_bytes=residents.held_bytes(device),
            budget_bytes=residents.budgets.get(device),
        )
        for device in devices
    ]
    return ResidencyView(models=tuple(models), pools=tuple(pools), evictions=residents.evictions)


def _fixed(kernel: Kernel, card: ModelCard) -> ModelView:
    """Of an engine that has what it has."""
    engine = kernel.registry.engines[card.engine].card()
    is_ready = engine.health == "ready"
    return ModelView(
        name=card.name,
        engine=card.engine,
        kind=card.kind,
        context_tokens=card.context_tokens,
        artefact=card.artefact,
        path=card.path,
        input_price=card.input_price,
        output_price=card.output_price,
        moved=False,
        device=engine.device,
        state="hot" if is_ready else engine.health,
        reason="" if is_ready else engine.reason,
        bytes=_weights_bytes(card.path),
        cached_share=None,
        pinned=False,
        draining=False,
        calls_running=kernel.scheduler.load(card.engine)[0],
        calls_waiting=0,
        rate=0.0,
        next_s=None,
        idle_s=None,
        stays_s=None,
        loads=0,
        cold_starts=(),
    )


def _weights_bytes(path: str) -> int:
    """Of a model whose engine does not tell what it takes; 0 where there is no file."""
    try:
        return Path(path).stat().st_size if path else 0
    except OSError:
        return 0


def _moved(kernel: Kernel, card: ModelCard, row: Resident, standings: list[Standing]) -> ModelView:
    residents, now_s = kernel.residents, kernel.clock.now_s()
    standing, next_s = row.standing(now_s), row.arrivals.next_s()
    free = free_bytes(row.device, standings, residents.budgets)
    price = price_of(row.device, standings, free, residents.terms)
    stays_s = math.inf if row.is_pinned else keep_alive_s(standing, price, residents.terms)
    return ModelView(
        name=card.name,
        engine=card.engine,
        kind=card.kind,
        context_tokens=card.context_tokens,
        artefact=card.artefact,
        path=card.path,
        input_price=card.input_price,
        output_price=card.output_price,
        moved=True,
        device=row.device,
        state=row.state,
        reason="" if row.error is None else row.error.message,
        bytes=row.bytes,
        cached_share=cached_share(Path(row.path)) if row.path else None,
        pinned=row.is_pinned,
        draining=row.is_draining,
        calls_running=row.running,
        calls_waiting=row.waiting,
        rate=row.arrivals.rate(now_s),
        next_s=None if next_s is None or next_s < now_s else next_s - now_s,
        idle_s=now_s - row.used_s if standing.is_idle else None,
        stays_s=stays_s if math.isfinite(stays_s) else None,
        loads=row.loads,
        cold_starts=cold_starts(row),
    )


def cold_starts(row: Resident) -> tuple[ColdStartView, ...]:
    """As measured; nothing of where it was never loaded from."""
    return tuple(
        ColdStartView(origin=origin, seconds=median_s, count=row.starts.count(origin))
        for origin in ORIGINS
        if (median_s := row.starts.median_s(origin)) is not None
    )


async def obey(kernel: Kernel, order: ModelOrder) -> None:
    """Returns when it is done.  Raises `NotFound`, `Conflict`, and how a loading failed."""
    row = find(kernel, order.model)
    match order.order:
        case "load":
            await hot(kernel, row)
        case "unload":
            await _unload(kernel, row)
        case "pin":
            require_room(kernel, row)
            await _pin(kernel, row, pinned=True)
            await hot(kernel, row)
        case "unpin":
            await _pin(kernel, row, pinned=False)


def find(kernel: Kernel, name: str) -> Resident:
    """The model that `name` means, on the engine that has it.  Raises `NotFound`, `BadCall`."""
    cards: list[ModelCard] = []
    kinds: tuple[ModelKind, ...] = ("chat", "embed")
    for kind in kinds:
        with suppress(NotFound):
            cards += kernel.registry.find(name, kind)
    if not cards:
        there = ", ".join(sorted({card.name for card in kernel.registry.cards()})) or "none"
        raise NotFound(f"no model {name!r} here; there is: {there}")
    rows = [row for card in cards if (row := kernel.residents.find(card.engine, card.name))]
    if not rows:
        raise BadCall(f"{cards[0].engine} has the models that it has: the kernel can't move them")
    if len(rows) > 1:
        names = ", ".join(row.key for row in rows)
        raise BadCall(f"{len(rows)} engines have {name!r}: name one, as in {names}")
    return rows[0]


async def _unload(kernel: Kernel, row: Resident) -> None:
    if await _settled(row) in ORIGINS:
        return
    if row.is_pinned:
        raise Conflict(f"{row.model} is pinned: `orlop models unpin {row.model}` first")
    if row.running or row.waiting:
        raise Conflict(
            f"{row.running} calls use {row.model} and {row.waiting} wait for it: "
            "unload it when they have ended"
        )
    residence.start_leave(kernel, row, "an operator said so")
    after = await _settled(row)
    if after not in ORIGINS:
        raise Conflict(f"{row.model} is {after}: `orlop devices` says what its engine does")


async def _settled(row: Resident) -> State:
    """Where it lies, once it is on no way."""
    while row.state in (State.LOADING, State.LEAVING):
        await row.changed.wait()
    return row.state


async def _pin(kernel: Kernel, row: Resident, *, pinned: bool) -> None:
    if row.is_pinned is pinned:
        return
    event = ModelPinned(engine=row.engine.name, model=row.model, pinned=pinned)
    header = kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event)
    row.is_pinned = pinned
    await kernel.journal.durable(header.seq)
