"""An external vector store under a kernel's memories: it may be behind, away or empty; nobody is
told anything wrong, and the reply says who answered."""

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from memory_kernel import MemoryComputer, Mind
from small_kernel import Computer, on, program
from vector_servers import LIVE, Opener, live

from orlop.abi.errors import Misconfigured
from orlop.abi.ids import TenantId
from orlop.abi.memory_orders import EraseOrder
from orlop.devices.fake import FakeConfig
from orlop.kernel import memory_erasure, memory_jobs, memory_views
from orlop.machine.offload import InlineOffload
from orlop.memory.memories import MemoryConfig, checked
from orlop.memory.outside import Outside
from orlop.memory.stores import opening
from orlop.memory.stores.store import NUMBERS_MAX, Place, Point, VectorStore, batches
from orlop.memory.vectors import packed
from orlop.state.core import Kernel

PLACE = "common/store"
HOME = Place(TenantId("ann"), "n", "model")
FEED_S = 12.0
"""Until what was asked for is in the store."""
BACK_S = 60.0
"""Until one that was away is asked again, and fed."""


class Watched:
    """Passes everything on, counts, and is away when it is told to be."""

    def __init__(self, store: VectorStore) -> None:
        self.name = "watched"
        self.searches = 0
        self.held: set[int] = set()
        self.is_away = False
        self.before_put: Callable[[], None] = lambda: None
        self._store = store

    def _check(self) -> None:
        if self.is_away:
            raise ConnectionError("connection refused")

    def put(self, place: Place, points: Sequence[Point]) -> None:
        self._check()
        self.before_put()
        self._store.put(place, points)
        self.held |= {point.id for point in points}

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        self._check()
        self._store.drop(place, ids)
        self.held -= set(ids)

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        self._check()
        self.searches += 1
        return self._store.near(places, vector, limit)

    def clear(self) -> None:
        self._check()
        self._store.clear()
        self.held.clear()

    def close(self) -> None:
        self._store.close()


@pytest.fixture(params=LIVE)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    with live(str(request.param), tmp_path) as made:
        yield made


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Watched]:
    """Where it does not matter which store it is."""
    with live("qdrant in RAM", tmp_path) as made:
        yield Watched(made("one"))


async def joined(kernel: Kernel, store: VectorStore) -> Mind:
    mind = Mind(kernel, await program(kernel, name="clerk"))
    memories = mind.memories
    assert memories.dense is not None
    memories.external = memories.dense = Outside(store, memories.dense, kernel.clock)
    kernel.tasks.start(memory_jobs.run(kernel, InlineOffload()))
    return mind


def story(store: VectorStore, scenario: object) -> None:
    async def told(computer: Computer, kernel: Kernel) -> None:
        await scenario(await joined(kernel, store))  # type: ignore[operator]

    on(lambda: MemoryComputer(engine_config=FakeConfig(dimensions=64)), told)


async def facts(mind: Mind, count: int) -> None:
    for number in range(count):
        await mind.remember(f"fact number {number}", PLACE, key=f"k{number}")


HOW: dict[str, object] = {"namespaces": (PLACE,), "mode": "dense", "limit": 3}


def test_what_it_names_is_held_against_the_rows_and_new_ones_are_found_at_once(
    opener: Opener,
) -> None:
    store = Watched(opener("one"))

    async def scenario(mind: Mind) -> None:
        await facts(mind, 20)
        await mind.recall("fact number 7", **HOW)
        await mind.kernel.clock.sleep(FEED_S)
        assert await mind.texts("fact number 7", **HOW) and store.searches == 1
        await mind.remember("quite another thing", PLACE, key="k7")
        await mind.forget((await mind.recall(key="k9", namespaces=(PLACE,))).memories[0].memory)
        found = await mind.texts("quite another thing", **HOW)
        assert found[0] == "quite another thing"
        assert "fact number 7" not in found and store.searches == 2
        assert "fact number 9" not in await mind.texts("fact number 9", **HOW)
        before = set(store.held)
        await mind.kernel.clock.sleep(FEED_S)
        assert len(store.held) == 19 and len(before - store.held) == 2

    story(store, scenario)


