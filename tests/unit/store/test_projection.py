"""A projection keeps up with its journal, and is made again from nothing."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from journals import AGENT, Disk, SqliteDisk, VolatileDisk

from orlop.abi.errors import NotReady
from orlop.abi.ids import DEFAULT_TENANT, Seq
from orlop.machine.clock import SystemClock
from orlop.machine.offload import InlineOffload, ThreadOffload
from orlop.store import projection as projections
from orlop.store.journal import Draft, Journal
from orlop.store.projection import Projection, ProjectionFile
from orlop.store.rows import Stored


class Notes:
    """Keeps the bodies of one kind."""

    name = "notes"
    format = 1
    kinds = frozenset({"note"})
    schema = "CREATE TABLE note(seq INTEGER PRIMARY KEY, text TEXT);"

    def fold(self, connection: sqlite3.Connection, events: Sequence[Stored]) -> None:
        connection.executemany(
            "INSERT INTO note VALUES (?, ?)",
            [(event.header.seq, (event.body or b"").decode()) for event in events],
        )


class NotesOfNow(Notes):
    format = 2


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY seq")]


def write(journal: Journal, projection: Projection | None, text: str, kind: str = "note") -> Seq:
    body = text.encode()
    draft = Draft(process=AGENT, kind=kind, body=body, tenant=DEFAULT_TENANT)
    header = journal.append(draft)
    if projection is not None:
        projection.put(header, body)
    return header.seq


@asynccontextmanager
async def kept(
    journal: Journal, path: Path | None, fold: Notes | None = None
) -> AsyncGenerator[Projection]:
    threads = [] if path is None else [ThreadOffload("writing"), ThreadOffload("reading")]
    writing, reading = threads if threads else (InlineOffload(), InlineOffload())
    file = ProjectionFile(fold or Notes(), path)
    made = Projection(
        fold or Notes(), file, journal, SystemClock(), writing=writing, reading=reading
    )
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])
        await made.close()
        for thread in threads:
            thread.close()


@asynccontextmanager
async def opened(disk: Disk) -> AsyncGenerator[Journal]:
    journal = disk.journal()
    await journal.open("test", "host", 1)
    try:
        yield journal
    finally:
        await journal.close()


def test_a_reader_sees_all_that_was_durable() -> None:
    async def story() -> None:
        async with opened(VolatileDisk()) as journal, kept(journal, None) as notes:
            written = []
            for number in range(50):
                written.append(f"note {number}")
                await journal.durable(write(journal, notes, written[-1]))
                assert await notes.read(texts) == written

    asyncio.run(story())


def test_what_is_not_durable_yet_is_not_folded() -> None:
    async def story() -> None:
        async with opened(VolatileDisk()) as journal, kept(journal, None) as notes:
            await notes.current()
            write(journal, notes, "on its way")
            assert await notes.read(texts) == []

    asyncio.run(story())


def test_a_boot_reads_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    async def story() -> None:
        disk = SqliteDisk(tmp_path / "home")
        path = tmp_path / "notes.db"
        async with opened(disk) as journal:
            async with kept(journal, path) as notes:
                await journal.durable(write(journal, notes, "one"))
                assert await notes.read(texts) == ["one"]
            write(journal, None, "while it was away")
            write(journal, None, "of another kind", kind="other")
            await journal.flush()
            async with kept(journal, path) as notes:
                assert await notes.read(texts) == ["one", "while it was away"]
                assert notes.applied_seq == journal.head_seq
        disk.close()

    asyncio.run(story())


@pytest.mark.parametrize("damage", ["missing", "garbage", "a page", "format", "journal"])
def test_a_file_that_is_not_right_is_made_again(tmp_path: Path, damage: str) -> None:
    async def story() -> None:
        disk = SqliteDisk(tmp_path / "home")
        path = tmp_path / "notes.db"
        async with opened(disk) as journal:
            async with kept(journal, path) as notes:
                for number in range(500):
                    write(journal, notes, f"{number} " * 20)
                await journal.flush()
                whole = await notes.read(texts)
                assert len(whole) == 500
            if damage == "missing":
                path.unlink()
            elif damage == "garbage":
                path.write_bytes(b"not a database" * 1000)
            elif damage == "a page":
                data = bytearray(path.read_bytes())
                data[3 * 4096 : 12 * 4096] = bytes(9 * 4096)
                path.write_bytes(data)
            elif damage == "journal":
                async with opened(VolatileDisk()) as other, kept(other, path) as notes:
                    assert await notes.read(texts) == []
            async with kept(journal, path, NotesOfNow() if damage == "format" else None) as notes:
                for _ in range(20):
                    try:
                        assert await notes.read(texts) == whole
                        break
                    except NotReady:  # Damage that is found by reading is mended behind it.
                        continue
                else:
                    raise AssertionError("it never became right again")
        disk.close()

    asyncio.run(story())


def test_a_file_from_after_a_cut_of_the_journal_is_made_again(tmp_path: Path) -> None:
    """A backup that was restored: the file knows events that this journal has never had."""

    async def story() -> None:
        disk = SqliteDisk(tmp_path / "home")
        path = tmp_path / "notes.db"
        async with opened(disk) as journal:
            await journal.durable(write(journal, None, "both know this"))
        (tmp_path / "older").mkdir()
        for file in ("journal.db", "journal.anchor"):
            (tmp_path / "older" / file).write_bytes((tmp_path / "home" / file).read_bytes())
        async with opened(disk) as journal, kept(journal, path) as notes:
            await journal.durable(write(journal, notes, "lost"))
            assert await notes.read(texts) == ["both know this", "lost"]
        for file in ("journal.db", "journal.anchor"):
            (tmp_path / "home" / file).write_bytes((tmp_path / "older" / file).read_bytes())
        async with opened(disk) as journal:
            for number in range(5):
                write(journal, None, f"instead {number}")
            await journal.flush()
            async with kept(journal, path) as notes:
                found = await notes.read(texts)
        assert found == ["both know this", *(f"instead {number}" for number in range(5))]
        disk.close()

    asyncio.run(story())


def test_too_many_at_once_are_read_from_the_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(projections, "PROJECTION_QUEUE_BYTES_MAX", 1_000)

    async def story() -> None:
        disk = SqliteDisk(tmp_path / "home")
        async with opened(disk) as journal, kept(journal, tmp_path / "notes.db") as notes:
            await notes.current()
            expected = [f"note {number}" for number in range(3_000)]
            for text in expected:
                write(journal, notes, text)
            await journal.flush()
            assert await notes.read(texts) == expected
            await journal.durable(write(journal, notes, "and one more"))
            assert await notes.read(texts) == [*expected, "and one more"]
        disk.close()

    asyncio.run(story())


def test_long_stretches_of_other_kinds_are_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projections, "PROJECTION_MARK_EVENTS", 10)
    monkeypatch.setattr(projections, "PROJECTION_LINGER_S", 0)

    async def story() -> None:
        async with opened(VolatileDisk()) as journal, kept(journal, None) as notes:
            await notes.current()
            for _ in range(100):
                last = write(journal, notes, "x", kind="other")
                await journal.durable(last)
                for _ in range(8):
                    await asyncio.sleep(0)
            assert notes.applied_seq > last - 50
            assert await notes.read(texts) == []

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_it_has_each_note_once_and_in_order(tmp_path: Path, seed: int) -> None:
    """Writes, reads, rebuilds, restarts without a clean end: compared with a list."""
    chance = random.Random(seed)

    async def story() -> None:
        disk = SqliteDisk(tmp_path / "home")
        path = tmp_path / "notes.db"
        expected: list[str] = []
        async with opened(disk) as journal:
            for _ in range(6):
                async with kept(journal, path) as notes:
                    for _ in range(chance.randrange(40)):
                        what = chance.random()
                        if what < 0.6:
                            expected.append(f"note {len(expected)}")
                            write(journal, notes, expected[-1])
                        elif what < 0.7:
                            write(journal, notes, "nothing", kind="other")
                        elif what < 0.95:
                            await journal.flush()
                            assert await notes.read(texts) == expected
                        else:
                            await notes.rebuild()
                if chance.random() < 0.3:
                    path.unlink(missing_ok=True)
            await journal.flush()
            async with kept(journal, path) as notes:
                assert await notes.read(texts) == expected
        disk.close()

    asyncio.run(story())


def test_a_waiting_reader_is_told_when_it_ends() -> None:
    async def story() -> None:
        async with opened(VolatileDisk()) as journal:
            made = Projection(
                Notes(),
                ProjectionFile(Notes(), None),
                journal,
                SystemClock(),
                writing=InlineOffload(),
                reading=InlineOffload(),
            )
            waiting = asyncio.create_task(made.read(texts))
            task = asyncio.create_task(made.run())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(NotReady):
                await waiting
            await made.close()

    asyncio.run(story())
