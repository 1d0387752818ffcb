"""Slots are held by one call each and contexts by one slot each, whatever agents do."""

import asyncio
import random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orlop.abi.calls import Infer
from orlop.abi.messages import Message
from orlop.devices.llamacpp_slots import Held, Table, blocks_of

SLOTS = 3
PROGRAMS = st.sampled_from(["p", "q", "r", "s", "t"])


class SlotMachine(RuleBasedStateMachine):
    """Programs whose contexts grow; calls that come and go; snapshots that are made and lost."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(SLOTS)
        self.running: dict[int, Held] = {}
        self.said: dict[str, tuple[int, ...]] = {}
        self.made = 0

    @rule(program=PROGRAMS, more=st.integers(1, 3))
    def begin(self, program: str, more: int) -> None:
        """A call goes on from its program's context, as `HostContexts.enter` does it."""
        before = self.said.get(program, (hash(program),))
        blocks = before + tuple(range(len(before), len(before) + more))
        match = self.table.match(program, blocks)
        self.made += 1
        held = match.own or Held(f"c{self.made}", program)
        if match.own is not None:
            assert not self.table.is_busy(held), "a context on which a call runs is nobody's own"
            assert held.program == program
            assert blocks[: len(held.blocks)] == held.blocks
        slot = self.table.take(held.slot)
        if slot is None:
            assert len(self.running) == SLOTS, "no slot is free only while all are busy"
            return
        assert slot not in self.running, "a busy slot was given away"
        if held.slot != slot:
            self.table.seat(held, slot)
        held.tokens = len(blocks)
        self.table.grown(held, blocks)
        self.running[slot] = held
        self.said[program] = blocks

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[slot]
        self.table.give_back(slot)

    @rule(program=PROGRAMS)
    def save(self, program: str) -> None:
        for held in self.table.of(program):
            if held.slot is not None:
                held.saved_tokens = held.tokens
                held.is_released = True

    @rule(program=PROGRAMS)
    def lose_snapshots(self, program: str) -> None:
        for held in self.table.of(program):
            self.table.lost(held)

    @rule(program=PROGRAMS)
    def drop(self, program: str) -> None:
        for held in self.table.of(program):
            if not self.table.is_busy(held):
                self.table.forget(held)

    @rule()
    def host_dies(self) -> None:
        self.table.forget_slots()
        assert not self.table.seated()
        for slot in list(self.running):
            del self.running[slot]
            self.table.give_back(slot)

    @invariant()
    def holds(self) -> None:
        self.table.check()
        for slot, held in self.running.items():
            assert self.table.occupant(slot) is held, "a call's context left its slot"


TestSlotTable = SlotMachine.TestCase


def test_who_waits_longest_is_woken_first_and_a_cancelled_one_wakes_the_next() -> None:
    async def scenario() -> None:
        table = Table(1)
        assert table.take() == 0
        woken: list[str] = []

        async def waiter(name: str) -> None:
            while table.take() is None:
                await table.wait()
            woken.append(name)

        tasks = [asyncio.create_task(waiter(name)) for name in "abc"]
        await asyncio.sleep(0)
        table.give_back(0)
        tasks[0].cancel()  # Woken already, but it has not run yet.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert woken == ["b"]
        table.give_back(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert woken == ["b", "c"]

    asyncio.run(scenario())


def test_the_slot_that_is_missed_least_goes_first() -> None:
    table = Table(3)
    for slot, name in enumerate("abc"):
        assert table.take() == slot
        table.seat(Held(name, name, saved_tokens=1), slot)
    for slot in (1, 0, 2):
        table.give_back(slot)
    assert table.take() == 0, "by age of its last use"
    table.give_back(0)
    held = table.occupant(2)
    assert held is not None
    held.is_released = True
    assert table.take() == 2, "released before older ones"
    table.unseat(1)
    assert table.take() == 1, "empty before all"


def words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(["ship", "light", "keeper", "日本"]) for _ in range(count))


def test_what_a_conversation_began_with_gives_the_same_first_blocks() -> None:
    chance = random.Random(5)
    for _ in range(100):
        said = [Message("user", words(chance, chance.randint(1, 60))) for _ in range(6)]
        short = Infer(model="m", messages=tuple(said[:3]))
        long = Infer(model="m", messages=tuple(said))
        assert blocks_of(long)[: len(blocks_of(short))] == blocks_of(short) != ()
        prompt = words(chance, 100)
        cut = chance.randint(130, len(prompt))
        head, whole = (Infer(model="m", prompt=text) for text in (prompt[:cut], prompt))
        if prompt.isascii():
            assert blocks_of(whole)[: len(blocks_of(head))] == blocks_of(head)


def test_other_tools_or_other_words_give_other_blocks() -> None:
    one = Infer(model="m", messages=(Message("user", "a"),))
    other = Infer(model="m", messages=(Message("user", "b"),))
    system = Infer(model="m", messages=(Message("system", "a"),))
    assert len({blocks_of(call) for call in (one, other, system)}) == 3
