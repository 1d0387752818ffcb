"""Search by meaning gives the same from RAM, from disk and (nearly) by the graph, at any moment."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine

from memory_kernel import MemoryComputer, Mind
from small_kernel import Computer, on, program

from orlop.abi.ids import DEFAULT_TENANT, Seq
from orlop.abi.memory import Item, MemoryId, Remember, Target
from orlop.devices.fake import FakeConfig
from orlop.memory.blocks import Blocks
from orlop.memory.finding import Filter, numbers_of
from orlop.memory.fuse import fused
from orlop.memory.meaning import Query
from orlop.memory.vectors import packed
from orlop.state.core import Kernel

PLACES = ("common/one", "common/two")
MODEL = "fake-embed"
SIZE = 32
SEED = 5

Scenario = Callable[[Mind], Coroutine[object, object, None]]


def story(scenario: Scenario) -> None:
    async def told(computer: Computer, kernel: Kernel) -> None:
        await scenario(Mind(kernel, await program(kernel, name="clerk")))

    on(lambda: MemoryComputer(engine_config=FakeConfig(dimensions=SIZE)), told)


def vector(chance: random.Random) -> tuple[float, ...]:
    return tuple(chance.gauss(0, 1) for _ in range(SIZE))


async def lived(mind: Mind, chance: random.Random) -> list[Seq]:
    """A few hundred memories that were written, superseded and forgotten; moments in between."""
    known: list[tuple[str, MemoryId]] = []
    moments: list[Seq] = []
    for turn in range(40):
        place = chance.choice(PLACES)
        items = tuple(
            Item(text=f"{turn} {number}", vector=vector(chance), vector_model=MODEL)
            for number in range(8)
        )
        done = await mind.do(Remember(items=items, namespace=place))
        known += [(place, one.memory) for one in done.written]  # type: ignore[union-attr]
        if known and chance.random() < 0.7:
            where, memory = known.pop(chance.randrange(len(known)))
            new = Item(text="new", memory=memory, vector=vector(chance), vector_model=MODEL)
            await mind.do(Remember(items=(new,), namespace=where))
            known.append((where, memory))
        if known and chance.random() < 0.5:
            where, memory = known.pop(chance.randrange(len(known)))
            await mind.do(Remember(forget=(Target(memory),), namespace=where))
        moments.append(mind.kernel.journal.head_seq)
    return moments


def asked(vector: bytes, limit: int, as_of: Seq | None = None) -> Query:
    wanted = Filter(tenant=DEFAULT_TENANT, namespaces=PLACES, as_of=as_of, at_ns=1 << 62)
    return Query(wanted=wanted, model=MODEL, vector=vector, limit=limit)


def test_ram_disk_and_a_small_budget_give_the_same_at_every_moment() -> None:
    chance = random.Random(SEED)

    async def scenario(mind: Mind) -> None:
        arms = [
            Blocks.within(1 << 30, (), 0),
            Blocks.within(1, (), 0),
            Blocks.within(20_000, (), 0),
            Blocks.within(1, PLACES, 0),
        ]
        for _ in range(3):
            moments = await lived(mind, chance)
            for as_of in (None, *chance.sample(moments, 6), None):
                query = packed(vector(chance))

                def search(
                    connection: sqlite3.Connection,
                    arm: Blocks,
                    query: bytes = query,
                    as_of: Seq | None = as_of,
                ) -> list[int]:
                    found, _ = arm.search(connection, asked(query, 10, as_of))
                    return [id for id, _ in found]

                found = [await mind.memories.read(search, arm) for arm in arms]
                assert found[0] and all(one == found[0] for one in found), f"seed {SEED}"
        for arm in arms:
            arm.residency.check()

    story(scenario)


def test_a_graph_gives_nothing_that_is_not_so_and_knows_what_came_after_it() -> None:
    chance = random.Random(SEED)

    async def scenario(mind: Mind) -> None:
        exact, graph = Blocks.within(1 << 30, (), 0), Blocks.within(1 << 30, (), 1)
        await lived(mind, chance)
        hits = 0

        def both(connection: sqlite3.Connection, query: bytes) -> tuple[list[int], list[int]]:
            arms = [arm.search(connection, asked(query, 5))[0] for arm in (exact, graph)]
            return [id for id, _ in arms[0]], [id for id, _ in arms[1]]

        await mind.memories.read(both, packed(vector(chance)))
        for build in graph.take_wanted():
            build()
        for turn in range(30):
            if turn == 15:
                await lived(mind, chance)
            true, found = await mind.memories.read(both, packed(vector(chance)))
            assert len(found) == 5
            hits += len(set(true) & set(found))
        assert hits >= 0.95 * 150, f"seed {SEED}"

    story(scenario)


def test_equal_fits_are_told_apart_by_words_and_age_and_better_ones_are_not() -> None:
    lists = {
        "dense": [(1, 0.50), (2, 0.50), (3, 0.20)],
        "words": [(2, 4.0), (3, 4.0)],
        "newest": [(3, 1.0), (2, 0.5), (1, 0.1)],
    }
    best = fused(lists, 10)
    assert [id for id, _, _ in best] == [2, 1, 3]
    assert best[0][2] == ["dense:2", "words:1", "newest:2"]
    only_words = fused({"words": [(9, 2.0), (8, 1.0)], "newest": [(8, 1.0), (9, 0.5)]}, 1)
    assert [id for id, _, _ in only_words] == [9]
    assert fused({}, 5) == []


def test_a_number_finds_what_meaning_alone_has_not_named() -> None:
    lists = {
        "dense": [(1, 0.60), (2, 0.55)],
        "words": [(9, 11.0), (1, 3.0), (8, 11.0)],
        "numbers": [(9, 11.0), (8, 11.0)],
        "newest": [(9, 1.0), (8, 0.75), (2, 0.5), (1, 0.25)],
    }
    best = fused(lists, 10, [(9, 0.45)])
    assert [id for id, _, _ in best][:2] == [9, 8]  # 8 has no vector: it counts as 9 does.
    assert best[0][2] == ["words:1", "numbers:1", "newest:1"]


def test_a_number_outweighs_what_is_meant_alike_and_age() -> None:
    lists = {
        "dense": [(2, 0.70), (1, 0.55)],
        "words": [(1, 9.0), (2, 6.0)],
        "numbers": [(1, 4.0)],
        "newest": [(2, 1.0), (1, 0.5)],
    }
    assert [id for id, _, _ in fused(lists, 10)] == [1, 2]
    del lists["numbers"]
    assert [id for id, _, _ in fused(lists, 10)] == [2, 1]
    assert numbers_of("which trip of ann takes HAT294?") == ["hat294"]
    assert numbers_of("HAT294") == numbers_of("what does ann eat?") == []


def test_cosines_of_a_few_are_those_that_a_search_finds() -> None:
    chance = random.Random(SEED)

    async def scenario(mind: Mind) -> None:
        await lived(mind, chance)
        query, blocks = packed(vector(chance)), Blocks.within(1 << 30, (), 0)

        def both(connection: sqlite3.Connection) -> tuple[dict[int, float], dict[int, float]]:
            found, _ = blocks.search(connection, asked(query, 10))
            few = [*(id for id, _ in found), 10**9]  # The last one is nobody's.
            return dict(found), dict(blocks.cosines(connection, MODEL, query, few))

        found, near = await mind.memories.read(both)
        assert found and found.keys() == near.keys()
        assert all(abs(found[id] - near[id]) < 1e-3 for id in found)

    story(scenario)


def test_the_embedded_model_can_be_loaded_after_a_graph() -> None:
    """Loaded the other way round, the two libraries end the process."""
    code = "import orlop.memory.graph, onnxruntime"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
