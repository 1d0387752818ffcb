"""Looking a journal over: the chain, the bodies, the checkpoints, the anchor.  Needs no secret key.

Boot and `orlop journal verify` ask the same questions here, and get the same answers.
"""

from collections.abc import Callable

from msgspec import Struct

from orlop.abi.errors import JournalDamaged
from orlop.abi.events import Header
from orlop.abi.ids import Seq
from orlop.abi.kernels import ARRIVED
from orlop.abi.limits import JOURNAL_READ_EVENTS, VERIFY_WHOLE_EVENTS
from orlop.store import anchor, checkpoint, merkle
from orlop.store.anchor import Anchor
from orlop.store.chain import GENESIS, digest_of, flaw_between, flaw_in_body, header_of
from orlop.store.checkpoint import Statement
from orlop.store.keyring import Verifier
from orlop.store.rows import Body, Checkpoint, Meta, Row
from orlop.store.stamp import PART_BITS
from orlop.store.tape import Reading

Progress = Callable[[int, int], None]
"""Events done, events in all."""


class Damage(Struct, frozen=True):
    """One thing that is wrong.  `last` None: up to the end, whatever that was.

    is_body: only this event's body is wrong; the chain goes on, so nothing else is lost with it.
    """

    first: Seq
    last: Seq | None
    reason: str
    is_body: bool = False

    def __str__(self) -> str:
        if self.last is None:
            return f"from event {self.first} on: {self.reason}"
        if self.last == self.first:
            return f"event {self.first}: {self.reason}"
        return f"events {self.first} to {self.last}: {self.reason}"


class Finding(Struct):
    """What an audit found.  `tree` and `head` are good up to the first damage that is no body's."""

    tree: merkle.Tree
    meta: Meta | None = None
    head: Header | None = None
    anchor: Anchor | None = None
    slots_bad: list[int] = []
    losses: list[Header] = []
    """`LossAccepted` events."""
    checkpoints: int = 0
    epoch_max: int = 0
    events_verified: int = 0
    events_after_anchor: int = 0
    damage: list[Damage] = []
    warnings: list[str] = []


