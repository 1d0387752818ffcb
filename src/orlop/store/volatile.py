"""A tape in RAM that outlives its journal as a disk does: for the simulation and for tests.

`crash` forgets what a disk may forget; `faults` makes it fail as planned.  Given the same seed, it
loses the same.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import BootId, ProcessId, Seq
from orlop.machine.chance import Chance
from orlop.store.anchor import SLOT_BYTES
from orlop.store.chain import GENESIS, digest_of
from orlop.store.rows import Body, Boot, Checkpoint, Entry, Meta, Row
from orlop.store.stamp import PART_BITS
from orlop.store.tape import ANCHOR_SLOTS


@dataclass(slots=True)
class DiskFaults:
    """What goes wrong, counted from when it is set; 0: nothing.

    What was being written when it failed is there or not after the next `crash`, as chance has it.
    """

    commit_fails_at: int = 0
    """The nth commit raises."""
    anchor_fails_at: int = 0
    """The nth write of an anchor slot raises; it may also be torn."""
    is_space_low: bool = False

    def is_due(self, name: str) -> bool:
        """Count down; True once, at the end."""
        left = int(getattr(self, name))
        if left > 0:
            setattr(self, name, left - 1)
        return left == 1


@dataclass(slots=True)
class _Disk:
    """Rows in order of sequence, with all bodies by place."""

    meta: Meta | None = None
    boots: list[Boot] = field(default_factory=list)
    rows: list[Entry] = field(default_factory=list)
    bodies: dict[int, Body] = field(default_factory=dict)
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    anchor: list[bytes] | None = None


class VolatileTape:
    """Invariant: a commit is there as a whole, or not at all."""

    def __init__(self) -> None:
        self.faults = DiskFaults()
        self.published: list[str] = []
        self._disk = _Disk()
        self._kept: list[_Disk] = []
        self._undecided: tuple[Sequence[Entry], Sequence[Checkpoint]] | None = None
        self._torn: tuple[int, bytes] | None = None
        self._places: dict[bytes, int] = {}
        self._keys: set[bytes] = set()
        self._of_process: dict[str, list[int]] = {}
        self._of_call: dict[str, list[int]] = {}
        self._is_locked = False
        self._is_stopped = False

    # The disk's own fate.

    def crash(self, chance: Chance) -> None:
        """The machine dies: what was being written is there or not, as `chance` has it."""
        self._is_locked = self._is_stopped = False
        if self._undecided is not None and chance.uniform() < 0.5:
            self._add(*self._undecided)
        if self._torn is not None and self._disk.anchor is not None:
            slot, data = self._torn
            cut = int(chance.uniform() * (SLOT_BYTES + 1))
            self._disk.anchor[slot] = data[:cut] + self._disk.anchor[slot][cut:]
        self._undecided = self._torn = None

    def lose_tail(self, events: int) -> None:
        """As a truncated write-ahead log: the newest events are gone, whole."""
        keep = max(len(self._disk.rows) - events, 0)
        for row in self._disk.rows[keep:]:
            for place in _places(row):
                del self._disk.bodies[place]
        del self._disk.rows[keep:]
        for size in [size for size in self._disk.checkpoints if size > keep]:
            del self._disk.checkpoints[size]
        self._index()

    def flip(self, seq: Seq, at: int) -> None:
        """One bit of the event's own ciphertext is another."""
        place = seq << PART_BITS
        body = self._disk.bodies[place]
        data = bytearray(body.data or b"")
        data[at % len(data)] ^= 1
        self._disk.bodies[place] = msgspec.structs.replace(body, data=bytes(data))

    def lose_anchor(self) -> None:
        self._disk.anchor = None

    # Reading.

    def look(self) -> Meta | None:
        return self._disk.meta

    def head(self) -> Row | None:
        return self._seen(self._disk.rows[-1]) if self._disk.rows else None

    def rows(self, first: Seq, last: Seq | None, limit: int) -> list[Row]:
        upper = len(self._disk.rows) if last is None else last
        return [self._seen(row) for row in self._disk.rows[first - 1 : upper][:limit]]

    def at(self, seqs: Sequence[Seq]) -> list[Row]:
        there = (seq for seq in sorted(seqs) if 0 < seq <= len(self._disk.rows))
        return [self._seen(self._disk.rows[seq - 1]) for seq in there]

    def of_process(
        self, process: ProcessId, after: int, kinds: Sequence[str] | None, limit: int
    ) -> list[Row]:
        places = self._of_process.get(process, [])
        # Numbers have gaps where the process was elsewhere.
        first = bisect_right(places, after, key=lambda at: self._disk.rows[at].header.process_seq)
        found = (self._disk.rows[at] for at in places[first:])
        wanted = [row for row in found if kinds is None or row.header.kind in kinds]
        return [self._seen(row) for row in wanted[:limit]]

    def of_call(self, call: str) -> list[Row]:
        return [self._seen(self._disk.rows[at]) for at in self._of_call.get(call, [])]

    def newest(self, kind: str, limit: int) -> list[Row]:
        found = (row for row in reversed(self._disk.rows) if row.header.kind == kind)
        return [self._seen(row) for row in islice(found, limit)]

    def process_head(self, process: ProcessId) -> int:
        places = self._of_process.get(process)
        return self._disk.rows[places[-1]].header.process_seq if places else 0

    def has_part(self, name: bytes) -> bool:
        return name in self._places

    def part(self, name: bytes) -> Body | None:
        place = self._places.get(name)
        return None if place is None else self._disk.bodies[place]

    def parts_between(self, first: Seq, last: Seq) -> list[Body]:
        found = []
        for row in self._disk.rows[first - 1 : last]:
            found += [self._disk.bodies[body.place] for body in row.brought]
        return found

    def checkpoints(self, newest: int | None = None) -> list[Checkpoint]:
        sizes = sorted(self._disk.checkpoints, reverse=True)
        return [self._disk.checkpoints[size] for size in sizes[:newest]]

    def boots(self) -> list[Boot]:
        return list(self._disk.boots)

    def anchor(self) -> tuple[bytes, ...] | None:
        return None if self._disk.anchor is None else tuple(self._disk.anchor)

    def flaws(self) -> list[str]:
        return []

    # Writing.

    def lock(self) -> None:
        if self._is_locked:
            raise JournalStopped("this journal is held by another kernel: end that one first")
        self._is_locked = True

    def recover(self) -> int:
        return 0  # It has no log of its own.

    def create(self, meta: Meta) -> None:
        self._disk.meta = meta

    def write(self) -> None:
        self._is_stopped = False

    def end_epoch(self, boot: BootId) -> None:
        """As whoever takes the journal over does: its owner writes no more."""
        epoch = max((boot.epoch for boot in self._disk.boots), default=0) + 1
        self._disk.boots.append(Boot(epoch, boot))

    def begin(self, boot: Boot) -> None:
        self._disk.boots.append(boot)

    def commit(self, entries: Sequence[Entry], checkpoints: Sequence[Checkpoint]) -> None:
        if self._is_stopped:
            raise JournalStopped("the journal is not open for writing")
        owned = max((boot.epoch for boot in self._disk.boots), default=0)
        if entries and entries[0].header.epoch < owned:
            raise JournalStopped("could not commit: another kernel has taken this journal over")
        keys = [row.header.key for row in entries if row.header.key is not None]
        if not self._keys.isdisjoint(keys) or len(keys) != len(set(keys)):
            raise JournalStopped("could not commit: a second outcome of one key")
        if self.faults.is_due("commit_fails_at"):
            self._undecided = (tuple(entries), tuple(checkpoints))
            raise JournalStopped("could not commit: the disk is full (as planned)")
        self._add(entries, checkpoints)

    def set_anchor(self, slot: int, data: bytes) -> None:
        if self._disk.anchor is None:
            self._disk.anchor = [b"\0" * SLOT_BYTES] * ANCHOR_SLOTS
        if self.faults.is_due("anchor_fails_at"):
            self._torn = (slot, data)
            raise JournalStopped("could not anchor: input/output error (as planned)")
        self._disk.anchor[slot] = data

    def forget(self, places: Sequence[int]) -> int:
        forgotten = 0
        for place in places:
            body = self._disk.bodies[place]
            if body.data is not None:
                self._disk.bodies[place] = Body(place, body.key_id, None, digest=digest_of(body))
                forgotten += 1
        self._index()
        return forgotten

    def strike(self, seqs: Sequence[Seq]) -> int:
        struck = 0
        for seq in seqs:
            for place in _places(self._disk.rows[seq - 1]):
                body = self._disk.bodies[place]
                if body.data is not None:
                    self._disk.bodies[place] = Body(
                        place, body.key_id, None, digest=digest_of(body)
                    )
                    struck += 1
        self._index()
        return struck

    def prune(self, before: Seq, keep: Sequence[str], before_wall_ns: int | None) -> int:
        pruned = 0
        for row in self._disk.rows[: before - 1]:
            header = row.header
            if header.kind in keep or header.wall_ns >= (before_wall_ns or 1 << 62):
                continue
            for place in _places(row):
                body = self._disk.bodies[place]
                if body.data is not None:
                    self._disk.bodies[place] = Body(
                        place, body.key_id, None, digest=digest_of(body)
                    )
                    pruned += 1
        self._index()
        return pruned

    def replace(
        self,
        meta: Meta,
        boots: Sequence[Boot],
        entries: Iterable[Entry],
        checkpoints: Sequence[Checkpoint],
    ) -> str:
        made = _Disk(meta, list(boots), [], {}, {one.size: one for one in checkpoints})
        made.anchor = self._disk.anchor
        for entry in list(entries):
            made.rows.append(entry)
            made.bodies |= {body.place: body for body in _bodies(entry)}
        self._kept.append(self._disk)
        self._disk = made
        self._index()
        return f"RAM, as number {len(self._kept)}"

    def publish(self, note: str) -> None:
        self.published.append(note)

    def is_space_low(self) -> bool:
        return self.faults.is_space_low

    def stop(self) -> None:
        self._is_stopped = True

    def close(self) -> None:
        self._is_locked = False

    def _add(self, entries: Sequence[Entry], checkpoints: Sequence[Checkpoint]) -> None:
        for entry in entries:
            self._disk.rows.append(entry)
            for body in _bodies(entry):
                self._disk.bodies[body.place] = body
            self._note(entry)
        for made in checkpoints:
            self._disk.checkpoints[made.size] = made

    def _index(self) -> None:
        self._places.clear()
        self._keys.clear()
        self._of_process.clear()
        self._of_call.clear()
        for row in self._disk.rows:
            self._note(row)

    def _note(self, row: Entry) -> None:
        header = row.header
        self._of_process.setdefault(header.process, []).append(header.seq - 1)
        if header.key is not None:
            self._keys.add(header.key)
        if header.call is not None:
            self._of_call.setdefault(header.call, []).append(header.seq - 1)
        for place in _places(row):
            name = self._disk.bodies[place].name
            if name is not None:
                self._places[name] = place

    def _seen(self, entry: Entry) -> Row:
        """The row with its body as it is now."""
        row = entry.row
        prev = self._disk.rows[row.seq - 2].row.hash if row.seq > 1 else GENESIS
        own = self._disk.bodies.get(row.seq << PART_BITS)
        if own is None:
            return Row(row.seq, row.text, row.hash, row.parts, prev, None, None)
        return Row(
            row.seq, row.text, row.hash, row.parts, prev, own.key_id, own.data, own.digest, own.blob
        )


def _bodies(entry: Entry) -> Iterator[Body]:
    row = entry.row
    if row.key_id is not None:
        yield Body(row.seq << PART_BITS, row.key_id, row.data, None, row.digest, row.blob)
    yield from entry.brought


def _places(entry: Entry) -> list[int]:
    return [entry.row.seq << PART_BITS, *(body.place for body in entry.brought)]
