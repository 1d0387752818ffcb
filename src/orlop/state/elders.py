"""The journals of kernels that were lost, read where their processes live now.

A process's record goes over all its homes: what its own sequence numbers lack in this journal is in
another one, which the event of its arrival names.  Sequence numbers of other journals are told
from our own by `ELDER_BITS`, in headers and in bodies, so whoever reads a record need not care.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import force_setattr, replace

from orlop.abi.errors import NotFound
from orlop.abi.events import CallEntered, Event
from orlop.abi.ids import CallId, ProcessId, Seq, TenantId
from orlop.abi.kernels import ARRIVED, ELDER_BITS, JournalKnown, ProcessArrived
from orlop.abi.processes import Diverged, ProcessCaughtUp
from orlop.state import codec
from orlop.store.journal import Journal, Stored

Reach = Callable[[JournalKnown], Awaitable[Journal]]
"""Opens a journal for reading."""

SEQ_MASK: Final = (1 << ELDER_BITS) - 1
READ_EVENTS: Final = 1_024


async def nowhere(known: JournalKnown) -> Journal:
    """Of a kernel that shares its database with nobody."""
    raise NotFound(f"journal {known.journal} ({known.schema}) can't be reached: is key_file set?")


class Elders:
    """own: this kernel's journal.  known: a table of the kernel's, by number."""

    def __init__(self, own: Journal, known: Mapping[int, JournalKnown], reach: Reach) -> None:
        self._own = own
        self._known = known
        self.reach = reach
        self._open: dict[int, Journal] = {}
        self._opening = asyncio.Lock()

    async def event(self, seq: Seq) -> list[Stored]:
        """One event, of whichever journal; none where there is no such."""
        number, place = seq >> ELDER_BITS, Seq(seq & SEQ_MASK)
        journal = await self._journal(number)
        found = await journal.read(place, place)
        return [self._ours(stored, number) for stored in found]

    async def of_process(
        self,
        process: ProcessId,
        after: int = 0,
        kinds: Sequence[str] | None = None,
        least: int | None = None,
    ) -> list[Stored]:
        """As `Journal.of_process`, over all the homes that the process has had."""
        if not self._known:
            return await self._own.of_process(process, after, kinds, least)
        return await self._stay(0, process, after, None, kinds, least)

    async def past(
        self, process: ProcessId, after: int = 0, kinds: Sequence[str] | None = None
    ) -> AsyncIterator[Stored]:
        """The same, for whoever need not have all of it in RAM."""
        while found := await self.of_process(process, after, kinds, READ_EVENTS):
            for stored in found:
                yield stored
            after = found[-1].header.process_seq

    async def of_call(self, call: CallId) -> list[Stored]:
        """Its intent may be in another journal than its outcome."""
        found = await self._own.of_call(call)
        if found and found[0].header.kind == "call.entered":
            return found
        for number in self._known:
            journal = await self._journal(number)
            began = [self._ours(stored, number) for stored in await journal.of_call(call)]
            if began:
                return [*began, *found]
        return found

    async def part(self, tenant: TenantId, name: bytes) -> bytes:
        """A message: names are the same in all journals of a cluster."""
        try:
            return await self._own.part(tenant, name)
        except NotFound:
            for number in self._known:
                try:
                    return await (await self._journal(number)).part(tenant, name)
                except NotFound:
                    continue
            raise

    async def events(
        self, number: int, after: Seq = Seq(0), process: ProcessId | None = None
    ) -> AsyncIterator[tuple[Stored, Event | None]]:
        """All events of one elder, in order, with their sequence numbers as they are *there*: for
        projections that hold what its processes have written.  The event is None where its body
        is pruned or its kind is not known."""
        journal = await self._journal(number)
        while found := await journal.read(Seq(after + 1), limit=READ_EVENTS):
            for stored in found:
                after = stored.header.seq
                if process is None or stored.header.process == process:
                    yield stored, codec.decode(stored)

    async def put(self, number: int, journal: Journal) -> None:
        """Read this one from now on: it was opened after its last event was written."""
        earlier, self._open[number] = self._open.get(number), journal
        if earlier is not None:
            await earlier.close()

    async def close(self) -> None:
        for journal in self._open.values():
            await journal.close()
        self._open.clear()

    async def _journal(self, number: int) -> Journal:
        if number == 0:
            return self._own
        async with self._opening:
            if number not in self._open:
                known = self._known.get(number)
                if known is None:
                    raise NotFound(f"no journal has number {number} here")
                self._open[number] = await self.reach(known)
            return self._open[number]

    async def _stay(
        self,
        number: int,
        process: ProcessId,
        after: int,
        until: int | None,
        kinds: Sequence[str] | None,
        least: int | None,
    ) -> list[Stored]:
        """What it did in one journal, and before each arrival there, in the one it came from."""
        journal = await self._journal(number)
        wanted = None if kinds is None else (*kinds, ARRIVED)
        found: list[Stored] = []
        reached = after
        for stored in await journal.of_process(process, after, wanted, least):
            header = stored.header
            if until is not None and header.process_seq > until:
                break
            event = codec.decode(stored) if header.kind == ARRIVED else None
            if isinstance(event, ProcessArrived):
                elder = self._number(number, event.elder)
                until_then = header.process_seq - 1
                found += await self._stay(elder, process, reached, until_then, kinds, least)
                if least is not None and len(found) >= least:
                    return found
            if kinds is None or header.kind in kinds:
                found.append(self._ours(stored, number))
            reached = header.process_seq
        return found

    def seen(self, number: int, seq: Seq) -> Seq:
        """What journal `number` calls `seq`, as this one does."""
        elder = self._number(number, seq >> ELDER_BITS)
        return Seq(elder << ELDER_BITS | seq & SEQ_MASK)

    def _number(self, number: int, theirs: int) -> int:
        """Our number of what journal `number` calls `theirs`."""
        if number == 0 or theirs == 0:
            return theirs or number
        return self._known[number].elders[theirs]

    def _ours(self, stored: Stored, number: int) -> Stored:
        """An event of journal `number` with its references as this journal's would be."""
        if number == 0:
            return stored
        seen = partial(self.seen, number)
        header = replace(stored.header, seq=seen(stored.header.seq))
        if header.cause is not None:
            force_setattr(header, "cause", seen(header.cause))
        event = codec.decode(stored)
        moved = None if event is None else moved_references(event, seen)
        return Stored(header, stored.body if moved is None else codec.encode(moved))


def moved_references(event: Event, seen: Callable[[Seq], Seq]) -> Event | None:
    """The event with the sequence numbers in it as somebody elsewhere sees them; None: it has none.

    A kind of event that names events of its journal, and that a record is made of, has a row here.
    """
    match event:
        case CallEntered(context=context) if context is not None and context.parent_seq is not None:
            parent = seen(context.parent_seq)
            return replace(event, context=replace(context, parent_seq=parent))
        case ProcessCaughtUp():
            answered = tuple(replace(one, intent=seen(one.intent)) for one in event.answered)
            return replace(event, answered=answered)
        case Diverged():
            expected = None if event.expected is None else seen(event.expected)
            return replace(event, expected=expected, dropped=tuple(map(seen, event.dropped)))
        case _:
            return None
