"""From a tape at rest to a journal that lives: examine, take a new epoch, be ready to stamp."""

from msgspec import Struct

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import BootId, JournalId, Seq
from orlop.machine.chance import Chance, mint
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload
from orlop.store.audit import Audit, Damage, Finding
from orlop.store.chain import GENESIS
from orlop.store.committer import Committer, Writer
from orlop.store.keyring import Keyring
from orlop.store.rows import Boot, Meta
from orlop.store.salvage import salvaged
from orlop.store.seal import Sealer
from orlop.store.stamp import Stamper
from orlop.store.tape import Tape

FORMAT = 1
"""Of the journal as a whole; a newer one is refused, older ones are read for ever."""


class Opening(Struct, frozen=True, kw_only=True):
    """How the journal was found."""

    journal: JournalId
    epoch: int
    boot: BootId
    head_seq: Seq
    """Of the newest event before this life; 0 where there is none."""
    is_new: bool
    was_crash: bool
    """The life before did not end with `Halted`."""
    events_verified: int
    events_after_anchor: int
    """Committed before a crash and not yet acknowledged; they are there all the same."""
    slots_bad: int
    """Anchor slots that did not check out, and were written anew."""
    warnings: tuple[str, ...]


class Life(Struct, frozen=True):
    """One boot's worth of moving parts."""

    opening: Opening
    stamper: Stamper
    committer: Committer
    writer: Writer


class Opener:
    """The steps of an opening; each blocks, and runs in the writing thread."""

    def __init__(self, tape: Tape, keyring: Keyring, clock: Clock, chance: Chance) -> None:
        self._tape = tape
        self._keyring = keyring
        self._clock = clock
        self._chance = chance
        self._is_locked = False

    def examine(self, whole: bool) -> Finding:
        """Lock, put in place what a power cut has taken from it, and look."""
        if not self._is_locked:
            self._tape.lock()
            self._is_locked = True
        recovered = self._tape.recover()
        found = Audit(self._tape, self._keyring.verifier, whole, None).run()
        if recovered:
            found.warnings.append(f"{recovered} events were put back out of the redo log")
        if found.meta is not None:
            check_format(found.meta)
        return found

    def cut(self, found: Finding) -> str:
        """Take what is damaged out of the journal.  Returns where the old state is kept."""
        assert found.meta is not None
        head = Seq(found.head.seq if found.head else 0)
        good = [made for made in self._tape.checkpoints() if made.size <= head]
        return self._tape.replace(found.meta, self._tape.boots(), salvaged(self._tape, head), good)

    def start(self, found: Finding) -> tuple[Writer, Opening]:
        """A new epoch, durable in the tape and in both slots of the anchor."""
        meta = found.meta or self._create(found)
        boot = Boot(
            max(found.epoch_max, found.anchor.epoch if found.anchor else 0) + 1,
            BootId(mint("bot", self._chance, self._clock.wall_ns())),
        )
        head_seq = Seq(found.head.seq if found.head else 0)
        generation = found.anchor.generation if found.anchor else 0
        writer = Writer(self._tape, self._keyring, meta.journal, boot.epoch, found.tree, generation)
        self._tape.write()
        self._tape.begin(boot)
        # The slot that is not the newest first, so that one whole slot is there at any time.
        for _ in range(2):
            writer.set_anchor(head_seq, found.head.hash if found.head else GENESIS)
        return writer, Opening(
            journal=meta.journal,
            epoch=boot.epoch,
            boot=boot.boot,
            head_seq=head_seq,
            is_new=found.head is None,
            was_crash=found.head is not None and found.head.kind != "kernel.halted",
            events_verified=found.events_verified,
            events_after_anchor=found.events_after_anchor,
            slots_bad=len(found.slots_bad),
            warnings=tuple(found.warnings),
        )

    def _create(self, found: Finding) -> Meta:
        # An anchor without events is what a crash during the first boot leaves.
        journal = (
            found.anchor.journal
            if found.anchor
            else JournalId(mint("jrn", self._chance, self._clock.wall_ns()))
        )
        self._tape.create(Meta(journal, FORMAT))
        return Meta(journal, FORMAT)

    def live(
        self, found: Finding, writer: Writer, opening: Opening, sealer: Sealer, offload: Offload
    ) -> Life:
        """On the event loop: what stamps and what commits."""
        stamper = Stamper(self._tape, sealer, self._clock, opening.boot, opening.epoch, found.head)
        committer = Committer(
            writer, self._tape, offload, opening.head_seq, told=stamper.forget_until
        )
        return Life(opening, stamper, committer, writer)


def check_format(meta: Meta) -> None:
    if meta.format > FORMAT:
        raise JournalStopped(
            f"this journal has format {meta.format}, this version reads up to {FORMAT}:"
            " start a newer version"
        )


def lost_range(found: Finding) -> Damage | None:
    """Everything after the last good event, where that is what is damaged; None: bodies only."""
    tail = [damage for damage in found.damage if not damage.is_body]
    if not tail:
        return None
    first = Seq(1 if found.head is None else found.head.seq + 1)
    mark = found.anchor.seq if found.anchor is not None else None
    last = mark if mark is not None and mark >= first else None
    return Damage(first, last, "; ".join(damage.reason for damage in tail))
