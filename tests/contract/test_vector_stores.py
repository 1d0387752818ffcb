"""What every external vector store must do: Qdrant's local mode, really run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from memory_kernel import MemoryComputer, Mind
from small_kernel import Computer, on, program

from orlop.abi.ids import TenantId
from orlop.devices.fake import FakeConfig
from orlop.kernel import memory_jobs, memory_views
from orlop.machine.offload import InlineOffload
from orlop.memory.feed import FedRow
from orlop.memory.outside import Outside, VectorStore
from orlop.memory.qdrant import Qdrant
from orlop.memory.vectors import packed
from orlop.state.core import Kernel

ANN, BOB = TenantId("ann"), TenantId("bob")
PLACE = "common/store"


@pytest.fixture(params=["qdrant in a folder", "qdrant in RAM"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    made = Qdrant(":memory:" if "RAM" in request.param else str(tmp_path))
    yield made
    made.close()


def row(id: int, vector: Sequence[float], tenant: TenantId = ANN, namespace: str = "n") -> FedRow:
    return FedRow(id, tenant, namespace, "model", packed(vector))


def test_the_nearest_are_named_within_their_tenant_and_namespaces(store: VectorStore) -> None:
    store.put([row(1, (1, 0)), row(2, (0, 1)), row(3, (1, 0), BOB), row(4, (1, 0), ANN, "m")])
    assert store.near(ANN, ["n"], "model", (1.0, 0.1), 1) == [1]
    assert sorted(store.near(ANN, ["n", "m"], "model", (1.0, 0.1), 2)) == [1, 4]
    assert store.near(BOB, ["n"], "model", (0.0, 1.0), 5) == [3]


def test_what_is_put_again_is_replaced_and_what_is_dropped_is_gone(store: VectorStore) -> None:
    store.put([row(1, (1, 0)), row(2, (0, 1))])
    store.put([row(1, (0, 1))])
    assert sorted(store.near(ANN, ["n"], "model", (1.0, 0.0), 9)) == [1, 2]
    store.drop([1])
    store.drop([])
    assert store.near(ANN, ["n"], "model", (0.0, 1.0), 9) == [2]
    store.clear()
    store.put([row(7, (1, 0))])
    assert store.near(ANN, ["n"], "model", (1.0, 0.0), 9) == [7]


def story(store: VectorStore, scenario: object) -> None:
    async def told(computer: Computer, kernel: Kernel) -> None:
        mind = Mind(kernel, await program(kernel, name="clerk"))
        memories = mind.memories
        assert memories.dense is not None
        external = Outside(store, memories.dense, kernel.clock)
        memories.external = memories.dense = external
        kernel.tasks.start(memory_jobs.run(kernel, InlineOffload()))
        await scenario(mind)  # type: ignore[operator]

    config = FakeConfig(dimensions=64)
    on(lambda: MemoryComputer(engine_config=config), told)


class Counted:
    """Passes everything on, counts searches, and is away when it is told to be."""

    def __init__(self, store: VectorStore) -> None:
        self.name = "counted"
        self.searches = 0
        self.is_away = False
        self._store = store

    def _check(self) -> None:
        if self.is_away:
            raise ConnectionError("connection refused")

    def put(self, rows: Sequence[FedRow]) -> None:
        self._check()
        self._store.put(rows)

    def drop(self, ids: Sequence[int]) -> None:
        self._check()
        self._store.drop(ids)

    def near(
        self,
        tenant: TenantId,
        namespaces: Sequence[str],
        model: str,
        vector: Sequence[float],
        limit: int,
    ) -> list[int]:
        self._check()
        self.searches += 1
        return self._store.near(tenant, namespaces, model, vector, limit)

    def clear(self) -> None:
        self._check()
        self._store.clear()


def test_what_it_names_is_held_against_the_rows_and_new_ones_are_found_at_once(
    store: VectorStore,
) -> None:
    counted = Counted(store)

    async def scenario(mind: Mind) -> None:
        for number in range(20):
            await mind.remember(f"fact number {number}", PLACE, key=f"k{number}")
        how = {"namespaces": (PLACE,), "mode": "dense", "limit": 3}
        await mind.recall("fact number 7", **how)
        await mind.kernel.clock.sleep(12.0)
        assert await mind.texts("fact number 7", **how) and counted.searches == 1
        await mind.remember("quite another thing", PLACE, key="k7")
        await mind.forget((await mind.recall(key="k9", namespaces=(PLACE,))).memories[0].memory)
        found = await mind.texts("quite another thing", **how)
        assert found[0] == "quite another thing"
        assert "fact number 7" not in found and counted.searches == 2
        assert "fact number 9" not in await mind.texts("fact number 9", **how)

    story(counted, scenario)


def test_one_that_is_lost_is_stood_in_for_and_the_reply_says_so(store: VectorStore) -> None:
    counted = Counted(store)

    async def scenario(mind: Mind) -> None:
        for number in range(10):
            await mind.remember(f"fact number {number}", PLACE)
        how = {"namespaces": (PLACE,), "limit": 3}
        await mind.recall("fact", **how)
        await mind.kernel.clock.sleep(12.0)
        counted.is_away = True
        found = await mind.recall("fact number 7", **how)
        assert found.memories and "connection refused" in found.note
        assert (await memory_views.stats(mind.kernel)).note
        await mind.remember("written meanwhile", PLACE)
        counted.is_away = False
        await mind.kernel.clock.sleep(60.0)
        again = await mind.recall("written meanwhile", **how)
        assert again.memories[0].text == "written meanwhile" and not again.note
        assert counted.searches == 1

    story(counted, scenario)
