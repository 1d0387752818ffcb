"""What a place to keep a journal must do.  SQLite, PostgreSQL and RAM are tapes.

A tape stores and finds; it does not judge.  All methods block.  The journal calls the reading ones
from any thread, the writing ones from one thread, never two at once.  A tape that can't be written
raises `JournalStopped`; one that reads what it did not write, `JournalDamaged`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from orlop.abi.ids import ProcessId, Seq
from orlop.store.rows import Body, Boot, Checkpoint, Entry, Meta, Row

ANCHOR_SLOTS = 2


class Reading(Protocol):
    """The half that works on a damaged journal too."""

    def look(self) -> Meta | None:
        """Open for reading.  None: there is no journal yet.  Changes nothing on disk."""
        ...

    def head(self) -> Row | None:
        """The newest event."""
        ...

    def rows(self, first: Seq, last: Seq | None, limit: int) -> list[Row]:
        """In order.  `prev` is the hash of the row before, as it lies there (or GENESIS)."""
        ...

    def at(self, seqs: Sequence[Seq]) -> list[Row]:
        """Single events, as far as they are there, in order."""
        ...

    def of_process(
        self, process: ProcessId, after: int, kinds: Sequence[str] | None, limit: int
    ) -> list[Row]:
        """In order of `process_seq`, those greater than `after`."""
        ...

    def of_call(self, call: str) -> list[Row]: ...

    def newest(self, kind: str, limit: int) -> list[Row]:
        """Of a kind, from the newest back."""
        ...

    def process_head(self, process: ProcessId) -> int:
        """The greatest `process_seq`; 0 if there is none."""
        ...

    def part(self, name: bytes) -> Body | None: ...

    def has_part(self, name: bytes) -> bool:
        """Called on the event loop: an index lookup."""
        ...

    def parts_between(self, first: Seq, last: Seq) -> list[Body]:
        """The bodies of all parts that these events brought, in order of place."""
        ...

    def checkpoints(self, newest: int | None = None) -> list[Checkpoint]:
        """Newest first; all where `newest` is None."""
        ...

    def boots(self) -> list[Boot]: ...

    def anchor(self) -> tuple[bytes, ...] | None:
        """The head anchor's slots as they lie there; None where it is missing."""
        ...

    def flaws(self) -> list[str]:
        """What the storage itself finds wrong (pages, indexes), in words."""
        ...

    def close(self) -> None: ...


class Tape(Reading, Protocol):
    """Everything, for the one that holds the lock."""

    def lock(self) -> None:
        """Exclusive, until `close`."""
        ...

    def create(self, meta: Meta) -> None:
        """A new, empty journal."""
        ...

    def write(self) -> None:
        """Open for writing; from here on `commit` may be called."""
        ...

    def begin(self, boot: Boot) -> None:
        """Remember a new epoch, durably."""
        ...

    def recover(self) -> int:
        """Put in place what was acknowledged and lies in a log of the tape's own.  Returns how many
        events; 0 also where what is there is damaged, which others find out."""
        ...

    def commit(self, entries: Sequence[Entry], checkpoints: Sequence[Checkpoint]) -> None:
        """All or nothing, for all readers; durable with the anchor that comes next, or before."""
        ...

    def set_anchor(self, slot: int, data: bytes) -> None:
        """Make this anchor, and all that was committed, durable.  A tape that has no log to write
        it to overwrites this slot, and never touches the other one."""
        ...

    def forget(self, places: Sequence[int]) -> int:
        """Forget the ciphertext and the names of these bodies; digests stay.  Returns how many."""
        ...

    def strike(self, seqs: Sequence[Seq]) -> int:
        """Forget the bodies of these events and of the parts that they brought; digests stay."""
        ...

    def prune(self, before: Seq, keep: Sequence[str], before_wall_ns: int | None) -> int:
        """Forget the ciphertext and the names of the bodies of events before `before` (and older
        than `before_wall_ns`) whose kind is not in `keep`; keep the digests.  Returns how many."""
        ...

    def replace(
        self,
        meta: Meta,
        boots: Sequence[Boot],
        entries: Iterable[Entry],
        checkpoints: Sequence[Checkpoint],
    ) -> str:
        """Make these the whole content; the old state is kept, at what is returned.

        For `accept_loss` alone: there is no other way to take an event away.
        """
        ...

    def publish(self, note: str) -> None:
        """Give a checkpoint to whoever keeps copies outside, as well as may be."""
        ...

    def is_space_low(self) -> bool: ...

    def stop(self) -> None:
        """After a failure: write no more, give back the reserve, stay readable."""
        ...
