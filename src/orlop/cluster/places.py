"""Places of events that several kernels share, and the pen that gives them: the database's half."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from orlop.abi.ids import JournalId, Seq


class Standing(Struct, frozen=True, kw_only=True):
    """How things stand in the database."""

    head: Seq
    """The newest place that is taken."""
    holder: JournalId | None
    is_wanted: bool
    """By another kernel than the one that asks."""


class Placed(Struct, frozen=True):
    """Where the event with a place lies."""

    place: Seq
    journal: JournalId
    schema: str
    seq: Seq


class Common(Protocol):
    """The database's half.  All methods block, and raise `JournalStopped` where it is away."""

    @property
    def cluster(self) -> str:
        """Whose it is: kernels with another secret have nothing to do with it."""
        ...

    def look(self, me: JournalId) -> Standing: ...

    def ask(self, me: JournalId) -> Standing:
        """Take the pen, or stand in the line for it."""
        ...

    def pass_on(self, me: JournalId, *, is_last: bool = False) -> None:
        """To the next in the line, or to whoever asks first.  is_last: nor does it want it back."""
        ...

    def rows(
        self, first: Seq, last: Seq, limit: int, kinds: Sequence[str] | None = None
    ) -> list[Placed]:
        """In order.  kinds: None: all."""
        ...

    def schemas(self) -> list[str]:
        """Of all journals."""
        ...

    def strike(self, schema: str, seqs: Sequence[Seq]) -> int:
        """Forget these bodies of another kernel's journal.  Returns how many."""
        ...

    def close(self) -> None: ...
