"""What towns on one database have in common: places and the pen, as PostgreSQL has them.

Places are those of the events on the tapes: whichever kernel wrote them, no two may have one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import JournalId, Seq
from orlop.cluster.places import Placed, Standing
from orlop.store.chain import header_of
from orlop.store.volatile import VolatileTape


@dataclass
class Shelf:
    """One for all towns."""

    tapes: Mapping[str, VolatileTape]
    holder: JournalId | None = None
    line: list[JournalId] = field(default_factory=list)
    placed: list[tuple[Placed, str]] = field(default_factory=list)
    """In order, each with its kind."""
    _read: dict[str, int] = field(default_factory=dict)
    """Rows of each tape that have been looked at."""
    _early: dict[int, tuple[Placed, str]] = field(default_factory=dict)

    def look(self) -> list[tuple[Placed, str]]:
        """All that is on the tapes now."""
        for name, tape in self.tapes.items():
            meta = tape.look()
            rows = tape.rows(Seq(self._read.get(name, 0) + 1), None, 1_000_000)
            self._read[name] = self._read.get(name, 0) + len(rows)
            for row in rows:
                header = header_of(row)
                if header is not None and header.place is not None and meta is not None:
                    found = Placed(header.place, meta.journal, name, row.seq)
                    assert header.place not in self._early, "one place was taken twice"
                    assert header.place > len(self.placed), "one place was taken twice"
                    self._early[header.place] = (found, header.kind)
        while (following := len(self.placed) + 1) in self._early:
            self.placed.append(self._early.pop(following))
        return self.placed

    def let_go(self, journal: JournalId) -> None:
        if self.holder == journal:
            self.holder = None
        if journal in self.line:
            self.line.remove(journal)


class TownCommon:
    """As one town asks: each method is one transaction."""

    cluster = "town"

    def __init__(self, shelf: Shelf, is_cut_off: Callable[[], bool]) -> None:
        self._shelf = shelf
        self._is_cut_off = is_cut_off

    def look(self, me: JournalId) -> Standing:
        self._reach()
        shelf = self._shelf
        wanted = any(one != me for one in shelf.line)
        return Standing(head=Seq(len(shelf.look())), holder=shelf.holder, is_wanted=wanted)

    def ask(self, me: JournalId) -> Standing:
        self._reach()
        shelf = self._shelf
        if shelf.holder != me and me not in shelf.line:
            shelf.line.append(me)
        if shelf.holder is None:
            shelf.holder = shelf.line.pop(0)
        return self.look(me)

    def pass_on(self, me: JournalId, *, is_last: bool = False) -> None:
        self._reach()
        shelf = self._shelf
        if shelf.holder == me:
            shelf.holder = shelf.line.pop(0) if shelf.line else None
        if is_last:
            shelf.let_go(me)

    def rows(
        self, first: Seq, last: Seq, limit: int, kinds: Sequence[str] | None = None
    ) -> list[Placed]:
        self._reach()
        wanted = self._shelf.look()[first - 1 : last]
        return [row for row, kind in wanted if kinds is None or kind in kinds][:limit]

    def schemas(self) -> list[str]:
        self._reach()
        return list(self._shelf.tapes)

    def strike(self, schema: str, seqs: Sequence[Seq]) -> int:
        raise NotImplementedError("nobody erases anything in these towns")

    def close(self) -> None:
        pass

    def _reach(self) -> None:
        if self._is_cut_off():
            raise JournalStopped("the database can't be reached")
