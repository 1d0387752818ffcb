"""Memories: versions, two times, conflicts, whose they are, and how they are found."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from memory_kernel import MemoryComputer, Mind
from simulation_loop import simulate
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Call
from orlop.abi.errors import BadCall, Conflict, Denied, NotFound
from orlop.abi.events import CallEntered
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, Seq
from orlop.abi.memory import (
    Forget,
    Item,
    MemoryId,
    MemoryKindSet,
    MemoryShared,
    Recall,
    Recalled,
    Remember,
    SubjectsLinked,
    Target,
)
from orlop.kernel import syscall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.subsystems import lifecycle

Scenario = Callable[[Mind], Coroutine[object, object, None]]
HOUR_NS = 3_600_000_000_000


def story(scenario: Scenario, **how: object) -> None:
    async def told(computer: Computer, kernel: Kernel) -> None:
        await scenario(Mind(kernel, await program(kernel, name="clerk")))

    on(lambda: MemoryComputer(**how), told)  # type: ignore[arg-type]


async def another(mind: Mind, name: str) -> Mind:
    return Mind(mind.kernel, await program(mind.kernel, name=name))


def test_a_process_recalls_what_it_has_just_remembered() -> None:
    async def scenario(mind: Mind) -> None:
        for number in range(20):
            text = f"order {number} was shipped"
            await mind.remember(text)
            assert text in await mind.texts(f"order {number}")

    story(scenario)


def test_a_new_fact_supersedes_the_old_one_of_its_key() -> None:
    async def scenario(mind: Mind) -> None:
        first = await mind.remember("Ann lives in Bern", key="address")
        done = await mind.write("Ann lives in Basel", key="address")
        assert done.written[0].memory == first and done.written[0].supersedes == 1
        assert await mind.texts("where does Ann live") == ["Ann lives in Basel"]
        assert await mind.texts(key="address") == ["Ann lives in Basel"]

    story(scenario)


def test_of_two_items_with_one_key_in_one_call_the_later_holds() -> None:
    async def scenario(mind: Mind) -> None:
        items = tuple(Item(text=f"Ann lives in {town}", key="home") for town in ("Bern", "Biel"))
        await mind.do(Remember(items=items))
        assert await mind.texts("where does Ann live") == ["Ann lives in Biel"]
        assert await mind.texts(mode="newest") == ["Ann lives in Biel"]
        assert await mind.texts(key="home") == ["Ann lives in Biel"]

    story(scenario)


def test_what_was_known_at_any_moment_is_still_found() -> None:
    async def scenario(mind: Mind) -> None:
        moments: list[tuple[Seq, str]] = []
        for town in ("Bern", "Basel", "Biel", "Baden"):
            done = await mind.write(f"Ann lives in {town}", key="address")
            moments.append((done.facts.seq, f"Ann lives in {town}"))
        await mind.forget(done.written[0].memory)
        assert await mind.texts("Ann lives") == []
        for seq, text in moments:
            assert await mind.texts("Ann lives", as_of=seq) == [text]
            assert await mind.texts("Ann lives", as_of=seq, mode="dense") == [text]

    story(scenario)


def test_a_fact_that_began_later_leaves_the_old_one_true_until_then() -> None:
    async def scenario(mind: Mind) -> None:
        now = mind.kernel.clock.wall_ns()
        await mind.remember("the rate is 3 %", key="rate")
        await mind.remember("the rate is 4 %", key="rate", valid_from_ns=now + HOUR_NS)
        assert await mind.texts("rate") == ["the rate is 3 %"]
        assert await mind.texts("rate", valid_at_ns=now + 2 * HOUR_NS) == ["the rate is 4 %"]
        await mind.remember(
            "the rate was 9 % for a while",
            key="rate",
            valid_from_ns=now - 3 * HOUR_NS,
            valid_to_ns=now - 2 * HOUR_NS,
        )
        found = [
            await mind.texts("rate", valid_at_ns=now + hours * HOUR_NS) for hours in (-4, -2.5, -1)
        ]
        assert found == [["the rate is 3 %"], ["the rate was 9 % for a while"], ["the rate is 3 %"]]

    story(scenario)


def test_an_expired_memory_is_not_recalled_although_nobody_has_swept() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("the code is 4711", ttl_s=60.0)
        assert await mind.texts("code") == ["the code is 4711"]
        await mind.kernel.clock.sleep(61.0)
        assert await mind.texts("code") == []
        assert await mind.texts("code", mode="dense") == []

    story(scenario)


def test_who_knows_another_version_is_refused_and_nothing_changes() -> None:
    async def scenario(mind: Mind) -> None:
        memory = await mind.remember("one")
        await mind.remember("two", memory=memory, expected=1)
        with pytest.raises(Conflict, match="version 2 is current"):
            await mind.remember("three", memory=memory, expected=1)
        with pytest.raises(Conflict):
            await mind.do(
                Remember(
                    items=(
                        Item(text="new"),
                        Item(text="three", memory=memory, expected=1),
                    )
                )
            )
        assert sorted(await mind.texts()) == ["two"]
        with pytest.raises(Conflict):
            await mind.forget(memory, version=1)
        with pytest.raises(Conflict, match="no current"):
            await mind.remember("x", key="new key", expected=3)

    story(scenario)


def test_of_writers_at_the_same_time_exactly_one_wins_each_version() -> None:
    async def scenario(mind: Mind) -> None:
        others = [await another(mind, f"writer-{number}") for number in range(4)]
        memory = await mind.remember("0", "common/count")
        won = 0

        async def count(writer: Mind) -> None:
            nonlocal won
            while True:
                known = (await writer.recall(memory=memory)).memories[0]
                if int(known.text) == 20:
                    return
                try:
                    await writer.remember(
                        str(int(known.text) + 1),
                        "common/count",
                        memory=memory,
                        expected=known.version,
                    )
                    won += 1
                except Conflict:
                    continue

        await asyncio.gather(*(count(writer) for writer in others))
        assert won == 20
        assert (await mind.recall(memory=memory)).memories[0].version == 21

    story(scenario)


def test_a_blind_overwrite_of_another_process_is_visible() -> None:
    async def scenario(mind: Mind) -> None:
        other = await another(mind, "other")
        await mind.remember("red", "common", key="colour")
        done = await other.write("blue", "common", key="colour")
        assert done.written[0].blind
        assert (await mind.recall(key="colour", namespaces=("common",))).memories[0].blind
        known = await other.write("green", "common", key="colour", expected=2)
        assert not known.written[0].blind

    story(scenario)


def test_an_agent_sees_that_what_it_holds_is_stale() -> None:
    async def scenario(mind: Mind) -> None:
        price = await mind.remember("it costs 10")
        stock = await mind.remember("7 are left")
        await mind.remember("it costs 12", memory=price)
        holding = (Target(price, 1), Target(stock, 1))
        found = await mind.recall(holding=holding)
        assert [memory.text for memory in found.stale] == ["it costs 12"]
        await mind.forget(stock)
        found = await mind.recall(holding=holding)
        assert {memory.text: memory.state for memory in found.stale} == {
            "it costs 12": "current",
            "7 are left": "forgotten",
        }

    story(scenario)


def test_a_sealed_memory_can_not_be_superseded_nor_forgotten() -> None:
    async def scenario(mind: Mind) -> None:
        memory = await mind.remember("the contract was signed", sealed=True)
        with pytest.raises(Conflict, match="sealed"):
            await mind.remember("it was not", memory=memory)
        with pytest.raises(Conflict, match="sealed"):
            await mind.forget(memory)

    story(scenario)


def test_an_agents_own_memories_are_nobody_elses_until_it_is_shared() -> None:
    async def scenario(mind: Mind) -> None:
        other = await another(mind, "spy")
        memory = await mind.remember("my secret")
        for call in (
            Recall(query="secret", namespaces=("agents/clerk",)),
            Recall(memory=memory),
            Recall(holding=(Target(memory, 1),)),
            Forget(targets=(Target(memory),)),
            Remember(items=(Item(text="x"),), namespace="agents/clerk"),
        ):
            with pytest.raises(Denied):
                await other.do(call)
        assert await other.texts("secret") == []
        assert await other.texts("secret", namespaces=("*",)) == []
        share = MemoryShared(namespace="agents/clerk", whom="agent:spy", access=("read",))
        mind.kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, share)
        assert await other.texts("secret", namespaces=("agents/*",)) == ["my secret"]
        with pytest.raises(Denied):
            await other.forget(memory)

    story(scenario)


def test_rights_hold_on_top_of_whose_it_is() -> None:
    async def scenario(mind: Mind) -> None:
        memory = await mind.remember("open to all", "common/board")

        async def allowed(*rights: str) -> Mind:
            return Mind(mind.kernel, await program(mind.kernel, name="bound", allow=rights))

        nothing = await allowed("model")
        for call in (
            Recall(query="open"),
            Recall(memory=memory),
            Recall(query="open", namespaces=("common/board",)),
            Remember(items=(Item(text="x"),)),
        ):
            with pytest.raises(Denied):
                await nothing.do(call)
        assert await nothing.texts("open", namespaces=("common/*",)) == []
        reader = await allowed("memory:common/*:read")
        assert await reader.texts("open", namespaces=("common/*",)) == ["open to all"]
        assert await reader.texts(memory=memory) == ["open to all"]
        with pytest.raises(Denied):
            await reader.remember("x", "common/board")
        with pytest.raises(Denied):
            await reader.forget(memory)

    story(scenario)


def test_a_sessions_memory_is_one_processs() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("step 3 is next", "session")
        found = await mind.recall("step", namespaces=("session",))
        assert [memory.text for memory in found.memories] == ["step 3 is next"]
        assert found.tier.startswith("session")
        twin = await another(mind, "clerk")
        assert await twin.texts("step", namespaces=("session",)) == []

    story(scenario)


def test_a_case_begun_in_chat_and_continued_by_mail_is_one_history() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("wants a refund", subjects=("chat:77",))
        await mind.remember("sent the invoice", subjects=("mail:ann@example.com",))
        await mind.remember("someone else's", subjects=("mail:bob@example.com",))
        assert await mind.texts(subject="chat:77") == ["wants a refund"]
        both = await mind.write("it is Ann", subjects=("mail:ann@example.com", "chat:77"))
        for known in ("chat:77", "mail:ann@example.com"):
            found = await mind.texts(subject=known)
            assert sorted(found) == ["it is Ann", "sent the invoice", "wants a refund"]
        before = Seq(both.facts.seq - 3)
        assert await mind.texts(subject="chat:77", as_of=before) == ["wants a refund"]
        split = SubjectsLinked(subject="chat:77", identifiers=("chat:77",))
        mind.kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, split)
        await mind.kernel.journal.flush()
        assert await mind.texts(subject="chat:77") == ["wants a refund"]

    story(scenario)


def test_a_new_version_that_names_nobody_stays_whose_it_was() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("Ann lives in Bern", key="home", subjects=("mail:ann@example.com",))
        await mind.remember("Ann lives in Basel", key="home")
        assert await mind.texts(subject="mail:ann@example.com") == ["Ann lives in Basel"]
        await mind.remember("Bob lives in Basel", key="home", subjects=("mail:bob@example.com",))
        assert await mind.texts(subject="mail:ann@example.com") == []
        assert await mind.texts(subject="mail:bob@example.com") == ["Bob lives in Basel"]

    story(scenario)


def test_what_was_known_at_an_event_that_is_still_to_come_nobody_can_tell() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("Ann lives in Bern")
        newest = mind.kernel.journal.head_seq
        assert await mind.texts("Ann", as_of=newest) == ["Ann lives in Bern"]
        with pytest.raises(BadCall, match="as_of: from 0 to"):
            await mind.recall("Ann", as_of=Seq(newest + 1_000))

    story(scenario)


def test_a_kinds_schema_is_held_and_its_version_is_in_the_record() -> None:
    async def scenario(mind: Mind) -> None:
        schema: dict[str, object] = {"type": "object", "required": ["amount"]}
        kind = MemoryKindSet(memory_kind="payment", version=1, schema=schema)
        mind.kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, kind)
        with pytest.raises(BadCall, match="amount"):
            await mind.remember("paid", kind="payment")
        await mind.remember("paid 3", kind="payment", attributes={"amount": 3})
        found = await mind.recall(kinds=("payment",), attributes={"amount": 3})
        assert [memory.schema for memory in found.memories] == [1]
        assert await mind.texts(attributes={"amount": 4}) == []

    story(scenario)


@pytest.mark.parametrize(
    "call",
    [
        Remember(),
        Remember(items=(Item(text=" "),)),
        Remember(items=(Item(text="x", confidence=1.5),)),
        Remember(items=(Item(text="x", ttl_s=0.0),)),
        Remember(items=(Item(text="x", valid_from_ns=5, valid_to_ns=5),)),  # type: ignore[arg-type]
        Remember(items=(Item(text="x", vector=(1.0,)),)),
        Remember(items=(Item(text="x", vector=(0.0, 0.0), vector_model="fake-embed"),)),
        Remember(items=(Item(text="x", vector=(1.0, 0.0), vector_model="fake-embed"),)),
        Remember(items=(Item(text="x", vector=(1.0,) * 16, vector_model="another"),)),
        Remember(items=(Item(text="x"),), namespace="a//b"),
        Remember(items=(Item(text="x"),), namespace="../b"),
        Recall(limit=0),
        Recall(query="x", namespaces=("a*",)),
        Recall(query="x", attributes={'a"b': 1}),
        Recall(query="x", vector=(1.0,) * 3, vector_model="fake-embed"),
        Forget(),
    ],
)
def test_a_wrong_call_is_refused_by_name(call: Call) -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("something with a vector of 16 numbers")
        with pytest.raises(BadCall):
            await result(syscall.enter(mind.kernel, mind.process, call))

    story(scenario)


def test_an_unknown_memory_is_not_found() -> None:
    async def scenario(mind: Mind) -> None:
        unknown = MemoryId("mem_01h455vb4pex5vsknk084sn02q")
        for call in (
            Recall(memory=unknown),
            Forget(targets=(Target(unknown),)),
            Forget(keys=("nothing",)),
            Remember(items=(Item(text="x", memory=unknown),)),
        ):
            with pytest.raises(NotFound):
                await mind.do(call)

    story(scenario)


def test_without_a_model_words_are_searched_and_the_reply_says_so() -> None:
    async def scenario(mind: Mind) -> None:
        mind.kernel.registry.learn(next(iter(mind.kernel.registry.engines)), ())
        done = await mind.write("the printer is on the second floor")
        assert not done.embedded_by and "no model" in done.note
        found = await mind.recall("printer")
        assert [memory.text for memory in found.memories] == ["the printer is on the second floor"]
        assert "words" in found.searched and "dense" not in found.searched and found.note

    story(scenario)


def test_what_is_in_the_journal_makes_the_same_rows_again() -> None:
    async def scenario(mind: Mind) -> None:
        for number in range(30):
            await mind.remember(f"fact {number} of {number % 7}", key=f"k{number % 7}")
        rows = await mind.memories.read(_rows)
        await mind.memories.projection.rebuild()
        assert await mind.memories.read(_rows) == rows
        assert len(await mind.texts("fact")) == 7

    story(scenario)


def _rows(connection: object) -> list[tuple[object, ...]]:
    found = connection.execute("SELECT * FROM version ORDER BY id")  # type: ignore[attr-defined]
    return list(found)


def test_a_resumed_process_is_told_what_it_was_told() -> None:
    """Also where what it recalled was superseded since; and it embeds nothing a second time."""

    async def work(mind: Mind) -> Recalled:
        await mind.remember("the price is 10", key="price")
        told = await mind.recall("price")
        await mind.remember("the price is 12", key="price")
        return told

    async def scenario(mind: Mind) -> None:
        first = await work(mind)
        lifecycle.interrupt(mind.kernel, mind.process, "to be resumed")
        await lifecycle.begin(mind.kernel, mind.process, "resume")
        again = await work(mind)
        assert again.memories == first.memories
        assert again.facts.replayed and mind.process.row.caught_up
        await mind.kernel.journal.flush()
        stored = await mind.kernel.journal.read(Seq(1))
        events = [codec.decode(item) for item in stored]
        nested = [event for event in events if isinstance(event, CallEntered) and event.within]
        assert len(nested) == 3

    story(scenario)


def test_the_intent_holds_none_of_the_text() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("SECRET-WORD")
        stored = await mind.kernel.journal.read(Seq(1))
        holding = [item.header.kind for item in stored if b"SECRET-WORD" in (item.body or b"")]
        assert holding == ["memory.written"]
        assert all(codec.decode(item) is not None for item in stored)

    story(scenario)


def test_a_kernel_that_was_killed_has_every_memory_that_was_told() -> None:
    async def whole() -> None:
        computer = MemoryComputer()
        kernel = await computer.boot()
        mind = Mind(kernel, await program(kernel, name="clerk"))
        told = [f"fact {number}" for number in range(10)]
        for text in told:
            await mind.remember(text)
        await computer.crash(kernel)
        again = await computer.boot()
        mind = Mind(again, await program(again, name="clerk"))
        assert sorted(await mind.texts("fact", limit=50)) == sorted(told)
        await computer.close(again)

    simulate(1, whole())
