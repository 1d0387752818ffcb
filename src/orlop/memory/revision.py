"""What a write does to a memory: which versions it closes, and which it opens.  Pure.

Invariants:
1. What is open of a memory is true at different times: two open versions never overlap.
2. A version's number is used once; the newest content has the greatest.
3. A sealed version is not closed.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from orlop.abi.errors import Conflict
from orlop.abi.ids import Nanoseconds, ProcessId, TenantId
from orlop.abi.limits import MEMORY_VERSIONS_MAX
from orlop.abi.memory import Change, How, MemoryId, Version
from orlop.memory.columns import ALWAYS_NS, NEVER_NS
from orlop.memory.heads import Head, Place

GONE: Final = 0
"""The version of a memory that nobody may know: there is none."""


def current(place: Place | None) -> int:
    """The version that a writer must name; 0: there is none, or it is closed."""
    return place.heads[-1].version if place is not None and place.heads else GONE


def require(memory: str, place: Place | None, expected: int | None) -> None:
    """Raises `Conflict` where the caller knows another version than the current one."""
    now = current(place)
    if expected is not None and expected != now:
        said = f"version {now} is current" if now else "there is no current version"
        raise Conflict(f"{memory or 'the memory'}: you know version {expected}, but {said}")


def revise(
    place: Place | None, record: Version, writer: ProcessId, *, is_known: bool, how: How
) -> Change:
    """Supersede what is open wherever `record` is valid.  is_known: the writer named the version.

    record: its version number is chosen here.  Raises `Conflict` where something is sealed.
    """
    heads = place.heads if place is not None else ()
    newest = place.newest if place is not None else 0
    start, end = span(record)
    hit = [head for head in heads if head.valid_from_ns < end and start < head.valid_to_ns]
    require_unsealed(record.memory, hit)
    left: list[Version] = []
    for head in hit:
        if head.valid_from_ns < start:
            left.append(_part(record.memory, head, head.valid_from_ns, start))
        if end < head.valid_to_ns:
            left.append(_part(record.memory, head, end, head.valid_to_ns))
    opens = [
        replace(one, version=newest + number) for number, one in enumerate([*left, record], start=1)
    ]
    if opens[-1].version > MEMORY_VERSIONS_MAX:
        raise Conflict(f"{record.memory} has {newest} versions (MEMORY_VERSIONS_MAX)")
    return Change(
        memory=record.memory,
        how=how if newest else "new",
        closes=tuple(head.version for head in hit),
        opens=tuple(opens),
        blind=not is_known and any(head.process != writer for head in hit),
    )


def forget(place: Place, memory: MemoryId) -> Change:
    """Close all that is open.  Raises `Conflict` where something is sealed."""
    require_unsealed(memory, place.heads)
    return Change(
        memory=memory, how="forgotten", closes=tuple(head.version for head in place.heads)
    )


def restore(place: Place, memory: MemoryId, open_then: Sequence[Head]) -> Change | None:
    """As it was when `open_then` was known; None: it is so still."""
    now = {head.version for head in place.heads}
    then = {head.version for head in open_then}
    closed = [head for head in place.heads if head.version not in then]
    back = [head for head in open_then if head.version not in now]
    if not back and not closed:
        return None
    require_unsealed(memory, closed)
    opens = tuple(
        replace(
            _part(memory, head, head.valid_from_ns, head.valid_to_ns), version=place.newest + number
        )
        for number, head in enumerate(back, start=1)
    )
    closes = tuple(head.version for head in closed)
    return Change(memory=memory, how="restored", closes=closes, opens=opens)


def after(
    place: Place | None, change: Change, writer: ProcessId, where: tuple[TenantId, str]
) -> Place:
    """What the memory is once `change` is folded, for who writes before that."""
    tenant, namespace = where
    kept = [] if place is None else [h for h in place.heads if h.version not in change.closes]
    opened = [head_of(version, writer) for version in change.opens]
    newest = max(
        [place.newest if place is not None else 0, *(version.version for version in change.opens)]
    )
    heads = tuple(sorted([*kept, *opened], key=lambda head: head.version))
    return Place(tenant, namespace, heads, newest)


def head_of(version: Version, process: ProcessId) -> Head:
    start, end = span(version)
    return Head(
        version=version.version,
        valid_from_ns=start,
        valid_to_ns=end,
        expires_ns=NEVER_NS if version.expires_ns is None else version.expires_ns,
        is_sealed=version.sealed,
        process=process,
        key=version.key,
        kind=version.kind,
        subject=version.subject,
        confidence=version.confidence,
        sources=version.sources,
        model=version.model,
        schema=version.schema,
    )


def span(version: Version) -> tuple[int, int]:
    """When it is true: from, and until before."""
    start = ALWAYS_NS if version.valid_from_ns is None else version.valid_from_ns
    end = NEVER_NS if version.valid_to_ns is None else version.valid_to_ns
    return start, end


def require_unsealed(memory: MemoryId, heads: Sequence[Head]) -> None:
    if any(head.is_sealed for head in heads):
        raise Conflict(f"{memory} is sealed: nobody may supersede or forget it")


def _part(memory: MemoryId, head: Head, start: int, end: int) -> Version:
    """The content of an earlier version, true from `start` until before `end`."""
    return Version(
        memory=memory,
        version=0,
        copy_of=head.version,
        key=head.key,
        kind=head.kind,
        subject=head.subject,
        valid_from_ns=None if start == ALWAYS_NS else Nanoseconds(start),
        valid_to_ns=None if end == NEVER_NS else Nanoseconds(end),
        expires_ns=None if head.expires_ns == NEVER_NS else Nanoseconds(head.expires_ns),
        confidence=head.confidence,
        sources=head.sources,
        model=head.model,
        sealed=head.is_sealed,
        schema=head.schema,
    )
