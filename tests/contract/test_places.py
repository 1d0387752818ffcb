"""Places and the pen in a real database: one writer at a time, and each place once."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from journals import PostgresDisk
from postgres_server import Server

from orlop.abi.errors import JournalStopped
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, JournalId, Seq
from orlop.cluster.postgres_common import PostgresCommon
from orlop.cluster.postgres_shared import let_go
from orlop.store.rows import Draft

EAST, WEST, SOUTH = (JournalId(f"jrn_{name}") for name in ("east", "west", "south"))


@pytest.fixture
def common(server: Server) -> Iterator[PostgresCommon]:
    made = PostgresCommon(server.url, secrets.token_hex(4))
    yield made
    made.close()


def test_the_pen_goes_to_who_asks_first_and_then_along_the_line(common: PostgresCommon) -> None:
    assert common.look(EAST).holder is None
    assert common.ask(EAST).holder == EAST
    assert common.ask(WEST).holder == EAST
    assert common.ask(SOUTH).holder == EAST
    assert common.ask(WEST).holder == EAST, "who stands in the line already stands there once"
    assert common.look(EAST).is_wanted
    common.pass_on(WEST)
    assert common.look(EAST).holder == EAST, "nobody else's pen can be passed on"
    common.pass_on(EAST)
    assert common.look(WEST).holder == WEST
    common.pass_on(WEST)
    assert common.look(WEST).holder == SOUTH
    assert not common.look(SOUTH).is_wanted
    common.pass_on(SOUTH)
    assert common.look(SOUTH).holder is None


def test_who_is_lost_neither_holds_the_pen_nor_stands_in_the_line(
    common: PostgresCommon, server: Server
) -> None:
    common.ask(EAST)
    common.ask(WEST)
    common.ask(SOUTH)
    with psycopg.connect(server.url, autocommit=True) as taking:
        let_go(taking, common.cluster, WEST)
        let_go(taking, common.cluster, EAST)
    standing = common.ask(EAST)
    assert standing.holder == SOUTH, "the line goes on"
    assert standing.is_wanted is False, "by another one than who asks"
    assert common.look(SOUTH).is_wanted


def test_kernels_with_another_secret_have_a_pen_of_their_own(
    common: PostgresCommon, server: Server
) -> None:
    common.ask(EAST)
    other = PostgresCommon(server.url, f"{common.cluster}x")
    assert other.ask(WEST).holder == WEST
    assert common.look(WEST).holder == EAST
    other.close()


def placed(place: int) -> Draft:
    return Draft(
        process=KERNEL_PROCESS,
        kind="memory.written",
        body=b"{}",
        tenant=DEFAULT_TENANT,
        place=Seq(place),
    )


def test_a_place_is_taken_once_whoever_thinks_that_it_is_his(
    common: PostgresCommon, server: Server, tmp_path: Path
) -> None:
    async def scenario() -> None:
        names = [f"{name}_{secrets.token_hex(4)}" for name in ("one", "two")]
        disks = [
            PostgresDisk(tmp_path / name, server.url, name, cluster=common.cluster)
            for name in names
        ]
        journals = [disk.journal() for disk in disks]
        for journal in journals:
            await journal.open("test", "host", 1)
        first, second = journals
        await first.durable(first.append(placed(1)).seq)
        await second.durable(second.append(placed(2)).seq)
        assert common.look(EAST).head == 2
        again = second.append(placed(1))
        with pytest.raises(JournalStopped, match="duplicate key"):
            await second.durable(again.seq)
        assert second.stopped is not None
        await first.durable(first.append(placed(3)).seq)
        (found,) = await first.at([Seq(first.head_seq)])
        assert found.header.place == found.header.moment == 3
        for journal in journals:
            await journal.close()
        for disk in disks:
            disk.close()

    asyncio.run(scenario())
