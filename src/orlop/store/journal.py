"""The append-only truth.

Invariants:
1. Sequence numbers are gap-free from 1, and so are process sequence numbers within each process.
2. Commit, then anchor, then acknowledge: `durable(seq)` returns only after both.
3. What `append` stamped is committed in that order, or the journal stops for good (fail-stop).
4. At most one outcome a `key`.
5. A part (a message) is stored once a tenant; the event that brought it covers it in its digest.

Reads see what is durable: `flush()` first to see all that was appended.
"""

import logging
from collections.abc import Sequence

import msgspec

from orlop.abi.errors import Conflict, JournalDamaged, JournalStopped, KernelError, NotReady
from orlop.abi.events import AnchorRepaired, Booted, Header, LossAccepted
from orlop.abi.ids import (
    DEFAULT_TENANT,
    KERNEL_PROCESS,
    BootId,
    CallId,
    JournalId,
    ProcessId,
    Seq,
    TenantId,
)
from orlop.abi.kernels import ELDER_BITS, JournalRestored
from orlop.abi.limits import JOURNAL_READ_EVENTS
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload
from orlop.store.audit import Damage, Finding
from orlop.store.keyring import Keyring
from orlop.store.opening import Life, Opener, Opening, check_format, lost_range
from orlop.store.reader import Reader
from orlop.store.rows import Draft, Part, Stored
from orlop.store.seal import Sealer
from orlop.store.stamp import PART_BITS
from orlop.store.tape import Tape
from orlop.wire.canonical import canonical

__all__ = ["Draft", "Journal", "Opening", "Part", "Stored"]

log = logging.getLogger(__name__)


def place_of(seq: Seq) -> int:
    """Where an event's own body lies."""
    return seq << PART_BITS


