"""Any store of vectors, however it behaves, under a kernel's memories.

Nothing that is not current is ever recalled, the exact text of what is current always is, and once
the store behaves for a while it holds what is current and nothing else.
"""

import random
from collections.abc import Sequence

import pytest
from memory_kernel import MemoryComputer, Mind
from small_kernel import Computer, on, program

from orlop.abi.memory import MemoryId
from orlop.abi.memory_orders import EraseOrder
from orlop.devices.fake import FakeConfig
from orlop.kernel import memory_erasure, memory_jobs
from orlop.machine.offload import InlineOffload
from orlop.memory.outside import Outside
from orlop.memory.stores.store import Place, Point
from orlop.memory.vectors import unpacked
from orlop.state.core import Kernel

STEPS = 80
PLACES = ("common/a", "common/b")
SETTLED_S = 120.0


class Moody:
    """Exact, but now and then away, empty, or naming what nobody asked for."""

    name = "moody"

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.is_moody = True
        self.away = 0
        self.searches = 0
        self.has_forgotten = False
        """Some of it may go unnoticed: then it overlooks what it had."""
        self.held: dict[tuple[str, str, int], tuple[float, ...]] = {}

    def _mood(self) -> None:
        if not self.is_moody:
            return
        if self.away:
            self.away -= 1
            raise ConnectionError("away")
        match self.dice.randrange(12):
            case 0:
                self.away = self.dice.randrange(4)
                raise TimeoutError("no answer")
            case 1:
                self.held.clear()
                self.has_forgotten = True

    def put(self, place: Place, points: Sequence[Point]) -> None:
        self._mood()
        for point in points:
            self.held[place.key, place.model, point.id] = unpacked(point.vector)
            if self.is_moody and self.dice.random() < 0.02:
                raise ConnectionError("in the middle")

    def drop(self, place: Place, ids: Sequence[int]) -> None:
        self._mood()
        for id in ids:
            self.held.pop((place.key, place.model, id), None)

    def near(self, places: Sequence[Place], vector: Sequence[float], limit: int) -> list[int]:
        self._mood()
        self.searches += 1
        keys = {place.key for place in places}
        mine = [(id, data) for (key, _, id), data in self.held.items() if key in keys]
        mine.sort(key=lambda one: -sum(a * b for a, b in zip(one[1], vector, strict=True)))
        strangers = [self.dice.randrange(1, 200) for _ in range(self.dice.randrange(3))]
        return [id for id, _ in mine[:limit]] + (strangers if self.is_moody else [])

    def clear(self) -> None:
        self._mood()
        self.held.clear()
        self.has_forgotten = False

    def close(self) -> None:
        """Nothing is open."""


class Life:
    """What is done to memories, and what must be known of them."""

    def __init__(self, mind: Mind, store: Moody, dice: random.Random) -> None:
        self.mind = mind
        self.store = store
        self.dice = dice
        self.current: dict[tuple[str, str], tuple[MemoryId, str]] = {}
        self.written = 0

    async def step(self) -> None:
        place, key = self.dice.choice(PLACES), f"k{self.dice.randrange(12)}"
        match self.dice.randrange(12):
            case 0 | 1 | 2 | 3:
                self.written += 1
                text = f"fact {self.written} of {key}"
                memory = await self.mind.remember(text, place, key=key, subjects=(f"id:{key}",))
                self.current[place, key] = (memory, text)
            case 4 if (place, key) in self.current:
                await self.mind.forget(self.current.pop((place, key))[0])
            case 5 if any(name == key for _, name in self.current):
                await memory_erasure.erase(self.mind.kernel, EraseOrder(subject=f"id:{key}"))
                self.current = {at: one for at, one in self.current.items() if at[1] != key}
            case 6 | 7:
                await self.mind.kernel.clock.sleep(self.dice.random() * 20)
            case _:
                await self.look()

    async def look(self) -> None:
        known = {at: text for at, (_, text) in self.current.items()}
        if not known:
            return
        (place, _), text = self.dice.choice(sorted(known.items()))
        found = await self.mind.texts(text, namespaces=(place,), mode="dense", limit=2)
        assert self.store.has_forgotten or found[0] == text
        assert set(found) <= {text for (at, _), text in known.items() if at == place}


@pytest.mark.parametrize("seed", range(25))
def test_what_is_recalled_is_current_whatever_the_store_does(seed: int) -> None:
    dice = random.Random(seed)

    async def told(computer: Computer, kernel: Kernel) -> None:
        mind = Mind(kernel, await program(kernel, name="clerk"))
        memories = mind.memories
        assert memories.dense is not None
        store = Moody(dice)
        memories.external = memories.dense = Outside(store, memories.dense, kernel.clock)
        kernel.tasks.start(memory_jobs.run(kernel, InlineOffload()))
        life = Life(mind, store, dice)
        for _ in range(STEPS):
            await life.step()
        store.is_moody = False
        for place in PLACES:
            await mind.recall("fact", namespaces=(place,), mode="dense")
        await kernel.clock.sleep(SETTLED_S)
        assert len(store.held) == len(life.current)
        for _ in range(5):
            await life.look()
        assert not memories.note and store.searches

    on(lambda: MemoryComputer(engine_config=FakeConfig(dimensions=64)), told, seed)