def test_one_that_is_lost_is_stood_in_for_and_comes_back(opener: Opener) -> None:
    store = Watched(opener("one"))

    async def scenario(mind: Mind) -> None:
        await facts(mind, 10)
        await mind.recall("fact", **HOW)
        await mind.kernel.clock.sleep(FEED_S)
        store.is_away = True
        found = await mind.recall("fact number 7", **HOW)
        assert found.memories and "connection refused" in found.note
        assert (await memory_views.stats(mind.kernel)).note
        await mind.remember("written meanwhile", PLACE)
        store.is_away = False
        await mind.kernel.clock.sleep(BACK_S)
        again = await mind.recall("written meanwhile", **HOW)
        assert again.memories[0].text == "written meanwhile" and not again.note
        assert store.searches == 1

    story(store, scenario)


def test_one_that_has_forgotten_everything_is_noticed_and_filled_anew(opener: Opener) -> None:
    store = Watched(opener("one"))

    async def scenario(mind: Mind) -> None:
        await facts(mind, 10)
        await mind.recall("fact", **HOW)
        await mind.kernel.clock.sleep(FEED_S)
        store.clear()  # As a server that keeps nothing on disk and was started anew.
        found = await mind.recall("fact number 7", **HOW)
        assert len(found.memories) == 3 and "is away" in found.note
        await mind.kernel.clock.sleep(BACK_S)
        again = await mind.recall("fact number 7", **HOW)
        assert len(again.memories) == 3 and not again.note and len(store.held) == 10

    story(store, scenario)


def test_what_is_erased_leaves_it_within_seconds_and_the_rest_stays(opener: Opener) -> None:
    store = Watched(opener("one"))

    async def scenario(mind: Mind) -> None:
        await facts(mind, 5)
        await mind.remember("Ann lives in Basel", PLACE, subjects=("chat:1",))
        await mind.recall("Ann", **HOW)
        await mind.kernel.clock.sleep(FEED_S)
        assert len(store.held) == 6
        before = set(store.held)
        await memory_erasure.erase(mind.kernel, EraseOrder(subject="chat:1"))
        assert "Ann lives in Basel" not in await mind.texts("Ann lives in Basel", **HOW)
        await mind.kernel.clock.sleep(FEED_S)
        assert len(store.held) == 5 and store.held < before
        assert not (await mind.recall("fact number 1", **HOW)).note

    story(store, scenario)


def test_an_erasure_by_another_kernel_reaches_it_too(one: Watched) -> None:
    async def scenario(mind: Mind) -> None:
        await facts(mind, 3)
        await mind.remember("Ann lives in Basel", PLACE, subjects=("chat:1",))
        await mind.recall("Ann", **HOW)
        await mind.kernel.clock.sleep(FEED_S)
        external = mind.memories.external
        assert external is not None and len(one.held) == 4
        mind.memories.dense = external.inner  # Nobody tells this kernel's store.
        await memory_erasure.erase(mind.kernel, EraseOrder(subject="chat:1"))
        mind.memories.dense = external
        await mind.kernel.clock.sleep(2 * FEED_S)
        assert len(one.held) == 3

    story(one, scenario)


def test_an_erasure_in_the_middle_of_a_feed_reaches_what_was_fed(one: Watched) -> None:
    async def scenario(mind: Mind) -> None:
        await facts(mind, 3)
        external = mind.memories.external
        assert external is not None
        forgotten: list[bool] = []

        def erased_meanwhile() -> None:
            if not forgotten:
                forgotten.append(True)
                external.forget(None)

        one.before_put = erased_meanwhile
        await mind.recall("fact", **HOW)
        feed = await mind.memories.read(external.next_feed())
        external.feed(feed)
        assert len(one.held) == 3  # What was read before the erasure.
        external.feed(await mind.memories.read(lambda _: feed))
        assert not one.held
        await mind.kernel.clock.sleep(FEED_S)
        assert len(one.held) == 3

    story(one, scenario)