class Journal:
    """Stamping, chain, group commit, anchor, checkpoints: logic over a tape, with no I/O itself.

    reading: where reads run; beside commits where it is given, else between them.
    """

    def __init__(
        self,
        tape: Tape,
        keyring: Keyring,
        clock: Clock,
        chance: Chance,
        offload: Offload,
        reading: Offload | None = None,
    ) -> None:
        self._tape = tape
        self.keyring = keyring
        self._opener = Opener(tape, keyring, clock, chance)
        self._chance = chance
        self._offload = offload
        self._reading = reading or offload
        self._sealer: Sealer | None = None
        self._reader: Reader | None = None
        self._life: Life | None = None
        self._seen = Seq(0)
        self.id = JournalId("")

    # Opening and closing.

    async def open(self, version: str, host: str, os_pid: int) -> Opening:
        """Lock, verify, roll the anchor forward, take a new epoch, append `Booted`, durably.

        `JournalDamaged`: something acknowledged is lost or altered; reading still works.
        `JournalStopped`: another kernel holds the journal, or the disk can't be written.
        """
        found = await self._offload(self._opener.examine, whole=False)
        if found.damage:
            if found.meta is not None:
                self._take(found.meta.journal)
            raise JournalDamaged("; ".join(str(damage) for damage in found.damage[:8]))
        life = await self._begin(found)
        opening = life.opening
        self._note(
            Booted(
                boot=opening.boot, epoch=opening.epoch, version=version, host=host, os_pid=os_pid
            )
        )
        if opening.slots_bad and not opening.is_new:
            self._note(AnchorRepaired(reason=f"{opening.slots_bad} slot did not check out"))
        await self.flush()
        return opening

    async def open_for_reading(self) -> None:
        """Without a lock, and without judging the whole: each row is checked when it is read."""
        meta = await self._reading(self._tape.look)
        if meta is None:
            raise JournalStopped("there is no journal here yet; `orlop up` makes one")
        check_format(meta)
        head = await self._reading(self._tape.head)
        self._seen = Seq(0) if head is None else head.seq
        self._take(meta.journal)

    async def accept_loss(self, reason: str) -> list[Damage]:
        """Go on without what is damaged, and say so in signed events.  The old state is kept aside.

        Damaged bodies are struck out as if pruned; where a header is damaged or the tail is lost,
        the journal is cut.  Returns what was given up.  Open the journal anew afterwards.
        """
        found = await self._offload(self._opener.examine, whole=True)
        if not found.damage:
            raise Conflict("this journal is whole: there is no loss to accept")
        if found.meta is None:
            raise JournalStopped("the database itself is missing: restore a backup")
        lost = [damage for damage in found.damage if damage.is_body]
        if (tail := lost_range(found)) is not None:
            lost.append(tail)
        kept = await self._offload(self._opener.cut, found)
        log.warning("the damaged journal is kept in %s", kept)
        await self._begin(found)
        for damage in lost:
            self._note(self._loss(damage, reason))
        await self.flush()
        return lost

    async def close(self) -> None:
        """Flush, sign a last checkpoint, let go of the files.  A stopped journal only lets go."""
        life = self._life
        if life is not None:
            try:
                await self.flush()
                if life.committer.stopped is None:
                    await self._offload(life.writer.close, life.stamper.head_hash)
            except JournalStopped as error:
                log.warning("the journal closes without a last checkpoint: %s", error.message)
            await life.committer.close()
        await self._offload(self._tape.close)

    # State.

    @property
    def epoch(self) -> int:
        return self._alive().opening.epoch

    @property
    def boot(self) -> BootId:
        return self._alive().opening.boot

    @property
    def head_seq(self) -> Seq:
        """Of the newest event that was appended, durable or not; of a journal that is open for
        reading only, of the newest when it was opened."""
        return self._seen if self._life is None else self._life.stamper.head_seq

    @property
    def durable_seq(self) -> Seq:
        return self._alive().committer.durable_seq

    def process_head(self, process: ProcessId) -> int:
        """The process sequence number of its newest event, durable or not; 0 if it has none."""
        if self._life is None:
            return self._tape.process_head(process)
        return self._alive().stamper.process_head(process)

    @property
    def stopped(self) -> KernelError | None:
        """Why nothing can be appended any more; None while all is well."""
        return None if self._life is None else self._life.committer.stopped

    def free_bytes_low(self) -> bool:
        """The disk is nearly full: admit nothing new.  As of one of the last commits."""
        if self._life is None or not self._life.writer.is_space_low:
            return False
        self._life.writer.look_at_space()  # With nothing admitted there is no next commit to look.
        return self._life.writer.is_space_low

    # Writing.

    def append(self, draft: Draft) -> Header:
        """Stamp and queue.  Where it raises, nothing has changed.

        The event is written with the next commit that somebody waits for (`durable`, `flush`).
        """
        life = self._alive()
        life.committer.check()
        # From here on nothing but sealing can fail, and that comes before any change.
        try:
            entry = life.stamper.stamp(draft)
        except JournalStopped as error:  # A look-up that the storage did not answer.
            life.committer.stop(error)
            raise
        life.committer.put(entry)
        return entry.header

    async def durable(self, seq: Seq) -> None:
        """Return when the event is committed and anchored; `JournalStopped` if it never will be."""
        if seq >> ELDER_BITS:
            return  # Another journal's: it was durable before this one heard of it.
        await self._alive().committer.durable(seq)

    def adopt(self, process: ProcessId, process_seq: int) -> None:
        """Let the process's own sequence go on here after `process_seq`."""
        life = self._alive()
        try:
            life.stamper.adopt(process, process_seq)
        except JournalStopped as error:  # As in `append`: whoever only tried again would for ever.
            life.committer.stop(error)
            raise

    def halt(self, why: str) -> None:
        """Write nothing any more: somebody else may do so now."""
        self._alive().committer.stop(JournalStopped(why))

    async def flush(self) -> None:
        """Everything appended so far is durable."""
        life = self._alive()
        await life.committer.durable(life.stamper.head_seq)

    async def prune(
        self, before: Seq, keep: Sequence[str] = (), *, before_wall_ns: int | None = None
    ) -> int:
        """Forget the bodies and messages of events before `before` (and older than
        `before_wall_ns`), but for the kinds in `keep`.  Headers and digests stay, so the chain
        still verifies.  Returns the number of bodies.
        """
        await self.flush()
        life = self._alive()
        pruned = await self._offload(self._tape.prune, before, tuple(keep), before_wall_ns)
        life.stamper.forget_parts()
        return pruned

    async def strike(self, seqs: Sequence[Seq]) -> int:
        """Forget the bodies of these events.  Headers and digests stay, so the chain still
        verifies.  Returns the number of bodies.
        """
        await self.flush()
        struck = await self._offload(self._tape.strike, tuple(seqs))
        self._alive().stamper.forget_parts()
        return struck

    def sign(self, data: bytes) -> bytes:
        """With the journal's own key, whose public half lies in `keys/journal.pub`."""
        return self.keyring.sign(data)

    async def parts_of(self, first: Seq, last: Seq) -> list[tuple[int, bytes]]:
        """The places and names of the parts that these events brought and that are still kept."""
        bodies = await self._reading(self._tape.parts_between, first, last)
        return [(body.place, body.name) for body in bodies if body.name is not None]

    async def forget_bodies(self, places: Sequence[int]) -> int:
        """Of events (`place_of`) and of parts.  Headers and digests stay, so the chain verifies."""
        await self.flush()
        forgotten = await self._offload(self._tape.forget, tuple(places))
        self._alive().stamper.forget_parts()
        return forgotten

    async def forget(self, tenant: TenantId) -> None:
        """Throw the tenant's key away: what it sealed can never be read again."""
        await self.flush()
        await self._offload(self._readable()[0].forget, tenant)
        self._alive().stamper.forget_parts()

    def has_key(self, tenant: TenantId) -> bool:
        """Whether what the tenant has said can be read, as far as it is kept."""
        return self._readable()[0].has_key(tenant)

    # Names and digests.

    def name_of(self, tenant: TenantId, data: bytes) -> bytes:
        """16 bytes: the name under which `data` is stored once for this tenant."""
        return self._readable()[0].name_of(tenant, data)

    def args_digest(self, tenant: TenantId, data: bytes) -> bytes:
        """32 bytes that say nothing of `data` to whoever lacks the tenant's key."""
        return self._readable()[0].args_digest(tenant, data)

    # Reading.

    async def read(self, first: Seq, last: Seq | None = None, limit: int = 10_000) -> list[Stored]:
        """In order, decrypted, each row and each step of the chain verified."""
        reader = self._readable()[1]
        events: list[Stored] = []
        while len(events) < limit and (last is None or first <= last):
            more = await self._reading(reader.range, first, last, limit - len(events))
            if not more:
                break
            events += more
            first = Seq(more[-1].header.seq + 1)
        return events

    async def at(self, seqs: Sequence[Seq]) -> list[Stored]:
        """These events, as far as they are there, in order."""
        return await self._reading(self._readable()[1].at, tuple(seqs))

    async def refresh(self) -> None:
        """Nobody else writes here: what is durable is known."""

    async def of_process(
        self,
        process: ProcessId,
        after: int = 0,
        kinds: Sequence[str] | None = None,
        least: int | None = None,
    ) -> list[Stored]:
        """A process's events past `after` (a process sequence number), in order.

        least: not all of them; so many, and what came with them from the disk.
        """
        reader = self._readable()[1]
        events: list[Stored] = []
        while True:
            more = await self._reading(reader.of_process, process, after, kinds)
            events += more
            if len(more) < JOURNAL_READ_EVENTS or (least is not None and len(events) >= least):
                return events
            after = more[-1].header.process_seq

    async def of_call(self, call: CallId) -> list[Stored]:
        return await self._reading(self._readable()[1].of_call, call)

    async def latest(self, kind: str) -> Stored | None:
        """The newest event of a kind; quick for `kernel.snapshot`, else a search from the end."""
        found = await self.newest(kind, 1)
        return found[0] if found else None

    async def newest(self, kind: str, limit: int) -> list[Stored]:
        """Of a kind, from the newest back."""
        return await self._reading(self._readable()[1].newest, kind, limit)

    async def part(self, tenant: TenantId, name: bytes) -> bytes:
        """What lies under a name; `NotFound` if it was pruned or forgotten."""
        return await self._reading(self._readable()[1].part, tenant, name)

    # The rest is our own.

    async def _begin(self, found: Finding) -> Life:
        writer, opening = await self._offload(self._opener.start, found)
        sealer = self._take(opening.journal)
        self._life = self._opener.live(found, writer, opening, sealer, self._offload)
        return self._life

    def _take(self, journal: JournalId) -> Sealer:
        self.id = journal
        self._sealer = sealer = Sealer(journal, self.keyring, self._chance)
        self._reader = Reader(self._tape, sealer)
        return sealer

    def note_restored(self, event: JournalRestored) -> None:
        """The first event after those of a backup."""
        self._note(event)

    def _note(self, event: Booted | AnchorRepaired | LossAccepted | JournalRestored) -> None:
        kind = type(event).__struct_config__.tag
        self.append(
            Draft(
                process=KERNEL_PROCESS,
                kind=str(kind),
                body=msgspec.json.encode(event),
                tenant=DEFAULT_TENANT,
            )
        )

    def _loss(self, damage: Damage, reason: str) -> LossAccepted:
        said = {
            "journal": self.id,
            "first": damage.first,
            "last": damage.last,
            "reason": f"{reason} ({damage.reason})",
        }
        signature = self.keyring.sign(canonical(said)).hex()
        return msgspec.convert(
            {**said, "signature": signature, "kind": "journal.loss_accepted"}, LossAccepted
        )

    def _alive(self) -> Life:
        if self._life is None:
            raise NotReady("the journal is not open", retry_after_s=1.0)
        return self._life

    def _readable(self) -> tuple[Sealer, Reader]:
        if self._sealer is None or self._reader is None:
            raise NotReady("the journal is not open", retry_after_s=1.0)
        return self._sealer, self._reader
