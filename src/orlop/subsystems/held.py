"""A call and its model: hot while the call queues and runs, waited for where it is not.

A load keeps nobody but the calls of its own model, and those no longer than their deadline.
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeAlias

from orlop.abi.cards import ModelCard
from orlop.abi.errors import DoesNotFit, Exhausted, KernelError, from_code
from orlop.abi.hints import LatencyClass
from orlop.models.residency import ON_DEVICE, State
from orlop.models.residents import Resident
from orlop.state.core import Kernel
from orlop.subsystems import ways

Pair: TypeAlias = tuple[Resident | None, ModelCard]
"""A card, and its model where the kernel moves it."""


class Held:
    """Gives those of `cards` whose model is hot, and keeps them so while an `async with` runs.

    A class, since every call takes one.  cards: of one model, on one engine or several.
    """

    __slots__ = ("_cards", "_class", "_kernel", "_rows", "waited_s")

    def __init__(
        self, kernel: Kernel, cards: Sequence[ModelCard], latency_class: LatencyClass
    ) -> None:
        self._class = latency_class
        self._kernel = kernel
        self._cards = cards
        self._rows: list[Resident] = []
        self.waited_s = 0.0

    async def __aenter__(self) -> Sequence[ModelCard]:
        kernel = self._kernel
        if not kernel.residents.rows:
            return self._cards
        pairs = [(kernel.residents.find(card.engine, card.name), card) for card in self._cards]
        now_s = kernel.clock.now_s()
        for row, _ in pairs:
            if row is not None and fits(kernel, row):
                row.arrivals.note(now_s, row.cold_s())
        ready = _ready(pairs)
        if len(ready) < len(pairs):
            if ready:
                await self._sooner(ready, pairs)
            # While it has waited, other models may have come, and some gone.
            while not (ready := _ready(pairs)):
                await self._soonest(pairs)
            self.waited_s = kernel.clock.now_s() - now_s
        self._rows = [row for row, _ in ready if row is not None]
        for row in self._rows:
            row.running += 1
        return [card for _, card in ready]

    def more(self, cards: Sequence[ModelCard]) -> Sequence[ModelCard]:
        """Those of other cards of the same model whose model is hot by now; kept as well."""
        pairs = [(self._kernel.residents.find(card.engine, card.name), card) for card in cards]
        for row, _ in pairs:
            if row is not None and row.admits and row not in self._rows:
                row.running += 1
                self._rows.append(row)
        return [card for row, card in pairs if row is None or row in self._rows]

    async def _soonest(self, pairs: Sequence[Pair]) -> None:
        """Wait for the one that can be hot first; one that can't be is passed over."""
        refusals: list[KernelError] = []
        outside = [row for row, _ in pairs if row is not None]
        for row in sorted(outside, key=_wait_s):
            try:
                require_room(self._kernel, row)
            except KernelError as error:
                refusals.append(error)
                continue
            await hot(self._kernel, row)
            return
        raise refusals[0]

    async def _sooner(self, ready: Sequence[Pair], pairs: Sequence[Pair]) -> None:
        """Wait for an engine that could begin sooner once it has loaded the model than those that
        have it; no longer than these would let the call wait."""
        cold = [(row, card) for row, card in pairs if row is not None and not row.admits]
        found = ways.worth_loading(self._kernel, ready, cold, self._class)
        if found is None:
            return
        row, _, wait_s = found
        with suppress(TimeoutError, KernelError):
            async with asyncio.timeout(wait_s):
                await hot(self._kernel, row)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._rows:
            return
        now_s = self._kernel.clock.now_s()
        for row in self._rows:
            row.running -= 1
            row.used_s = now_s
        if any(row.waiting for row in self._kernel.residents):
            self._kernel.residents.wake.set()


def _ready(pairs: Sequence[Pair]) -> list[Pair]:
    return [(row, card) for row, card in pairs if row is None or row.admits]


def _wait_s(row: Resident) -> tuple[bool, float]:
    """One that is being loaded already comes first."""
    return row.state is not State.LOADING, row.cold_s()


async def hot(kernel: Kernel, row: Resident) -> None:
    """Return when the model admits calls.  Raises how its loading failed, or why it can't be."""
    residents, failures = kernel.residents, row.failures
    if not row.waiting:
        row.waiting_since_s = kernel.clock.now_s()
    row.waiting += 1
    residents.wake.set()
    try:
        while not row.admits:
            require_room(kernel, row)
            if row.failures > failures and row.error is not None:
                error = row.error
                raise from_code(error.code, error.message, error.retry_after_s) from error
            await row.changed.wait()
    finally:
        row.waiting -= 1
        if not row.waiting:
            row.waiting_since_s = math.inf


def fits(kernel: Kernel, row: Resident) -> bool:
    """Whether its device could hold it, were it alone there."""
    return row.bytes <= kernel.residents.budgets.get(row.device, row.bytes)


def require_room(kernel: Kernel, row: Resident) -> None:
    """Raises `DoesNotFit` where no device is large enough, `Exhausted` where pins keep it out."""
    residents = kernel.residents
    budget = residents.budgets.get(row.device)
    if budget is None or row.state in ON_DEVICE:
        return
    if not fits(kernel, row):
        raise DoesNotFit(
            f"{row.model} needs {row.bytes:,} bytes; {row.device} has {budget:,} for models, and "
            "no other device can run it"
        )
    pins = [
        other
        for other in residents
        if other.is_pinned and other is not row and other.device == row.device
    ]
    held = sum(other.bytes for other in pins if other.state in ON_DEVICE)
    if row.bytes > budget - held:
        names = ", ".join(other.model for other in pins)
        raise Exhausted(
            f"{row.model} needs {row.bytes:,} bytes; {row.device} has {budget:,} for models, and "
            f"{held:,} of them are pinned ({names}): `orlop models unpin NAME`",
            retry_after_s=60.0,
        )
