"""Stamping: a draft gets its place in the journal.  The hot path; it runs on the event loop.

Invariants:
1. Sequence numbers and process sequence numbers are gap-free, also when a draft is refused.
2. What is stamped names the hash of what was stamped before it.
3. A name is in `_parts` from its stamping until it is durable, so no part is stored twice.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import Final

from msgspec.structs import force_setattr

from orlop.abi.errors import TooLarge
from orlop.abi.events import Header
from orlop.abi.ids import BootId, ProcessId, Seq, TenantId
from orlop.abi.limits import (
    BLOB_BYTES_MIN,
    JOURNAL_PARTS_KNOWN,
    JOURNAL_PROCESSES_KNOWN,
    MESSAGES_PER_CALL_MAX,
)
from orlop.machine.clock import Clock
from orlop.store.chain import GENESIS, body_digest, encode, link
from orlop.store.rows import Body, Draft, Entry, Part, Row
from orlop.store.seal import Sealer
from orlop.store.tape import Reading

PART_BITS: Final = 16


class Stamper:
    """Where the journal's head is, in RAM: ahead of the disk by what is queued."""

    def __init__(
        self,
        tape: Reading,
        sealer: Sealer,
        clock: Clock,
        boot: BootId,
        epoch: int,
        head: Header | None,
    ) -> None:
        self._tape = tape
        self._sealer = sealer
        self._clock = clock
        self._boot = boot
        self._epoch = epoch
        # Ordered, since the oldest go first: a plain dict walks over what was deleted before it.
        self._processes: OrderedDict[ProcessId, tuple[int, int]] = OrderedDict()
        self._parts: OrderedDict[bytes, int] = OrderedDict()
        self.head_seq = Seq(0) if head is None else head.seq
        self.head_hash = GENESIS if head is None else head.hash

    def stamp(self, draft: Draft) -> Entry:
        """All that may fail comes first; then the head moves."""
        seq = Seq(self.head_seq + 1)
        process_seq = self.process_head(draft.process) + 1
        new = self._new_parts(draft.parts) if draft.parts else ()
        key_id, data = self._sealer.seal(draft.tenant, self._epoch, seq << PART_BITS, draft.body)
        brought, parts = self._brought(draft.tenant, seq, new) if new else ((), b"")
        own = sha256(data).digest()
        header = self._header(draft, seq, process_seq, body_digest(own, parts))
        entry = Entry(self._row(header, parts, key_id, data, own), header, brought)
        # From here on nothing can fail.
        self.head_seq, self.head_hash = seq, header.hash
        self._processes[draft.process] = (process_seq, seq)
        for part in new:
            self._parts[part.name] = seq
        return entry

    def process_head(self, process: ProcessId) -> int:
        """The number of the process's newest event; 0 if it has none."""
        known = self._processes.get(process)
        return known[0] if known is not None else self._tape.process_head(process)

    def adopt(self, process: ProcessId, process_seq: int) -> None:
        """Its next event goes on after `process_seq`, which another journal has."""
        if process_seq > self.process_head(process):
            # Never let go of before the next event is durable: until then no look-up would tell.
            self._processes[process] = (process_seq, Seq(self.head_seq + 1))

    def forget_until(self, durable: Seq) -> None:
        """Drop what RAM need not hold, oldest first: what is durable can be looked up."""
        while len(self._parts) > JOURNAL_PARTS_KNOWN:
            oldest = next(iter(self._parts))
            if self._parts[oldest] > durable:
                break
            del self._parts[oldest]
        while len(self._processes) > JOURNAL_PROCESSES_KNOWN:
            first = next(iter(self._processes))
            if self._processes[first][1] > durable:
                break
            del self._processes[first]

    def forget_parts(self) -> None:
        """After pruning: names may be gone from the tape.  All must be durable."""
        self._parts.clear()

    def _new_parts(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """Those that no earlier event brought, each once."""
        if len(parts) > MESSAGES_PER_CALL_MAX:
            raise TooLarge(
                f"{len(parts)} messages in one call; at most {MESSAGES_PER_CALL_MAX}"
                " (MESSAGES_PER_CALL_MAX)"
            )
        new: dict[bytes, Part] = {}
        for part in parts:
            name = part.name
            if name in self._parts or name in new:
                continue
            if self._tape.has_part(name):
                self._parts[name] = 0
            else:
                new[name] = part
        return tuple(new.values())

    def _brought(
        self, tenant: TenantId, seq: Seq, new: tuple[Part, ...]
    ) -> tuple[tuple[Body, ...], bytes]:
        """The sealed bodies of parts, and the digests of their ciphertexts, joined."""
        sealed = [self._seal(tenant, seq, at, part) for at, part in enumerate(new, start=1)]
        return tuple([body for body, _ in sealed]), b"".join([digest for _, digest in sealed])

    def _seal(self, tenant: TenantId, seq: Seq, at: int, part: Part) -> tuple[Body, bytes]:
        """A part's sealed body, and the digest of its ciphertext."""
        place = seq << PART_BITS | at
        key_id, data = self._sealer.seal(tenant, self._epoch, place, part.data, part.packed)
        digest = sha256(data).digest()
        if len(data) <= BLOB_BYTES_MIN:
            return Body(place, key_id, data, part.name), digest
        # Named by its ciphertext: the name checks the file, and says nothing of the content.
        return Body(place, key_id, data, part.name, digest, digest.hex()), digest

    def _row(self, header: Header, parts: bytes, key_id: int, data: bytes, own: bytes) -> Row:
        """Closes the chain: what follows from the journal is put into the header after encoding."""
        text, prev = encode(header), self.head_hash
        digest = link(prev, text)
        force_setattr(header, "boot", self._boot)
        force_setattr(header, "prev", prev)
        force_setattr(header, "hash", digest)
        if len(data) <= BLOB_BYTES_MIN:
            return Row(header.seq, text, digest, parts, prev, key_id, data)
        return Row(header.seq, text, digest, parts, prev, key_id, data, own, own.hex())

    def _header(self, draft: Draft, seq: Seq, process_seq: int, digest: bytes) -> Header:
        return Header(
            seq=seq,
            process=draft.process,
            process_seq=process_seq,
            kind=draft.kind,
            call=draft.call,
            cause=draft.cause,
            actor=draft.actor,
            tenant=draft.tenant,
            wall_ns=self._clock.wall_ns(),
            epoch=self._epoch,
            key=draft.key,
            args_digest=draft.args_digest,
            body_digest=digest,
            place=draft.place,
        )
