"""No damage opens with an acknowledged event lost or altered unnoticed (invariant I8)."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damage import DAMAGES, Outcome, forget_redo, made_journal, opened_after
from journals import SqliteDisk, VolatileDisk, intent, message, opened, outcome

from orlop.abi.errors import Conflict, JournalDamaged, JournalStopped, NotFound
from orlop.abi.ids import DEFAULT_TENANT, Seq
from orlop.abi.limits import CHECKPOINT_EVENTS
from orlop.machine.chance import SeededChance, SystemChance
from orlop.machine.clock import SystemClock
from orlop.machine.offload import InlineOffload
from orlop.store.home import Home
from orlop.store.sqlite import SqliteTape
from orlop.store.verify import accept_loss, verify

COPIES = 12
"""Damaged copies a kind of damage here; `bench/journal.py` makes 300 in all."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal whose kernel was killed: half in the database, half in the write-ahead log."""
    return made_journal(tmp_path_factory.mktemp("whole") / "home")


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_no_damage_goes_unnoticed(kind: str, whole: Path, tmp_path: Path) -> None:
    chance = random.Random(f"orlop {kind}")
    for number in range(COPIES):
        copy = tmp_path / str(number)
        shutil.copytree(whole, copy)
        what = DAMAGES[kind](copy, chance)
        found = opened_after(copy)
        assert found is not Outcome.UNNOTICED, f"{kind}, copy {number}: {what}"
        shutil.rmtree(copy)


def test_the_journal_that_is_damaged_here_is_whole_before(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    assert verify(copy).is_whole
    assert opened_after(copy) is Outcome.WHOLE


def test_verify_changes_nothing_on_disk(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    before = {path.name: path.read_bytes() for path in copy.glob("journal.*")}
    verify(copy)
    after = {path.name: path.read_bytes() for path in copy.glob("journal.*")}
    del before["journal.db-shm"], after["journal.db-shm"]
    assert before == after


def change(path: Path, statement: str, *values: object) -> None:
    """As somebody would who has the file and no scruples: the guards are dropped first."""
    connection = sqlite3.connect(path / "journal.db", isolation_level=None)
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    for (name,) in triggers.fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement, values)
    connection.close()


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    made = tmp_path / "copy"
    shutil.copytree(whole, made)
    return made


def take_newest(home: Path) -> None:
    """From everywhere."""
    change(home, "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)")
    forget_redo(home)


TAMPERINGS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a header": (
        "from event 40 on",
        lambda home: change(
            home, "UPDATE event SET header = replace(header, 'call.', 'cell.') WHERE seq = 40"
        ),
    ),
    "a body": (
        "event 41",
        lambda home: change(home, "UPDATE body SET data = zeroblob(40) WHERE id = 41 << 16"),
    ),
    "a body that is missing": (
        "event 41: its body is missing",
        lambda home: change(home, "DELETE FROM body WHERE id = 41 << 16"),
    ),
    "a message": (
        "a message that it brought",
        lambda home: change(
            home,
            "UPDATE body SET data = zeroblob(40) WHERE id = (SELECT max(id) FROM body"
            " WHERE name IS NOT NULL)",
        ),
    ),
    "an event that is missing": (
        "from event 50 on: missing",
        lambda home: change(home, "DELETE FROM event WHERE seq = 50"),
    ),
    "the newest event that is missing": (
        "lost: the head anchor has seen them",
        take_newest,
    ),
}
"""What is tampered with: what the verdict says, and how it is done."""


@pytest.mark.parametrize("what", sorted(TAMPERINGS))
def test_tampering_is_named(what: str, copy: Path) -> None:
    expected, tamper = TAMPERINGS[what]
    tamper(copy)
    said = "; ".join(str(damage) for damage in verify(copy).damage)
    assert any(text in said for text in expected.split("|")), said
    assert opened_after(copy) is Outcome.NOTICED