class Audit:
    """One look at one journal.

    whole: from the first event on; else from the newest good checkpoint where the journal is long.
    """

    def __init__(
        self, tape: Reading, verifier: Verifier | None, whole: bool, progress: Progress | None
    ) -> None:
        self._tape = tape
        self._verifier = verifier
        self._whole = whole
        self._progress = progress
        self._checkpoints: dict[int, Checkpoint] = {}
        self._process_seqs: dict[str, int] = {}
        self._anchor_hash: bytes | None = None
        self.found = Finding(tree=merkle.Tree())

    def run(self) -> Finding:
        found = self.found
        try:
            slots = self._tape.anchor()
            if slots is not None:
                found.anchor, found.slots_bad = anchor.newest(slots)
            found.meta = self._tape.look()
            if found.meta is not None:
                self._look_over()
        except JournalDamaged as error:
            self._damaged(self._next(), None, error.message)
        # A flipped bit may make a number of a text anywhere: what we can't take apart is damaged.
        except (AttributeError, TypeError, ValueError) as error:
            self._damaged(self._next(), None, f"a row is not of its type: {error}")
        self._against_anchor()
        return found

    def _look_over(self) -> None:
        found = self.found
        head = self._tape.head()
        total = 0 if head is None else head.seq
        found.epoch_max = max((boot.epoch for boot in self._tape.boots()), default=0)
        self._whole = self._whole or total <= VERIFY_WHOLE_EVENTS
        if self._whole:
            for flaw in self._tape.flaws():
                self._damaged(Seq(1), None, f"the storage itself is damaged: {flaw}")
            self._checkpoints = {made.size: made for made in self._tape.checkpoints()}
            found.checkpoints = len(self._checkpoints)
            self._check_signatures()
        else:
            self._start_at_checkpoint()
        self._walk(total)

    def _check_signatures(self) -> None:
        for made in self._checkpoints.values():
            if self._verifier is not None and self._statement(made) is None:
                self.found.warnings.append(f"the checkpoint of {made.size} events is not ours")

    def _start_at_checkpoint(self) -> None:
        """The newest one whose signature is good and whose event is still as it was."""
        for made in self._tape.checkpoints(newest=8):
            said = self._statement(made)
            rows = self._tape.rows(Seq(made.size), Seq(made.size), 1) if said else []
            head = header_of(rows[0]) if rows else None
            if said is None or head is None or head.hash != said.head:
                self.found.warnings.append(f"the checkpoint of {made.size} events is not usable")
                continue
            self.found.tree = merkle.Tree.unpack(made.size, made.frontier)
            self.found.head = head
            return

    def _statement(self, made: Checkpoint) -> Statement | None:
        if self._verifier is None or self.found.meta is None:
            return None
        return checkpoint.is_good(made, self.found.meta.journal, self._verifier)

    def _walk(self, total: int) -> None:
        if self.found.head is not None:
            self._note_anchor(self.found.head)
        while not self._is_cut():
            rows = self._tape.rows(self._next(), None, JOURNAL_READ_EVENTS)
            if not rows:
                return
            parts = self._tape.parts_between(rows[0].seq, rows[-1].seq)
            if not self._walk_chunk(rows, parts):
                return
            if self._progress is not None:
                self._progress(self._next() - 1, total)

    def _walk_chunk(self, rows: list[Row], parts: list[Body]) -> bool:
        """False where the chain breaks: what follows can't be trusted."""
        digests: dict[int, list[bytes | None]] = {}
        for body in parts:
            is_lost = body.data is None and body.blob is not None
            digest = None if is_lost else digest_of(body)
            digests.setdefault(body.place >> PART_BITS, []).append(digest)
        for row in rows:
            header = header_of(row) if row.seq == self._next() else None
            if header is None:
                is_missing = row.seq != self._next()
                self._broken(row, "missing" if is_missing else "its header does not fit its hash")
                return False
            flaw = flaw_between(self.found.head, header) or self._flaw_in_process(header)
            if flaw is not None:
                self._broken(row, flaw)
                return False
            flaw = flaw_in_body(row, header) or _flaw_in_parts(row, digests.get(row.seq, []))
            if flaw is not None:
                self._damaged(row.seq, row.seq, flaw, is_body=True)
            self._accept(header)
        return True

    def _broken(self, row: Row, flaw: str) -> None:
        self._damaged(self._next(), None, f"{flaw} (stored next: event {row.seq})")

    def _accept(self, header: Header) -> None:
        found = self.found
        found.head = header
        found.events_verified += 1
        found.epoch_max = max(found.epoch_max, header.epoch)
        found.tree.add(header.hash)
        if header.kind == "journal.loss_accepted":
            found.losses.append(header)
        self._note_anchor(header)
        made = self._checkpoints.get(header.seq)
        if made is not None and self._statement(made) and found.tree.root() != made.root:
            self._damaged(header.seq, None, "the history is not the one that was signed here")

    def _flaw_in_process(self, header: Header) -> str | None:
        if not self._whole:
            return None
        wanted = self._process_seqs.get(header.process, 0) + 1
        self._process_seqs[header.process] = header.process_seq
        # What it did elsewhere meanwhile is in another journal.
        if header.process_seq == wanted or (header.kind == ARRIVED and header.process_seq > wanted):
            return None
        return f"it should be event {wanted} of process {header.process}"

    def _note_anchor(self, header: Header) -> None:
        if self.found.anchor is not None and header.seq == self.found.anchor.seq:
            self._anchor_hash = header.hash

    def _against_anchor(self) -> None:
        """Ahead is a commit that was not acknowledged; behind, or elsewhere, is a loss."""
        found, head = self.found, self._next() - 1
        mark = found.anchor
        if mark is None:
            if head > 0 and not self._is_cut():
                self._damaged(Seq(head + 1), None, "the head anchor is missing or unreadable")
            return
        if found.meta is None and mark.seq == 0 and mark.epoch == 0:
            return
        if found.meta is not None and mark.journal != found.meta.journal:
            self._damaged(Seq(1), None, f"the head anchor belongs to journal {mark.journal}")
        elif mark.seq > head and not self._is_cut():
            self._damaged(Seq(head + 1), mark.seq, "lost: the head anchor has seen them")
        elif found.meta is None:
            self._damaged(Seq(1), None, "the database is missing, and its head anchor is not")
        elif mark.seq <= head:
            self._compare(mark, head)

    def _compare(self, mark: Anchor, head: int) -> None:
        self.found.events_after_anchor = head - mark.seq
        seen = GENESIS if mark.seq == 0 else self._anchor_hash
        if seen is None:
            # The anchor is older than the checkpoint that we began at.
            rows = self._tape.rows(mark.seq, mark.seq, 1)
            seen = rows[0].hash if rows and header_of(rows[0]) is not None else None
        if seen is None or seen.hex() != mark.hash:
            self._damaged(mark.seq, None, "the head anchor has seen another history")

    def _next(self) -> Seq:
        return Seq(1 if self.found.head is None else self.found.head.seq + 1)

    def _is_cut(self) -> bool:
        return any(not damage.is_body for damage in self.found.damage)

    def _damaged(self, first: Seq, last: Seq | None, reason: str, is_body: bool = False) -> None:
        self.found.damage.append(Damage(first, last, reason, is_body))


def _flaw_in_parts(row: Row, digests: list[bytes | None]) -> str | None:
    if not row.parts and not digests:
        return None
    if None in digests:
        return "a message that it brought is missing"
    if b"".join(digest for digest in digests if digest is not None) != row.parts:
        return "a message that it brought does not fit its digest"
    return None
