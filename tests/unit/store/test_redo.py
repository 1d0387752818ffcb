"""A record of the redo log is found whole or not at all, and only what fits is put back."""

import os
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from orlop.abi.ids import JournalId, Seq
from orlop.abi.limits import REDO_BYTES
from orlop.store import anchor, redo
from orlop.store.anchor import Anchor
from orlop.store.chain import GENESIS, link
from orlop.store.redo import Batch, Record, Redo

JOURNAL = JournalId("jrn_01h455vb4pex5vsknk084sn02q")


class History:
    """Events that follow one another, and the slots that vouch for them."""

    def __init__(self, generation: int = 0, journal: JournalId = JOURNAL) -> None:
        self.generation = generation
        self.journal = journal
        self.seq = 0
        self.hash = GENESIS

    def batch(self, events: int = 1, body: bytes = b"sealed", say: str = "") -> Batch:
        made = Batch([], [], [(7, "bot_7")])
        for _ in range(events):
            self.seq += 1
            header = f'{{"seq":{self.seq},"say":"{say}"}}'
            self.hash = link(self.hash, header.encode())
            made.events.append((self.seq, header, self.hash, sha256(b"part").digest()))
            made.bodies.append((self.seq << 16, None, 1, None, body, None))
            made.bodies.append(((self.seq << 16) + 1, b"name", 1, None, b"part", None))
        return made

    def slot(self) -> bytes:
        self.generation += 1
        mark = Anchor(7, self.generation, self.hash.hex(), self.journal, Seq(self.seq))
        return anchor.encode(mark)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    handle = os.open(tmp_path / "anchor", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


def there(file: int) -> bytes:
    return os.pread(file, redo.START + REDO_BYTES, 0)


def found(file: int) -> list[Record]:
    return redo.records(there(file))


def test_what_is_appended_is_found_in_order(file: int) -> None:
    log, history = Redo(file), History()
    batches = [history.batch(events) for events in (1, 3, 2)]
    slots = [history.slot() for _ in batches]
    assert all(log.append(slot, batch) for slot, batch in zip(slots, batches, strict=True))
    assert [record.batch for record in found(file)] == batches
    assert [record.slot for record in found(file)] == slots


def test_a_record_that_is_torn_or_flipped_is_as_if_it_had_not_been_written(file: int) -> None:
    log, history = Redo(file), History()
    log.append(history.slot(), history.batch())
    end = len(there(file).rstrip(b"\0"))
    log.append(history.slot(), history.batch(4))
    whole = there(file)
    chance = random.Random("orlop redo")
    start = redo.START + -(-(end - redo.START) // 512) * 512
    used = len(whole.rstrip(b"\0"))
    for at in [start, used - 1, *(chance.randrange(start, used) for _ in range(200))]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        assert len(redo.records(bytes(flipped))) == 1, at
        torn = whole[:at].ljust(len(whole), b"\0")
        assert len(redo.records(torn)) == 1, at


def test_a_full_log_says_so_and_goes_round_without_touching_the_newest(file: int) -> None:
    log, history = Redo(file), History()
    body = bytes(random.Random(1).randbytes(9_000))
    rounds = 0
    for _ in range(60):
        batch = history.batch(2, body)
        slot = history.slot()
        if not log.append(slot, batch):
            newest = found(file)[-1]
            log.rewind()
            assert log.append(slot, batch)
            assert newest.mark in [record.mark for record in found(file)]
            rounds += 1
        assert found(file)[-1].batch == batch
    assert rounds > 5


def test_a_batch_that_is_longer_than_the_log_is_not_taken(file: int) -> None:
    log, history = Redo(file), History()
    assert not log.append(history.slot(), history.batch(1, bytes(REDO_BYTES)))
    assert found(file) == []


def test_a_wiped_log_holds_nothing(file: int) -> None:
    log, history = Redo(file), History()
    log.append(history.slot(), history.batch(1, b"a sealed secret"))
    assert b"a sealed secret" in there(file)
    log.wipe()
    assert set(there(file)) == {0}


def test_only_what_goes_on_with_the_chain_is_put_back(file: int) -> None:
    log, history = Redo(file), History()
    hashes = {0: GENESIS}
    for _ in range(5):
        batch = history.batch()
        hashes[history.seq] = history.hash
        log.append(history.slot(), batch)
    for seq in range(6):
        batch, rows = redo.beyond(found(file), JOURNAL, Seq(seq), hashes[seq])
        assert [row.seq for row in rows] == list(range(seq + 1, 6))
        assert [event[0] for event in batch.events] == list(range(seq + 1, 6))
        assert len(redo.parts(batch, Seq(1), Seq(5))) == 5 - seq
        assert all(row.data == b"sealed" and row.key_id == 1 for row in rows)
        assert batch.boots == [(7, "bot_7")]
    for journal, seq, digest in (
        (JournalId("jrn_other"), 2, hashes[2]),
        (JOURNAL, 2, hashes[3]),
        (JOURNAL, 6, hashes[5]),
    ):
        assert redo.beyond(found(file), journal, Seq(seq), digest)[1] == []


def test_where_two_records_tell_of_one_event_the_newer_one_is_right(file: int) -> None:
    log, old = Redo(file), History()
    for _ in range(3):
        log.append(old.slot(), old.batch(say="given up"))
    new = History(generation=old.generation)
    log.append(new.slot(), new.batch(say="instead"))
    _, rows = redo.beyond(found(file), JOURNAL, Seq(0), GENESIS)
    assert [row.text for row in rows] == [b'{"seq":1,"say":"instead"}']
