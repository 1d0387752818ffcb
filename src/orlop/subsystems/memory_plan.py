"""The changes of one event, each made on what those before it leave.

Between the first look and `write` nothing may be waited for: so nobody else's write comes between.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from orlop.abi.errors import BadCall, NotFound
from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.labels import NO_LABELS, checked, together
from orlop.abi.memory import (
    Change,
    How,
    Item,
    MemoryId,
    MemoryWritten,
    Target,
    Version,
    Written,
)
from orlop.machine.chance import mint
from orlop.machine.clock import NS_PER_S
from orlop.memory import revision
from orlop.memory.heads import Head, Place
from orlop.memory.memories import Memories
from orlop.state.core import Kernel


def held(memories: Memories, tenant: TenantId, memory: MemoryId) -> Place:
    """Raises `NotFound`, also for another tenant's."""
    place = memories.place(memory)
    if place is None or place.tenant != tenant:
        raise NotFound(f"no memory {memory!r}; `orlop memory recall` finds them")
    return place


class Plan:
    """The changes of one event, each made on what those before it leave."""

    def __init__(
        self,
        kernel: Kernel,
        memories: Memories,
        tenant: TenantId,
        writer: ProcessId,
        namespace: str,
        labels: tuple[str, ...] = NO_LABELS,
    ) -> None:
        """labels: of what is written."""
        self._kernel = kernel
        self._memories = memories
        self._tenant = tenant
        self._writer = writer
        self._namespace = namespace
        self._labels = labels
        self._places: dict[MemoryId, Place] = {}
        self._keys: dict[str, MemoryId] = {}
        self.changes: list[Change] = []
        self._moves: list[tuple[MemoryId, Place | None, Place]] = []
        """What each change makes of its memory: before, after."""
        self.written: list[Written] = []

    def item(self, item: Item, vector: bytes, shape: int, subject: str = "") -> None:
        """subject: whose case it is, where the item names nobody; else it stays whose it was.

        Raises `Conflict`, `NotFound`, `BadCall`.
        """
        memory = item.memory
        if not memory and item.key:
            memory = self._keys.get(item.key) or (
                self._memories.with_key(self._tenant, self._namespace, item.key) or MemoryId("")
            )
        place = self.place(memory) if memory else None
        revision.require(memory or item.key, place, item.expected)
        memory = memory or MemoryId(mint("mem", self._kernel.chance, self._kernel.clock.wall_ns()))
        head = place.heads[-1] if place is not None and place.heads else None
        record = replace(self._version(memory, item, head, subject), schema=shape, vector=vector)
        change = revision.revise(
            place,
            record,
            self._writer,
            is_known=item.expected is not None,
            how="superseded",
        )
        before = revision.current(place)
        self._note(change, place)
        if record.key:
            self._keys[record.key] = memory
        self.written.append(
            Written(memory, change.opens[-1].version, supersedes=before, blind=change.blind)
        )

    def _version(self, memory: MemoryId, item: Item, head: Head | None, subject: str) -> Version:
        """head: of the memory now; what the item does not say of key and subject stays."""
        expires_ns: Nanoseconds | None = None
        if item.ttl_s is not None:
            now_ns = self._kernel.clock.wall_ns()
            expires_ns = Nanoseconds(now_ns + round(item.ttl_s * NS_PER_S))
        if item.subjects:
            subject = item.subjects[0]
        elif not subject and head is not None:
            subject = head.subject
        return Version(
            memory=memory,
            version=0,
            text=item.text,
            key=item.key or (head.key if head is not None else ""),
            kind=item.kind,
            attributes=item.attributes,
            subject=subject,
            valid_from_ns=item.valid_from_ns,
            valid_to_ns=item.valid_to_ns,
            expires_ns=expires_ns,
            confidence=item.confidence,
            sources=item.sources,
            model=item.model,
            sealed=item.sealed,
            labels=together(self._labels, checked(item.labels)),
        )

    def forget(self, target: Target, how: How = "forgotten") -> None:
        """Raises `Conflict`, `NotFound`."""
        place = self.place(target.memory)
        revision.require(target.memory, place, target.version or None)
        if not place.heads:
            raise NotFound(f"{target.memory} is forgotten already")
        change = replace(revision.forget(place, target.memory), how=how)
        self.written.append(Written(target.memory, 0, supersedes=revision.current(place)))
        self._note(change, place)

    def restore(self, memory: MemoryId, open_then: Sequence[Head]) -> None:
        """As it was; see `revision.restore`."""
        place = self.place(memory)
        change = revision.restore(place, memory, open_then)
        if change is not None:
            newest = max((version.version for version in change.opens), default=0)
            self.written.append(Written(memory, newest, supersedes=revision.current(place)))
            self._note(change, place)

    def write(
        self,
        call: CallId | None,
        vector_model: str = "",
        links: tuple[tuple[str, ...], ...] = (),
        reason: str = "",
    ) -> Seq:
        """Append the event; from now on every writer knows of it."""
        header = self._kernel.emit(
            self._writer,
            self._tenant,
            MemoryWritten(
                namespace=self._namespace,
                changes=tuple(self.changes),
                vector_model=vector_model,
                links=links,
                reason=reason,
            ),
            call=call,
        )
        for memory, before, after in self._moves:
            self._memories.wrote(header.moment, memory, before, after)
        return header.seq

    def place(self, memory: MemoryId) -> Place:
        """Raises `NotFound`; `BadCall` where it lies in another namespace."""
        if (known := self._places.get(memory)) is not None:
            return known
        place = held(self._memories, self._tenant, memory)
        if place.namespace != self._namespace:
            raise BadCall(f"{memory} lies in {place.namespace}, not in {self._namespace}")
        return place

    def _note(self, change: Change, place: Place | None) -> None:
        after = revision.after(place, change, self._writer, (self._tenant, self._namespace))
        self._places[change.memory] = after
        self._moves.append((change.memory, place, after))
        self.changes.append(change)