def test_each_life_of_a_kernel_begins_with_an_empty_store_and_its_own_rows(
    opener: Opener,
) -> None:
    store = Watched(opener("one"))

    async def two_lives(computer: Computer, kernel: Kernel) -> None:
        mind = await joined(kernel, store)
        await facts(mind, 5)
        await mind.recall("fact", **HOW)
        await kernel.clock.sleep(FEED_S)
        assert len(store.held) == 5
        await computer.close(kernel)
        second = await computer.boot()
        again = await joined(second, store)
        await second.clock.sleep(FEED_S)
        assert not store.held  # Nobody has asked yet.
        await again.recall("fact number 3", **HOW)
        await second.clock.sleep(FEED_S)
        found = await again.recall("fact number 3", **HOW)
        assert len(store.held) == 5 and len(found.memories) == 3 and not found.note
        await computer.close(second)

    computer = MemoryComputer(engine_config=FakeConfig(dimensions=64))
    on(lambda: computer, two_lives)


@pytest.mark.parametrize(
    "kind", ["redis:redis", "qdrant:http", "weaviate:http", "pgvector:postgresql"]
)
def test_one_that_accepts_and_never_answers_does_not_hold_its_caller(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("redis", "qdrant", "peer", "pgvector"):
        monkeypatch.setattr(f"orlop.memory.stores.{module}.ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = opening.open_store(f"{kind}://127.0.0.1:{silent.getsockname()[1]}/", "", "one")
        with pytest.raises(Exception, match=r"(?i)time"):
            store.near([HOME], (1.0, 0.0), 1)
        store.close()


def test_points_come_in_pieces_that_every_store_takes_and_of_one_length() -> None:
    wide = packed([1.0] * 4_000)
    pieces = list(batches([Point(id, wide) for id in range(60)]))
    assert [len(piece) for piece in pieces] == [NUMBERS_MAX // 4_000] * 2 + [10]
    mixed = [Point(1, packed([1.0])), Point(2, wide), Point(3, packed([1.0] * 3)), Point(4, wide)]
    assert [[point.id for point in piece] for piece in batches(mixed)] == [[2, 4]]
    assert list(batches([])) == []


@pytest.mark.parametrize(
    "store",
    [
        "qdrant",
        "faiss:file",
        "redis:http://host",
        "weaviate:host:80",
        "pgvector:mysql://host/db",
        "qdrant:http://",
        "qdrant:http://host:port",
    ],
)
def test_an_address_that_is_none_is_refused_with_what_to_write(store: str) -> None:
    with pytest.raises(Misconfigured, match=r"memory\.store"):
        opening.check(store, "")


def test_a_key_is_asked_for_where_there_must_be_one_and_never_shown(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="asks for a key"):
        opening.check("pinecone:https://index.example", "")
    with pytest.raises(Misconfigured, match="for which store"):
        opening.check("", "key")
    open_to_all = tmp_path / "key"
    open_to_all.write_text("secret-of-tests")
    open_to_all.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod"):
        opening.open_store("weaviate:https://w.example", str(open_to_all), "one")
    store = opening.open_store("redis:redis://me:hidden-word@r.example:1/2", "", "one")
    assert store.name == "redis redis://r.example:1/2"


def test_pgvector_alone_means_the_journals_database() -> None:
    config = MemoryConfig(store="pgvector")
    assert checked(config, "postgresql://h/d").store == "pgvector:postgresql://h/d"
    with pytest.raises(Misconfigured, match=r"where the journal is on PostgreSQL"):
        checked(config, "")
