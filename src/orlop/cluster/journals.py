"""The journals of all kernels on one database: an event is read from whichever it lies in.

A kernel's own is one of them.  Who may write is none of their business (`commons`).
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from orlop.abi.errors import JournalDamaged, NotFound
from orlop.abi.ids import JournalId, Seq, TenantId
from orlop.abi.limits import JOURNAL_READ_EVENTS
from orlop.cluster.places import Common, Placed
from orlop.machine.offload import Offload
from orlop.store.journal import Journal
from orlop.store.rows import Stored


class Journals:
    """reach: opens another kernel's journal for reading, by its schema."""

    def __init__(
        self,
        own: Journal,
        common: Common,
        ask: Offload,
        reach: Callable[[str], Awaitable[Journal]],
    ) -> None:
        self._own = own
        self._common = common
        self._ask = ask
        self._reach = reach
        self._readers: dict[str, Journal] = {}

    async def read(
        self,
        first: Seq,
        last: Seq,
        kinds: Sequence[str] | None = None,
        limit: int = JOURNAL_READ_EVENTS,
    ) -> list[Stored]:
        """The events at these places, in order; kinds: None: of all.

        Raises `JournalDamaged` where one is not what it should be.
        """
        rows = await self._ask(self._common.rows, first, last, limit, kinds)
        wanted: defaultdict[str, list[Seq]] = defaultdict(list)
        for row in rows:
            wanted[row.schema].append(row.seq)
        found: dict[tuple[str, Seq], Stored] = {}
        for schema, seqs in wanted.items():
            reader = await self._reader(schema)
            found |= {(schema, one.header.seq): one for one in await reader.at(seqs)}
        return [_checked(row, found.get((row.schema, row.seq))) for row in rows]

    async def part(self, tenant: TenantId, name: bytes) -> bytes:
        """Content that another kernel's journal has.  Raises `NotFound`."""
        for schema in await self._ask(self._common.schemas):
            try:
                return await (await self._reader(schema)).part(tenant, name)
            except NotFound:
                continue
        raise NotFound(f"no kernel's journal holds {name.hex()}, or it was pruned")

    async def others(self) -> Sequence[tuple[str, Journal]]:
        """The journals of all other kernels, with their schemas; also of those that are lost."""
        schemas = await self._ask(self._common.schemas)
        readers = [(schema, await self._reader(schema)) for schema in schemas]
        return [(schema, reader) for schema, reader in readers if reader is not self._own]

    async def schemas_of(self, places: Sequence[Seq]) -> dict[Seq, str]:
        """Of those places that other kernels have taken: whose each is."""
        found: dict[Seq, str] = {}
        for place in dict.fromkeys(places):
            for row in await self._ask(self._common.rows, place, place, 1, None):
                if row.journal != self._own.id:
                    found[place] = row.schema
        return found

    async def strike(self, places: Sequence[Seq]) -> int:
        """Forget the bodies of these events, whosever they are.  Returns how many."""
        await self._own.flush()
        found: defaultdict[tuple[JournalId, str], list[Seq]] = defaultdict(list)
        for place in places:
            for row in await self._ask(self._common.rows, place, place, 1, None):
                found[row.journal, row.schema].append(row.seq)
        struck = 0
        for (journal, schema), seqs in found.items():
            if journal == self._own.id:
                struck += await self._own.strike(seqs)
            else:
                struck += await self._ask(self._common.strike, schema, seqs)
        return struck

    async def close(self) -> None:
        """Of the others: our own closes itself."""
        for reader in self._readers.values():
            if reader is not self._own:
                await reader.close()

    async def _reader(self, schema: str) -> Journal:
        if (known := self._readers.get(schema)) is None:
            known = await self._reach(schema)
            self._readers.setdefault(schema, known)
        return known


def _checked(row: Placed, stored: Stored | None) -> Stored:
    if stored is None or stored.header.place != row.place:
        raise JournalDamaged(
            f"event {row.seq} of {row.schema}, which should be at place {row.place} of what"
            " kernels share, is missing or is another one"
        )
    return stored
