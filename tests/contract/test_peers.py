"""Leases and take-overs in a real database: who may write, and who may not any more."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import psycopg
import pytest
from journals import PostgresDisk, intent
from postgres_server import Server

from orlop.abi.errors import Fenced, JournalStopped, Misconfigured, NotReady
from orlop.abi.ids import BootId, JournalId, TenantId
from orlop.cluster.cluster_key import ClusterKey
from orlop.cluster.peers import Me
from orlop.cluster.postgres_peers import PostgresPeers
from orlop.machine.chance import SystemChance
from orlop.store.journal import Journal

P = ParamSpec("P")
LIVES: "list[Kernel]" = []
"""Closed at the end of each test."""
LEASE_S = 1.0
JOURNAL = JournalId("jrn_of_a_test")


def in_a_loop(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(scenario(*args, **kwargs))

    async def scenario(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            for kernel in LIVES:
                await kernel.down()
            LIVES.clear()

    return run


@pytest.fixture
def key() -> ClusterKey:
    return ClusterKey(secrets.token_bytes(32), SystemChance())


class Kernel:
    """A journal with its place among the others."""

    def __init__(self, server: Server, folder: Path, key: ClusterKey, name: str) -> None:
        self.schema = f"{name}_{secrets.token_hex(4)}"
        self.disk = PostgresDisk(folder / self.schema, server.url, self.schema)
        self.peers = PostgresPeers(server.url, key, LEASE_S, SystemChance())
        self.journal: Journal | None = None
        self.me: Me | None = None

    async def up(self) -> Me:
        if self.journal is not None:
            await self.journal.close()
        self.journal = self.disk.journal()
        if self not in LIVES:
            LIVES.append(self)
        await self.journal.open("test", "host", 1)
        self.me = Me(
            journal=self.journal.id,
            schema=self.schema,
            host=self.schema,
            url="",
            boot=self.journal.boot,
            epoch=self.journal.epoch,
        )
        return self.me

    async def down(self) -> None:
        if self.journal is not None:
            await self.journal.close()
        self.peers.close()
        self.disk.close()


@pytest.fixture
def two(server: Server, tmp_path: Path, key: ClusterKey) -> tuple[Kernel, Kernel]:
    return Kernel(server, tmp_path, key, "east"), Kernel(server, tmp_path, key, "west")


@in_a_loop
async def test_a_kernel_that_holds_its_lease_is_not_taken_over(
    two: tuple[Kernel, Kernel],
) -> None:
    east, west = two
    theirs, ours = await east.up(), await west.up()
    east.peers.join(theirs)
    west.peers.join(ours)
    assert not west.peers.take(ours, theirs.journal)
    await asyncio.sleep(LEASE_S * 1.2)
    east.peers.renew(theirs)
    assert not west.peers.take(ours, theirs.journal), "it was renewed meanwhile"


@in_a_loop
async def test_once_it_is_taken_over_a_paused_owner_can_neither_write_nor_renew(
    two: tuple[Kernel, Kernel],
) -> None:
    east, west = two
    theirs, ours = await east.up(), await west.up()
    east.peers.join(theirs)
    west.peers.join(ours)
    await asyncio.sleep(LEASE_S * 1.2)
    assert west.peers.take(ours, theirs.journal)
    with pytest.raises(Fenced):
        east.peers.renew(theirs)
    assert east.journal is not None
    known = east.journal.head_seq
    with pytest.raises(JournalStopped):
        await east.journal.durable(east.journal.append(intent(1)).seq)
    with pytest.raises(NotReady, match="just taking"):
        east.peers.join(await east.up())
    west.peers.taken(ours, theirs.journal)
    assert east.me is not None
    heir = east.peers.join(east.me)
    assert heir is not None and heir.journal == ours.journal
    assert east.journal is not None and east.journal.head_seq > known
    east.peers.settled(east.me)
    east.peers.renew(east.me)


@in_a_loop
async def test_of_several_that_want_the_same_journal_one_gets_it(
    server: Server, tmp_path: Path, key: ClusterKey
) -> None:
    kernels = [Kernel(server, tmp_path, key, f"k{number}") for number in range(6)]
    for kernel in kernels:
        kernel.peers.join(await kernel.up())
    lost = kernels[0].me
    assert lost is not None
    await asyncio.sleep(LEASE_S * 1.2)
    won: list[int] = []
    start = threading.Barrier(5)

    def race(number: int) -> None:
        me = kernels[number].me
        assert me is not None
        start.wait()
        if kernels[number].peers.take(me, lost.journal):
            won.append(number)

    racing = [threading.Thread(target=race, args=(number,)) for number in range(1, 6)]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join(30)
    assert len(won) == 1
    winner = kernels[won[0]]
    assert winner.me is not None
    assert winner.peers.take(winner.me, lost.journal), "it may begin again until it is done"


@in_a_loop
async def test_one_that_was_taken_over_by_a_kernel_that_is_lost_too_is_finished_by_the_third(
    server: Server, tmp_path: Path, key: ClusterKey
) -> None:
    first, second, third = (Kernel(server, tmp_path, key, name) for name in ("a", "b", "c"))
    lost, heir, survivor = await first.up(), await second.up(), await third.up()
    first.peers.join(lost)
    second.peers.join(heir)
    third.peers.join(survivor)
    await asyncio.sleep(LEASE_S * 1.2)
    assert second.peers.take(heir, lost.journal)
    assert not third.peers.take(survivor, lost.journal)
    assert third.peers.take(survivor, heir.journal)
    assert third.peers.take(survivor, lost.journal)
    third.peers.taken(survivor, lost.journal)
    third.peers.taken(survivor, heir.journal)


@in_a_loop
async def test_a_commit_that_is_half_done_comes_before_the_take_over_or_not_at_all(
    server: Server, two: tuple[Kernel, Kernel]
) -> None:
    east, west = two
    theirs, ours = await east.up(), await west.up()
    east.peers.join(theirs)
    west.peers.join(ours)
    await asyncio.sleep(LEASE_S * 1.2)
    with psycopg.connect(server.url) as paused:
        # As the owner's own commit, stopped before its end: it holds the row that says who writes.
        paused.execute(f"SELECT 1 FROM {east.schema}.owner WHERE epoch = 1 FOR SHARE")
        taking = threading.Thread(target=west.peers.take, args=(ours, theirs.journal))
        taking.start()
        taking.join(0.3)
        assert taking.is_alive(), "it waits for the commit"
        paused.rollback()
        taking.join(10)
        assert not taking.is_alive()
        epoch = paused.execute(f"SELECT epoch FROM {east.schema}.owner").fetchone()
        assert epoch == (2,)


@in_a_loop
async def test_what_stopped_cleanly_waits_for_its_own_next_start(
    two: tuple[Kernel, Kernel],
) -> None:
    east, west = two
    theirs, ours = await east.up(), await west.up()
    east.peers.join(theirs)
    west.peers.join(ours)
    east.peers.leave(theirs)
    await asyncio.sleep(LEASE_S * 1.2)
    assert not west.peers.take(ours, theirs.journal)
    known = {peer.journal: peer for peer in west.peers.all()}
    assert known[theirs.journal].lease_s is None
    assert known[theirs.journal].head > 0


@in_a_loop
async def test_all_kernels_of_a_cluster_use_one_key_a_tenant_and_others_do_not_see_it(
    server: Server, key: ClusterKey
) -> None:
    tenant = TenantId(f"acme-{secrets.token_hex(4)}")
    chance = SystemChance()
    east, west = (PostgresPeers(server.url, key, LEASE_S, chance) for _ in range(2))
    made = east.of_tenant(tenant)
    assert west.of_tenant(tenant) == made
    assert west.by_id(made.id) == made
    stranger = PostgresPeers(server.url, ClusterKey(bytes(32), chance), LEASE_S, chance)
    assert stranger.by_id(made.id) is None
    assert stranger.of_tenant(tenant) != made
    with psycopg.connect(server.url) as reader:
        for (wrapped,) in reader.execute("SELECT wrapped FROM orlop_kernels.tenant_key"):
            assert made.key not in bytes(wrapped)
    assert west.has(tenant) and not west.has(TenantId(f"{tenant}-x"))
    east.forget(tenant)
    assert not west.has(tenant)
    assert west.by_id(made.id) is None
    assert west.of_tenant(tenant) != made
    for peers in (east, west, stranger):
        peers.close()


def test_a_key_file_that_is_missing_short_or_open_to_others_is_refused(tmp_path: Path) -> None:
    chance, path = SystemChance(), tmp_path / "cluster.key"
    with pytest.raises(Misconfigured, match="openssl"):
        ClusterKey.read(path, chance)
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="32"):
        ClusterKey.read(path, chance)
    path.write_text(chance.token(32).hex() + "\n")
    assert ClusterKey.read(path, chance).name == ClusterKey.read(path, chance).name
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod"):
        ClusterKey.read(path, chance)


def test_a_boot_that_is_not_the_one_that_joined_cannot_renew(
    server: Server, key: ClusterKey
) -> None:
    peers = PostgresPeers(server.url, key, LEASE_S, SystemChance())
    me = Me(journal=JOURNAL, schema="somewhere", host="h", url="", boot=BootId("bot_1"), epoch=1)
    peers.join(me)
    peers.renew(me)
    stale = Me(journal=JOURNAL, schema="somewhere", host="h", url="", boot=BootId("bot_0"), epoch=1)
    with pytest.raises(Fenced):
        peers.renew(stale)
    peers.close()
