"""Reading back: every row is checked before anybody sees it."""

from collections.abc import Sequence

from orlop.abi.errors import JournalDamaged, NotFound
from orlop.abi.events import Header
from orlop.abi.ids import CallId, ProcessId, Seq, TenantId
from orlop.abi.limits import JOURNAL_READ_EVENTS
from orlop.store.chain import digest_of, flaw_between, flaw_in
from orlop.store.rows import Row, Stored
from orlop.store.seal import Sealer
from orlop.store.stamp import PART_BITS
from orlop.store.tape import Reading

_PART_MASK = (1 << PART_BITS) - 1


class Reader:
    """Verified and decrypted; all methods block."""

    def __init__(self, tape: Reading, sealer: Sealer) -> None:
        self._tape = tape
        self._sealer = sealer

    def range(self, first: Seq, last: Seq | None, limit: int) -> list[Stored]:
        """In order and without a gap.  `first` beyond the head gives nothing."""
        rows = self._tape.rows(first, last, min(limit, JOURNAL_READ_EVENTS))
        before: Header | None = None
        for row in rows:
            if before is None and row.header.seq != first:
                raise JournalDamaged(f"event {first} is missing")
            if before is not None and (flaw := flaw_between(before, row.header)):
                raise JournalDamaged(f"event {row.header.seq}: {flaw}")
            before = row.header
        return self._opened(rows)

    def of_process(
        self, process: ProcessId, after: int, kinds: Sequence[str] | None
    ) -> list[Stored]:
        """Up to JOURNAL_READ_EVENTS; without `kinds`, gaps are noticed."""
        rows = self._tape.of_process(process, after, kinds, JOURNAL_READ_EVENTS)
        if kinds is None:
            for wanted, row in enumerate(rows, start=after + 1):
                if row.header.process_seq != wanted:
                    raise JournalDamaged(f"event {wanted} of process {process} is missing")
        return self._opened(rows)

    def of_call(self, call: CallId) -> list[Stored]:
        return self._opened(self._tape.of_call(call))

    def latest(self, kind: str) -> Stored | None:
        row = self._tape.latest(kind)
        return None if row is None else self._open(row)

    def part(self, tenant: TenantId, name: bytes) -> bytes:
        body = self._tape.part(name)
        if body is None or (body.data is None and body.blob is None):
            raise NotFound(f"message {name.hex()} of tenant {tenant} is not stored, or was pruned")
        seq, at = Seq(body.place >> PART_BITS), body.place & _PART_MASK
        rows = self._tape.rows(seq, seq, 1)
        if not rows:
            raise JournalDamaged(f"event {seq}, which brought message {name.hex()}, is missing")
        if rows[0].header.tenant != tenant:
            raise NotFound(f"message {name.hex()} of tenant {tenant} is not stored")
        if flaw := flaw_in(rows[0]):
            raise JournalDamaged(f"event {seq}: {flaw}")
        if body.data is None or digest_of(body) != rows[0].parts[32 * at - 32 : 32 * at]:
            raise JournalDamaged(f"message {name.hex()}, part {at} of event {seq}, was altered")
        plain = self._sealer.open(body.key_id, rows[0].header.epoch, body.place, body.data)
        if plain is None:
            raise NotFound(f"the key of tenant {tenant} is forgotten")
        return plain

    def _opened(self, rows: list[Row]) -> list[Stored]:
        return [self._open(row) for row in rows]

    def _open(self, row: Row) -> Stored:
        header = row.header
        if flaw := flaw_in(row):
            raise JournalDamaged(f"event {header.seq}: {flaw}")
        own = row.bodies[0]
        if own.data is None:
            return Stored(header, None)
        return Stored(header, self._sealer.open(own.key_id, header.epoch, own.place, own.data))
