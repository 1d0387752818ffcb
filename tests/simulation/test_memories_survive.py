"""Agents that remember while their kernel is killed again and again: nothing told is lost, nothing
is there twice, nobody's counter is counted wrong, and the rows are what the journal says."""

import asyncio
import random
from contextlib import suppress

import pytest
from memory_kernel import MemoryComputer, Mind
from simulation_loop import simulate
from small_kernel import program

from orlop.abi.errors import Conflict, KernelError
from orlop.abi.ids import Seq
from orlop.state.core import Kernel

AGENTS = 3
LIVES = 4
PLACE = "common/town"


class Witness:
    """What was told, over all lives."""

    def __init__(self) -> None:
        self.told: set[str] = set()
        self.asked = 0
        self.raised = 0
        self.seen_seq = Seq(0)


async def agent(mind: Mind, witness: Witness, chance: random.Random) -> None:
    """Until the kernel is gone."""
    while True:
        await mind.kernel.clock.sleep(chance.random())
        if chance.random() < 0.5:
            witness.asked += 1
            text = f"fact {witness.asked}"
            await mind.remember(text, PLACE)
            witness.told.add(text)
            assert text in await mind.texts(text, namespaces=(PLACE,), limit=1_000)
        else:
            await raise_count(mind, witness)


async def raise_count(mind: Mind, witness: Witness) -> None:
    found = (await mind.recall(key="count", namespaces=(PLACE,))).memories
    known = found[0] if found else None
    count = int(known.text.split()[-1]) if known else 0
    with suppress(Conflict):
        done = await mind.write(
            f"count {count + 1}", PLACE, key="count", expected=known.version if known else 0
        )
        witness.raised += 1
        assert done.facts.seq > witness.seen_seq
        witness.seen_seq = done.facts.seq


async def check(kernel: Kernel, mind: Mind, witness: Witness) -> None:
    texts = await mind.texts(namespaces=(PLACE,), limit=1_000)
    facts = [text for text in texts if text.startswith("fact")]
    assert len(facts) == len(set(facts)), "told once, there twice"
    assert witness.told <= set(facts), witness.told - set(facts)
    assert len(facts) <= witness.asked
    counts = [int(text.split()[-1]) for text in texts if text.startswith("count")]
    assert len(counts) <= 1
    # One more may be in that was never told, in each life and for each agent.
    assert witness.raised <= sum(counts) <= witness.raised + AGENTS * LIVES
    rows = await mind.memories.read(everything)
    await mind.memories.projection.rebuild()
    assert await mind.memories.read(everything) == rows


def everything(connection: object) -> list[tuple[object, ...]]:
    found = connection.execute(  # type: ignore[attr-defined]
        "SELECT memory, version, text, known_from, known_to, closed FROM version"
        " ORDER BY memory, version"
    )
    return list(found)


@pytest.mark.parametrize("seed", range(12))
def test_memories_survive_kills(seed: int) -> None:
    chance = random.Random(seed)

    async def town() -> None:
        computer, witness = MemoryComputer(), Witness()
        lost: list[Kernel] = []  # What a kernel that was killed leaves behind ends with the loop.
        kernel = await computer.boot()
        for life in range(LIVES):
            minds = [
                Mind(kernel, await program(kernel, name=f"agent-{number}-{life}"))
                for number in range(AGENTS)
            ]
            tasks = [asyncio.create_task(agent(mind, witness, chance)) for mind in minds]
            await kernel.clock.sleep(chance.uniform(2, 8))
            for task in tasks:
                task.cancel()
            await computer.crash(kernel)
            lost.append(kernel)
            for task in tasks:
                with suppress(asyncio.CancelledError, KernelError):
                    await task
            kernel = await computer.boot()
            judge = Mind(kernel, await program(kernel, name="judge"))
            await check(kernel, judge, witness)
        assert witness.told and witness.raised, f"seed {seed} did nothing"
        await computer.close(kernel)

    simulate(seed, town())