@pytest.mark.parametrize("what", ["the log", "the newest events"])
def test_what_the_database_has_lost_is_put_back_out_of_the_redo_log(what: str, copy: Path) -> None:
    before = verify(copy)
    if what == "the log":
        (copy / "journal.db-wal").unlink()
    else:
        change(copy, f"DELETE FROM event WHERE seq > {before.events - 20}")
    assert verify(copy) == before

    async def scenario() -> None:
        disk = SqliteDisk(copy)
        journal = disk.journal()
        opening = await journal.open("test", "host", 1)
        assert opening.head_seq == before.events
        assert "were put back out of the redo log" in opening.warnings[0]
        await journal.close()
        disk.close()

    asyncio.run(scenario())
    assert verify(copy).is_whole


def test_what_was_cut_off_for_good_does_not_come_back(copy: Path) -> None:
    """The redo log still has the events after the one that is damaged, and after the new one."""
    damaged = verify(copy).events - 10
    change(
        copy, f"UPDATE event SET header = replace(header, 'call.', 'cell.') WHERE seq = {damaged}"
    )
    asyncio.run(given_up(copy))
    assert verify(copy).events == damaged
    assert opened_after(copy, ignore_loss=True) is Outcome.WHOLE
    assert verify(copy).losses_accepted == (damaged,)


def test_a_missing_blob_is_named(copy: Path) -> None:
    blob = next(path for path in (copy / "blobs").rglob("*") if path.is_file())
    blob.unlink()
    assert not verify(copy).is_whole
    assert opened_after(copy) is Outcome.NOTICED


def test_a_damaged_journal_stays_readable(copy: Path) -> None:
    change(copy, "DELETE FROM event WHERE seq = 50")

    async def scenario() -> None:
        disk = SqliteDisk(copy)
        journal = disk.journal()
        with pytest.raises(JournalDamaged, match="event 50"):
            await journal.open("test", "host", 1)
        assert len(await journal.read(Seq(1), Seq(49))) == 49
        with pytest.raises(JournalDamaged):
            await journal.read(Seq(1))
        await journal.close()
        disk.close()

    asyncio.run(scenario())


def test_one_torn_anchor_slot_is_repaired_and_said(copy: Path) -> None:
    anchor = bytearray((copy / "journal.anchor").read_bytes())
    anchor[10] ^= 0xFF
    (copy / "journal.anchor").write_bytes(anchor)

    async def scenario() -> None:
        disk = SqliteDisk(copy)
        async with opened(disk) as journal:
            assert await journal.latest("journal.anchor_repaired") is not None
        disk.close()

    asyncio.run(scenario())
    assert verify(copy).is_whole


async def given_up(home: Path) -> list[str]:
    lost = await accept_loss(home, "a test", SystemClock(), SystemChance(), InlineOffload())
    return [str(damage) for damage in lost]


def test_a_loss_that_is_accepted_lets_the_journal_go_on(copy: Path) -> None:
    before = verify(copy).events
    take_newest(copy)
    lost = asyncio.run(given_up(copy))
    assert len(lost) == 1 and lost[0].startswith(f"event {before}: lost")
    verdict = verify(copy)
    assert verdict.is_whole and verdict.losses_accepted == (before,)
    assert opened_after(copy, ignore_loss=True) is Outcome.WHOLE
    assert (copy / "damaged-1" / "journal.db").exists()


def test_a_body_that_is_given_up_takes_nothing_else_with_it(copy: Path) -> None:
    before = verify(copy).events
    change(copy, "UPDATE body SET data = zeroblob(40) WHERE id = 41 << 16")
    asyncio.run(given_up(copy))
    verdict = verify(copy)
    assert verdict.is_whole and verdict.events == before + 1

    async def scenario() -> None:
        disk = SqliteDisk(copy)
        async with opened(disk) as journal:
            events = await journal.read(Seq(1), Seq(before))
            assert [event.header.seq for event in events if event.body is None] == [41]
        disk.close()

    asyncio.run(scenario())


