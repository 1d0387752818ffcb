"""Reading back: every row is checked before anybody sees it."""

from collections.abc import Sequence

from msgspec.structs import force_setattr

from orlop.abi.errors import JournalDamaged, NotFound
from orlop.abi.ids import BootId, CallId, ProcessId, Seq, TenantId
from orlop.abi.kernels import ARRIVED
from orlop.abi.limits import JOURNAL_READ_EVENTS
from orlop.store import whole
from orlop.store.chain import digest_of, flaw_in_body, header_of
from orlop.store.rows import Row, Stored
from orlop.store.seal import Sealer
from orlop.store.stamp import PART_BITS
from orlop.store.tape import Reading

_PART_MASK = (1 << PART_BITS) - 1


class Reader:
    """Verified and decrypted; all methods block.

    A header is checked by its hash, a body by the seal's tag, which covers its place; the digests
    of ciphertexts are for those who lack the keys (`audit`).
    """

    def __init__(self, tape: Reading, sealer: Sealer) -> None:
        self._tape = tape
        self._sealer = sealer
        self._boots: dict[int, BootId] = {}

    def range(self, first: Seq, last: Seq | None, limit: int) -> list[Stored]:
        """In order and without a gap.  `first` beyond the head gives nothing."""
        rows = self._tape.rows(first, last, min(limit, JOURNAL_READ_EVENTS))
        for wanted, row in enumerate(rows, start=first):
            if row.seq != wanted:
                raise JournalDamaged(f"event {wanted} is missing")
        return whole.told(self._opened(rows))

    def at(self, seqs: Sequence[Seq]) -> list[Stored]:
        """Those of them that are there, in order."""
        return whole.told(self._opened(self._tape.at(seqs)))

    def of_process(
        self, process: ProcessId, after: int, kinds: Sequence[str] | None
    ) -> list[Stored]:
        """Up to JOURNAL_READ_EVENTS; without `kinds`, gaps are noticed.

        What a process did elsewhere before it arrived here is no gap.
        """
        asked = whole.asked(kinds)
        found = self._opened(self._tape.of_process(process, after, asked, JOURNAL_READ_EVENTS))
        wanted = after + 1
        for event in found:
            header = event.header
            is_next = header.process_seq == wanted or header.kind == ARRIVED
            if header.process != process or (kinds is None and not is_next):
                raise JournalDamaged(f"event {wanted} of process {process} is missing")
            wanted = header.process_seq + 1
        return whole.told(found, kinds)

    def of_call(self, call: CallId) -> list[Stored]:
        return whole.told(self._opened(self._tape.of_call(call)))

    def newest(self, kind: str, limit: int) -> list[Stored]:
        rows = self._tape.newest(kind, limit)
        if kind in whole.HELD:
            rows += self._tape.newest(whole.KIND, limit)
            rows.sort(key=lambda row: row.seq, reverse=True)
        return whole.told(self._opened(rows[:limit]), (kind,))

    def part(self, tenant: TenantId, name: bytes) -> bytes:
        body = self._tape.part(name)
        if body is None or (body.data is None and body.blob is None):
            raise NotFound(f"message {name.hex()} of tenant {tenant} is not stored, or was pruned")
        seq, at = Seq(body.place >> PART_BITS), body.place & _PART_MASK
        rows = self._tape.rows(seq, seq, 1)
        header = header_of(rows[0]) if rows else None
        if header is None:
            raise JournalDamaged(f"event {seq}, which brought message {name.hex()}, was altered")
        if header.tenant != tenant:
            raise NotFound(f"message {name.hex()} of tenant {tenant} is not stored, or was pruned")
        if body.data is None or digest_of(body) != rows[0].parts[32 * at - 32 : 32 * at]:
            raise JournalDamaged(f"message {name.hex()}, part {at} of event {seq}, was altered")
        plain = self._sealer.open(body.key_id, header.epoch, body.place, body.data)
        if plain is None:
            raise NotFound(f"the key of tenant {tenant} is forgotten")
        return plain

    def _opened(self, rows: list[Row]) -> list[Stored]:
        boots, unseal = self._boots, self._sealer.open
        events: list[Stored] = []
        for row in rows:
            header = header_of(row)
            if header is None:
                raise JournalDamaged(f"event {row.seq}: its header does not fit its hash")
            epoch = header.epoch
            force_setattr(header, "boot", boots.get(epoch) or self._boot_of(epoch))
            if row.data is None or row.key_id is None:
                if flaw := flaw_in_body(row, header):
                    raise JournalDamaged(f"event {row.seq}: {flaw}")
                events.append(Stored(header, None))
            else:
                plain = unseal(row.key_id, epoch, row.seq << PART_BITS, row.data)
                events.append(Stored(header, plain))
        return events

    def _boot_of(self, epoch: int) -> BootId:
        if epoch not in self._boots:
            self._boots |= {boot.epoch: boot.boot for boot in self._tape.boots()}
        return self._boots.get(epoch, BootId(""))
