"""How long what was said is kept: bodies of old calls go, that they were made stays.

Invariants:
1. Nothing goes that a process which has not ended, here or elsewhere, could be answered from.
2. No message goes that an event which stays refers to: messages are stored once and shared.
3. Nothing goes that the kernel's own tables, memories or files are made of.
The chain verifies without what has gone, and a replay names the steps that it lacks.
"""

import logging
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

from orlop.abi.errors import BadCall
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, Nanoseconds, Seq
from orlop.abi.kernels import CALL_KINDS, BodiesPruned, PruneOrder, PruneView
from orlop.machine.clock import NS_PER_S
from orlop.state.core import Kernel
from orlop.state.process_table import State
from orlop.store.journal import Stored, place_of

log = logging.getLogger(__name__)

READ_EVENTS: Final = 1_024
"""Read at once, so that calls have their turn between."""
BODIES_AT_ONCE: Final = 2_000
"""Pruned in one transaction, so that calls wait for a moment only."""

LOOK_S: Final = 3_600.0
"""Between two looks at what has become too old."""
DAY_S: Final = 86_400.0

_NAME: Final = re.compile(rb'"([0-9a-f]{32})"')
"""How any event names a message or another part: 16 bytes, hexadecimal."""


async def prune(kernel: Kernel, order: PruneOrder) -> PruneView:
    """Durable on return.  Raises `BadCall`."""
    require(order)
    if not order.dry_run:
        kernel.snapshot()  # So that no boot needs the bodies of what came before.
    await kernel.journal.flush()
    until = kernel.journal.head_seq if order.dry_run else kernel.snapshot_seq
    before_ns = moment(kernel, order.older_s)
    events: list[Seq] = []
    parts: dict[bytes, int] = {}
    live = 0
    async for stored in events_of(kernel, until):
        if not is_old(stored, order.kinds, before_ns):
            continue
        if not is_done(kernel, stored):
            live += 1
            continue
        events.append(stored.header.seq)
    for first, last in _runs(events):
        parts |= {name: place for place, name in await kernel.journal.parts_of(first, last)}
    found = len(parts)
    await _spare(kernel, frozenset(events), parts)
    places = [*map(place_of, events), *parts.values()]
    if not order.dry_run:
        for at in range(0, len(places), BODIES_AT_ONCE):
            await kernel.journal.forget_bodies(places[at : at + BODIES_AT_ONCE])
        if places:
            said = BodiesPruned(
                before_ns=before_ns, kinds=order.kinds, events=len(events), bodies=len(places)
            )
            kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, said)
            await kernel.journal.flush()
    return PruneView(
        before_ns=before_ns,
        events=len(events),
        bodies=len(places),
        shared=found - len(parts),
        live=live,
    )


async def run(kernel: Kernel, keep_days: float) -> None:
    """Once an hour; 0 days: keep all."""
    while keep_days > 0:
        done = await prune(kernel, PruneOrder(older_s=keep_days * DAY_S))
        if done.events:
            log.info("%d calls' bodies older than %g days are gone", done.events, keep_days)
        await kernel.clock.sleep(LOOK_S)


def require(order: PruneOrder) -> None:
    """Raises `BadCall`."""
    if not order.older_s >= 0:
        raise BadCall("older: at least 0 seconds")
    if unknown := set(order.kinds) - set(CALL_KINDS):
        raise BadCall(f"kinds: only {', '.join(CALL_KINDS)} can be pruned, not {sorted(unknown)}")


def moment(kernel: Kernel, older_s: float) -> Nanoseconds:
    return Nanoseconds(max(0, kernel.clock.wall_ns() - round(older_s * NS_PER_S)))


def is_old(stored: Stored, kinds: Sequence[str], before_ns: Nanoseconds) -> bool:
    header = stored.header
    if stored.shares:  # The file that it wrote is kept, and it says no more than which.
        return False
    return header.kind in kinds and header.wall_ns < before_ns and stored.body is not None


def is_done(kernel: Kernel, stored: Stored) -> bool:
    """Its process has ended for good, as far as anybody knows."""
    row = kernel.tables.rows.get(stored.header.process)
    return row is None or row.state is State.EXITED


async def _spare(kernel: Kernel, events: frozenset[Seq], parts: dict[bytes, int]) -> None:
    """Take those out of `parts` that an event which stays names."""
    if not parts:
        return
    async for stored in events_of(kernel, kernel.journal.head_seq):
        if stored.header.seq not in events and stored.body is not None:
            for name in _NAME.findall(stored.body):
                parts.pop(bytes.fromhex(name.decode()), None)


async def events_of(kernel: Kernel, until: Seq) -> AsyncIterator[Stored]:
    """All of them, a batch at a time."""
    seq = Seq(1)
    while seq <= until and (found := await kernel.journal.read(seq, until, limit=READ_EVENTS)):
        for stored in found:
            yield stored
        seq = Seq(found[-1].header.seq + 1)


def _runs(events: Sequence[Seq]) -> list[tuple[Seq, Seq]]:
    """Events that follow one another, so that their parts are looked up at once."""
    runs: list[tuple[Seq, Seq]] = []
    for seq in events:
        if runs and runs[-1][1] == seq - 1 and seq - runs[-1][0] < READ_EVENTS:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs
