"""A journal copied event for event, as it lies there: ciphertexts, chain, checkpoints.

Events are only ever appended, so the first n of them are a consistent copy, also while a kernel
goes on writing; and a copy is brought up to date by what came since.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from orlop.abi.errors import Conflict, JournalDamaged
from orlop.abi.events import Header
from orlop.abi.ids import Seq
from orlop.abi.limits import JOURNAL_READ_EVENTS
from orlop.store import anchor
from orlop.store.anchor import Anchor
from orlop.store.chain import digest_of, flaw_in_body, header_of
from orlop.store.rows import Body, Entry, Meta, Row
from orlop.store.stamp import PART_BITS
from orlop.store.tape import ANCHOR_SLOTS, Reading, Tape

Progress = Callable[[int, int], None]
DIGEST_BYTES = 32


class Copied(Struct, frozen=True, kw_only=True):
    """meta: of the journal.  head: of the newest event that is in the copy; None: there is none."""

    meta: Meta
    head: Header | None
    events: int
    """Copied this time."""


def copy(source: Reading, target: Tape, until: Seq | None, progress: Progress) -> Copied:
    """Bring `target`, which is locked and may hold an earlier copy, up to event `until`, durably.

    Raises `JournalDamaged` where an event of the source is not as it was written, `Conflict` where
    the target holds another history.
    """
    meta = source.look()
    if meta is None:
        raise Conflict("there is no journal to copy yet; `orlop up` makes one")
    first = _begin(source, target, meta)
    newest = source.head()
    last = Seq(0 if newest is None else newest.seq)
    last = last if until is None else min(last, until)
    checkpoints = {made.size: made for made in source.checkpoints()}
    known = {boot.epoch for boot in target.boots()}
    for boot in sorted(source.boots(), key=lambda boot: boot.epoch):
        if boot.epoch not in known:
            target.begin(boot)
    head: Header | None = None
    for batch in _batches(source, first, last):
        due = [checkpoints[one.row.seq] for one in batch if one.row.seq in checkpoints]
        target.commit(batch, due)
        head = batch[-1].header
        progress(head.seq, last)
    if head is None and (row := target.head()) is not None:
        head = header_of(row)
    return Copied(meta=meta, head=head, events=max(0, last - first + 1))


def anchored(target: Tape, copied: Copied, epoch: int) -> None:
    """A head anchor of the copy's own: its newest event is what it vouches for."""
    head = copied.head
    slots = target.anchor()
    known = None if slots is None else anchor.newest(slots)[0]
    generation = 0 if known is None else known.generation
    for _ in range(ANCHOR_SLOTS):
        generation += 1
        slot = Anchor(
            epoch,
            generation,
            bytes(32).hex() if head is None else head.hash.hex(),
            copied.meta.journal,
            Seq(0) if head is None else head.seq,
        )
        target.set_anchor(generation % ANCHOR_SLOTS, anchor.encode(slot))


def _begin(source: Reading, target: Tape, meta: Meta) -> Seq:
    """The first event that the target lacks."""
    there = target.look()
    if there is None:
        target.create(meta)
        target.write()
        return Seq(1)
    if there.journal != meta.journal:
        raise Conflict(f"the target holds journal {there.journal}, which is not {meta.journal}")
    target.write()
    row = target.head()
    if row is None:
        return Seq(1)
    same = source.rows(row.seq, row.seq, 1)
    if not same or same[0].hash != row.hash:
        raise Conflict(
            f"the target holds another history: its event {row.seq} is not the one of this journal"
        )
    return Seq(row.seq + 1)


def _batches(source: Reading, first: Seq, last: Seq) -> Iterator[list[Entry]]:
    while first <= last:
        rows = source.rows(first, last, JOURNAL_READ_EVENTS)
        if not rows or rows[0].seq != first:
            raise JournalDamaged(f"event {first} is missing; `orlop journal verify` says more")
        parts = {body.place: body for body in source.parts_between(first, rows[-1].seq)}
        yield [_entry(row, parts) for row in rows]
        first = Seq(rows[-1].seq + 1)


def _entry(row: Row, found: dict[int, Body]) -> Entry:
    header = header_of(row)
    flaw = "its header does not fit its hash" if header is None else flaw_in_body(row, header)
    if header is None or flaw is not None:
        raise JournalDamaged(f"event {row.seq}: {flaw}; `orlop journal verify` says more")
    count = len(row.parts) // DIGEST_BYTES
    brought = [found.get((row.seq << PART_BITS) + at) for at in range(1, count + 1)]
    whole = tuple(body for body in brought if body is not None)
    if b"".join(digest_of(body) or b"" for body in whole) != row.parts:
        raise JournalDamaged(f"event {row.seq}: a message that it brought is not what it was")
    return Entry(row, header, whole)
