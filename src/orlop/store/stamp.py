"""Stamping: a draft gets its place in the journal.  The hot path; it runs on the event loop.

Invariants:
1. Sequence numbers and process sequence numbers are gap-free, also when a draft is refused.
2. What is stamped names the hash of what was stamped before it.
3. A name is in `_parts` from its stamping until it is durable, so no part is stored twice.
"""

from hashlib import sha256
from typing import Final

import msgspec

from orlop.abi.errors import TooLarge
from orlop.abi.events import Header
from orlop.abi.ids import BootId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.limits import (
    BLOB_BYTES_MIN,
    JOURNAL_PARTS_KNOWN,
    JOURNAL_PROCESSES_KNOWN,
    MESSAGES_PER_CALL_MAX,
)
from orlop.machine.clock import NS_PER_S, Clock
from orlop.store.chain import GENESIS, body_digest, link
from orlop.store.rows import Body, Draft, Part, Row
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
        self._processes: dict[ProcessId, tuple[int, int]] = {}
        self._parts: dict[bytes, int] = {}
        self.head_seq = Seq(0) if head is None else head.seq
        self.head_hash = GENESIS if head is None else head.hash

    def stamp(self, draft: Draft) -> Row:
        """All that may fail comes first; then the head moves."""
        seq = Seq(self.head_seq + 1)
        process_seq = self.process_head(draft.process) + 1
        new = self._new_parts(draft.parts)
        own, own_digest = self._seal(draft.tenant, seq, 0, draft.body, None)
        brought = [
            self._seal(draft.tenant, seq, at, part.data, part.name)
            for at, part in enumerate(new, start=1)
        ]
        digests = b"".join([digest for _, digest in brought])
        header = self._header(draft, seq, process_seq, own_digest, digests)
        # From here on nothing can fail.
        self.head_seq, self.head_hash = seq, header.hash
        self._processes[draft.process] = (process_seq, seq)
        for part in new:
            self._parts[part.name] = seq
        return Row(header, digests, (own, *[body for body, _ in brought]))

    def process_head(self, process: ProcessId) -> int:
        """The number of the process's newest event; 0 if it has none."""
        known = self._processes.get(process)
        return known[0] if known is not None else self._tape.process_head(process)

    def forget_until(self, durable: Seq) -> None:
        """Drop what RAM need not hold, oldest first: what is durable can be looked up."""
        _shrink(self._parts, JOURNAL_PARTS_KNOWN, durable)
        while len(self._processes) > JOURNAL_PROCESSES_KNOWN:
            oldest = next(iter(self._processes))
            if self._processes[oldest][1] > durable:
                break
            del self._processes[oldest]

    def forget_parts(self) -> None:
        """After pruning: names may be gone from the tape.  All must be durable."""
        self._parts.clear()

    def _new_parts(self, parts: tuple[Part, ...]) -> list[Part]:
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
        return list(new.values())

    def _seal(
        self, tenant: TenantId, seq: Seq, part: int, plain: bytes, name: bytes | None
    ) -> tuple[Body, bytes]:
        """The sealed body, and the digest of its ciphertext."""
        place = seq << PART_BITS | part
        key_id, data = self._sealer.seal(tenant, self._epoch, place, plain)
        digest = sha256(data).digest()
        if len(data) <= BLOB_BYTES_MIN:
            return Body(place, key_id, data, name), digest
        # Named by its ciphertext: the name checks the file, and says nothing of the content.
        return Body(place, key_id, data, name, digest, digest.hex()), digest

    def _header(self, draft: Draft, seq: Seq, process_seq: int, own: bytes, parts: bytes) -> Header:
        header = Header(
            seq=seq,
            process=draft.process,
            process_seq=process_seq,
            kind=draft.kind,
            call=draft.call,
            cause=draft.cause,
            actor=draft.actor or draft.process,
            tenant=draft.tenant,
            wall_ns=self._clock.wall_ns(),
            mono_ns=Nanoseconds(int(self._clock.now_s() * NS_PER_S)),
            boot=self._boot,
            epoch=self._epoch,
            key=draft.key,
            args_digest=draft.args_digest,
            body_digest=body_digest(own, parts),
            prev=self.head_hash,
            hash=b"",
        )
        # The hash covers all the rest, so it comes last; a second header would cost a microsecond.
        msgspec.structs.force_setattr(header, "hash", link(header.prev, header))
        return header


def _shrink(known: dict[bytes, int], size_max: int, durable: Seq) -> None:
    while len(known) > size_max:
        oldest = next(iter(known))
        if known[oldest] > durable:
            break
        del known[oldest]