def test_a_whole_journal_has_no_loss_to_accept(copy: Path) -> None:
    with pytest.raises(Conflict):
        asyncio.run(given_up(copy))


def test_a_new_epoch_is_above_that_of_a_lost_tail(copy: Path) -> None:
    change(copy, "DELETE FROM event WHERE seq > 3")
    change(copy, "DELETE FROM boot WHERE epoch > 1")
    asyncio.run(given_up(copy))

    async def scenario() -> None:
        disk = SqliteDisk(copy)
        async with opened(disk) as journal:
            # Lives 1 and 2 wrote the journal, 3 accepted the loss.
            assert journal.epoch == 4
        disk.close()

    asyncio.run(scenario())


def test_checkpoints_outside_notice_a_journal_that_was_set_back(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    home = tmp_path / "home"

    async def life(events: int) -> None:
        disk = SqliteDisk(home)
        tape = SqliteTape(Home(home), outside=(outside,), free_bytes_min=0)
        journal = disk.journal_on(tape)
        await journal.open("test", "host", 1)
        for number in range(events):
            journal.append(intent(number))
        await journal.close()
        disk.close()

    asyncio.run(life(CHECKPOINT_EVENTS))
    shutil.copytree(home, tmp_path / "backup")
    asyncio.run(life(100))
    assert verify(home, outside=[outside]).is_whole
    assert verify(tmp_path / "backup").is_whole
    damage = verify(tmp_path / "backup", outside=[outside]).damage
    assert "a checkpoint outside has seen them" in str(damage[0])


def test_there_must_be_a_journal_to_verify(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no journal"):
        verify(tmp_path)


@pytest.fixture
def volatile() -> Iterator[VolatileDisk]:
    yield VolatileDisk(seed=7)


def test_a_failed_commit_stops_the_journal_and_the_next_life_recovers(
    volatile: VolatileDisk,
) -> None:
    async def scenario() -> None:
        tape = volatile.tape()
        for seed in range(20):
            journal = volatile.journal()
            await journal.open("test", "host", 1)
            durable = journal.append(intent(2 * seed))
            await journal.durable(durable.seq)
            setattr(tape.faults, "commit_fails_at" if seed % 2 else "anchor_fails_at", 1)
            with pytest.raises(JournalStopped):
                await journal.durable(journal.append(outcome(2 * seed, durable.seq)).seq)
            with pytest.raises(JournalStopped):
                journal.append(intent(2 * seed + 1))
            assert (await journal.read(durable.seq, durable.seq))[0].header == durable
            await journal.close()
            tape.crash(SeededChance(seed))

    asyncio.run(scenario())


def test_a_lost_tail_or_anchor_is_noticed_in_ram_too(volatile: VolatileDisk) -> None:
    async def scenario() -> None:
        async with opened(volatile) as journal:
            journal.append(intent(1, parts=(message(journal, "hello"),)))
        volatile.tape().lose_tail(1)
        journal = volatile.journal()
        with pytest.raises(JournalDamaged, match="event 2: lost"):
            await journal.open("test", "host", 1)
        await journal.accept_loss("a test")
        await journal.close()
        async with opened(volatile) as journal:
            assert len(await journal.read(Seq(1))) == 3
        volatile.tape().lose_anchor()
        journal = volatile.journal()
        with pytest.raises(JournalDamaged, match="anchor is missing"):
            await journal.open("test", "host", 1)
        await journal.close()

    asyncio.run(scenario())


def test_a_flipped_bit_is_noticed_in_ram_too(volatile: VolatileDisk) -> None:
    async def scenario() -> None:
        async with opened(volatile) as journal:
            journal.append(intent(1))
        volatile.tape().flip(Seq(2), 20)
        journal = volatile.journal()
        with pytest.raises(JournalDamaged, match="event 2"):
            await journal.open("test", "host", 1)
        with pytest.raises(JournalDamaged):
            await journal.read(Seq(2))
        await journal.close()

    asyncio.run(scenario())
    assert DEFAULT_TENANT == "default"
