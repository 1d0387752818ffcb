"""A journal on PostgreSQL while its server is killed, cut off, and wanted by two kernels."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from journals import PostgresDisk, intent, opened, outcome
from postgres_server import Server

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import Seq
from orlop.store.tapes import JournalConfig
from orlop.store.verify import verify


@pytest.fixture
def disk(server: Server, tmp_path: Path) -> Iterator[PostgresDisk]:
    made = PostgresDisk(tmp_path / "home", server.url, f"journal_{secrets.token_hex(4)}")
    yield made
    made.close()


def config(disk: PostgresDisk) -> JournalConfig:
    return JournalConfig(url=disk.url, schema=disk.name)


async def steps(disk: PostgresDisk, first: int, count: int) -> tuple[int, JournalStopped | None]:
    """The last event that was acknowledged, and why there came no more."""
    acknowledged = 0
    journal = disk.journal()
    try:
        await journal.open("test", "host", 1)
        for number in range(first, first + count):
            entered = journal.append(intent(number))
            header = journal.append(outcome(number, entered.seq))
            await journal.durable(header.seq)
            acknowledged = header.seq
    except JournalStopped as error:
        return acknowledged, error
    finally:
        await journal.close()
    return acknowledged, None


def events(disk: PostgresDisk) -> int:
    """That are committed; 0 while there is no journal yet."""
    with psycopg.connect(disk.url, autocommit=True) as reader:
        try:
            found = reader.execute(f"SELECT count(*) FROM {disk.name}.event").fetchone()
        except psycopg.errors.UndefinedTable:
            return 0
    return 0 if found is None else int(found[0])


def test_a_killed_server_stops_the_journal_and_nothing_acknowledged_is_lost(
    server: Server, disk: PostgresDisk
) -> None:
    async def scenario() -> None:
        writing = asyncio.create_task(steps(disk, 1, 1_000_000))
        while events(disk) < 20:  # noqa: ASYNC110 (a server tells nobody)
            await asyncio.sleep(0.05)
        server.kill()
        try:
            async with asyncio.timeout(30):
                acknowledged, why = await writing
        finally:
            server.start()
        assert why is not None and "PostgreSQL" in why.message
        assert acknowledged > 2
        async with opened(disk) as journal:
            assert journal.head_seq >= acknowledged
            found = await journal.read(Seq(1), Seq(acknowledged), limit=acknowledged)
            assert [stored.header.seq for stored in found] == list(range(1, acknowledged + 1))

    asyncio.run(scenario())
    assert verify(disk.path, config=config(disk)).is_whole


def test_a_second_kernel_is_refused_until_the_first_has_lost_its_connection(
    server: Server, disk: PostgresDisk, tmp_path: Path
) -> None:
    async def scenario() -> None:
        first = disk.journal()
        await first.open("test", "host", 1)
        second = PostgresDisk(tmp_path / "other", disk.url, disk.name, disk.chance)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "keys").symlink_to(disk.path / "keys")
        taken = second.journal()
        with pytest.raises(JournalStopped, match="another kernel"):
            await taken.open("test", "host", 2)
        await taken.close()
        # The first one is cut off, as a paused machine's connection is by the server.
        with psycopg.connect(disk.url, autocommit=True) as operator:
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s",
                (f"orlop {disk.name}",),
            )
        known = first.head_seq
        with pytest.raises(JournalStopped):
            await first.durable(first.append(intent(1)).seq)
        await first.close()
        async with opened(disk) as heir:
            assert heir.epoch == 2
            assert heir.head_seq == known + 1, "its own boot follows what was there"
        second.close()

    asyncio.run(scenario())


def test_an_owner_whose_epoch_is_over_cannot_write_although_it_is_connected(
    server: Server, disk: PostgresDisk
) -> None:
    async def scenario() -> None:
        paused = disk.journal()
        await paused.open("test", "host", 1)
        known = paused.head_seq
        with psycopg.connect(disk.url, autocommit=True) as successor:
            successor.execute(f"UPDATE {disk.name}.owner SET epoch = 2")
            successor.execute(f"INSERT INTO {disk.name}.boot VALUES (2, 'bot_successor')")
        with pytest.raises(JournalStopped, match="taken it over"):
            await paused.durable(paused.append(intent(1)).seq)
        await paused.close()
        async with opened(disk) as heir:
            assert heir.head_seq == known + 1
            assert heir.epoch == 3, "the epoch of whoever took it over is not given out again"

    asyncio.run(scenario())


def test_tables_of_the_first_layout_are_brought_up_to_date_when_they_are_opened(
    server: Server, disk: PostgresDisk
) -> None:
    acknowledged, _ = asyncio.run(steps(disk, 1, 3))
    with psycopg.connect(disk.url, autocommit=True) as operator:
        operator.execute(f"DROP TABLE {disk.name}.owner")
        operator.execute(f"DELETE FROM {disk.name}.meta WHERE name = 'layout'")
    assert verify(disk.path, config=config(disk)).is_whole, "reading needs no upgrade"
    more, _ = asyncio.run(steps(disk, 4, 3))
    assert more > acknowledged
    assert verify(disk.path, config=config(disk)).is_whole


def test_events_can_be_neither_changed_nor_deleted_by_sql(
    server: Server, disk: PostgresDisk
) -> None:
    asyncio.run(steps(disk, 1, 3))
    with psycopg.connect(disk.url, autocommit=True) as intruder:
        for statement in (
            f"UPDATE {disk.name}.event SET header = '{{}}' WHERE seq = 2",
            f"DELETE FROM {disk.name}.event WHERE seq = 2",
            f"TRUNCATE {disk.name}.event",
            f"DELETE FROM {disk.name}.body",
            f"UPDATE {disk.name}.body SET data = 'x' WHERE id > 0",
        ):
            with pytest.raises(psycopg.Error, match=r"append-only|only be pruned"):
                intruder.execute(statement)


def test_a_superuser_who_forges_an_event_is_found_out(server: Server, disk: PostgresDisk) -> None:
    asyncio.run(steps(disk, 1, 3))
    with psycopg.connect(disk.url, autocommit=True) as intruder:
        intruder.execute(f"ALTER TABLE {disk.name}.event DISABLE TRIGGER ALL")
        intruder.execute(
            f"UPDATE {disk.name}.event SET header = replace(header, 'call.entered', 'call.failed')"
            " WHERE seq = 2"
        )
    verdict = verify(disk.path, config=config(disk))
    assert not verdict.is_whole
    assert verdict.damage[0].first == 2


def test_a_tail_that_the_server_lost_is_noticed(server: Server, disk: PostgresDisk) -> None:
    """As after a restore of an old backup: the anchor in the home has seen more."""
    acknowledged, _ = asyncio.run(steps(disk, 1, 5))
    with psycopg.connect(disk.url, autocommit=True) as intruder:
        intruder.execute(f"ALTER TABLE {disk.name}.event DISABLE TRIGGER ALL")
        intruder.execute(f"DELETE FROM {disk.name}.event WHERE seq > {acknowledged - 4}")

    async def scenario() -> None:
        journal = disk.journal()
        with pytest.raises(JournalStopped) as refused:
            await journal.open("test", "host", 2)
        await journal.close()
        assert str(acknowledged - 3) in refused.value.message

    asyncio.run(scenario())


def test_who_only_reads_a_journal_is_connected_anew_after_its_connection_was_lost(
    server: Server, disk: PostgresDisk
) -> None:
    async def scenario() -> None:
        async with opened(disk) as journal:
            header = journal.append(intent(1))
            await journal.durable(header.seq)
        reader = disk.journal()
        await reader.open_for_reading()
        assert [one.header for one in await reader.at([header.seq])] == [header]
        with psycopg.connect(disk.url, autocommit=True) as operator:
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s",
                (f"orlop {disk.name}",),
            )
        with pytest.raises(JournalStopped):
            await reader.at([header.seq])
        assert [one.header for one in await reader.at([header.seq])] == [header]
        assert reader.process_head(header.process) == header.process_seq
        await reader.close()

    asyncio.run(scenario())
