"""What operators do to memories: rollback, diff, why, subjects, erasure, another model."""

from collections.abc import Callable, Coroutine

import msgspec
import pytest
from memory_kernel import MemoryComputer, Mind
from simulation_loop import simulate
from small_kernel import Computer, ask, on, program, result

from orlop.abi.errors import BadCall, Conflict, NotFound
from orlop.abi.ids import Seq
from orlop.abi.memory import Item, Remember
from orlop.abi.memory_orders import (
    EraseOrder,
    KindOrder,
    RollbackOrder,
    ShareOrder,
    SubjectOrder,
)
from orlop.devices.fake import FakeConfig
from orlop.kernel import (
    memory_erasure,
    memory_evidence,
    memory_jobs,
    memory_orders,
    memory_views,
    syscall,
)
from orlop.machine.offload import InlineOffload
from orlop.state.core import Kernel
from orlop.store.audit import Audit
from orlop.wire.canonical import canonical

Scenario = Callable[[Mind], Coroutine[object, object, None]]
PLACE = "common/desk"


def story(scenario: Scenario, **how: object) -> None:
    async def told(computer: Computer, kernel: Kernel) -> None:
        await scenario(Mind(kernel, await program(kernel, name="clerk")))

    on(lambda: MemoryComputer(**how), told)  # type: ignore[arg-type]


async def desk(mind: Mind, **how: object) -> list[str]:
    return sorted(await mind.texts("", namespaces=(PLACE,), limit=100, **how))


def test_a_rollback_brings_back_what_was_known_and_loses_nothing() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("red", PLACE, key="colour")
        gone = await mind.remember("to be forgotten", PLACE)
        done = await mind.write("tall", PLACE, key="size")
        then, moment = await desk(mind), done.facts.seq
        await mind.remember("blue", PLACE, key="colour")
        await mind.forget(gone)
        await mind.remember("new", PLACE)
        later, after = await desk(mind), mind.kernel.journal.head_seq
        order = RollbackOrder(namespace=PLACE, seq=moment)
        written = await memory_orders.rollback(mind.kernel, order)
        assert len(written) == 3
        assert await desk(mind) == then
        assert await desk(mind, as_of=after) == later
        back = RollbackOrder(namespace=PLACE, seq=Seq(after))
        await memory_orders.rollback(mind.kernel, back)
        assert await desk(mind) == later
        await memory_orders.rollback(mind.kernel, back)
        assert await desk(mind) == later

    story(scenario)


def test_a_namespace_that_is_misspelt_is_told_of_and_not_taken_for_an_unchanged_one() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("red", PLACE)
        for wrong in ("common/des", "common/desks"):
            with pytest.raises(NotFound, match=f"there are: {PLACE}"):
                await memory_orders.rollback(
                    mind.kernel, RollbackOrder(namespace=wrong, seq=Seq(1))
                )
            with pytest.raises(NotFound, match=f"there are: {PLACE}"):
                await memory_views.diff(mind.kernel, wrong, Seq(1), None)

    story(scenario)


def test_a_difference_with_what_is_still_to_come_is_refused() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("red", PLACE)
        later = Seq(mind.kernel.journal.head_seq + 100)
        for before, after in ((Seq(1), later), (later, None)):
            with pytest.raises(BadCall, match="the newest event"):
                await memory_views.diff(mind.kernel, PLACE, before, after)

    story(scenario)


def test_what_is_rolled_back_is_found_by_meaning_too() -> None:
    async def scenario(mind: Mind) -> None:
        done = await mind.write("apples are red", PLACE, key="colour")
        await mind.remember("nothing like it at all", PLACE, key="colour")
        order = RollbackOrder(namespace=PLACE, seq=done.facts.seq)
        await memory_orders.rollback(mind.kernel, order)
        found = await mind.texts("apples are red", namespaces=(PLACE,), mode="dense")
        assert found == ["apples are red"]

    story(scenario)


def test_a_sealed_memory_keeps_its_namespace_from_being_rolled_back() -> None:
    async def scenario(mind: Mind) -> None:
        done = await mind.write("before", PLACE)
        await mind.remember("sealed since", PLACE, sealed=True)
        with pytest.raises(Conflict):
            order = RollbackOrder(namespace=PLACE, seq=done.facts.seq)
            await memory_orders.rollback(mind.kernel, order)
        assert len(await desk(mind)) == 2
        with pytest.raises(BadCall):
            future = RollbackOrder(namespace=PLACE, seq=Seq(10**9))
            await memory_orders.rollback(mind.kernel, future)

    story(scenario)


def test_a_difference_names_what_changed_between_two_moments() -> None:
    async def scenario(mind: Mind) -> None:
        first = await mind.write("red", PLACE, key="colour")
        await mind.write("stays", PLACE)
        await mind.write("blue", PLACE, key="colour")
        last = await mind.write("new", PLACE)
        found = await memory_views.diff(mind.kernel, PLACE, first.facts.seq, last.facts.seq)
        said = {
            (one.before.text if one.before else "", one.after.text if one.after else "")
            for one in found
        }
        assert said == {("", "stays"), ("red", "blue"), ("", "new")}

    story(scenario)


def test_a_memorys_life_is_told_from_what_taught_it_to_what_used_it() -> None:
    async def scenario(mind: Mind) -> None:
        memory = await mind.remember("Ann drinks tea", sources=("mail:17",))
        recalled = await mind.recall("tea")
        running = syscall.enter(mind.kernel, mind.process, ask("what does Ann drink?"))
        answer = await result(running)
        why = await memory_evidence.why(mind.kernel, memory)
        assert [one.sources for one in why.history] == [("mail:17",)]
        assert [use.call for use in why.uses] == [recalled.facts.call]
        assert why.uses[0].then == (f"infer {answer.facts.call}",)
        rests_on = await memory_evidence.why(mind.kernel, answer.facts.call)
        assert [one.text for one in rests_on.history] == ["Ann drinks tea"]
        with pytest.raises(NotFound):
            await memory_evidence.why(mind.kernel, "mem_unknown")

    story(scenario)


def test_subjects_are_merged_and_split_and_the_past_keeps_them_apart() -> None:
    async def scenario(mind: Mind) -> None:
        await mind.remember("by chat", PLACE, subjects=("chat:1",))
        await mind.remember("by mail", PLACE, subjects=("mail:a",))
        before = mind.kernel.journal.head_seq
        merge = SubjectOrder(identifiers=("chat:1", "mail:a"))
        await memory_orders.subjects(mind.kernel, merge)
        assert await desk(mind, subject="mail:a") == ["by chat", "by mail"]
        assert await desk(mind, subject="mail:a", as_of=before) == ["by mail"]
        split = SubjectOrder(identifiers=("chat:1",), split=True, reason="two persons")
        await memory_orders.subjects(mind.kernel, split)
        assert await desk(mind, subject="mail:a") == ["by mail"]
        assert await desk(mind, subject="chat:1") == ["by chat"]
        with pytest.raises(BadCall):
            await memory_orders.subjects(mind.kernel, SubjectOrder(identifiers=("one",)))

    story(scenario)


def test_an_erased_subject_is_nowhere_and_everything_else_is_as_it_was() -> None:
    async def whole() -> None:
        computer = MemoryComputer()
        kernel = await computer.boot()
        mind = Mind(kernel, await program(kernel, name="clerk"))
        items = (
            Item(text="SECRET-ANN moved", subjects=("mail:ann", "chat:1")),
            Item(text="Bob moved", subjects=("mail:bob", "chat:2")),
            Item(text="the key is 7", key="k"),
        )
        await mind.do(Remember(items=items, namespace=PLACE))
        await mind.remember("the key is 8", PLACE, key="k")
        await mind.remember("SECRET-ANN called", PLACE, subjects=("chat:1",))
        for text in ("the key is 9", "the key is 10"):
            await mind.remember(text, PLACE, key="k")
        certificate = await memory_erasure.erase(kernel, EraseOrder(subject="chat:1"))
        assert certificate.versions == 2

        async def state(mind: Mind) -> list[object]:
            await mind.memories.projection.current()
            return [
                await desk(mind),
                await desk(mind, subject="chat:2"),
                await mind.texts("moved", namespaces=(PLACE,)),
                await mind.memories.read(_rows),
            ]

        assert (await desk(mind)) == ["Bob moved", "the key is 10"]
        known = await state(mind)
        assert b"SECRET-ANN" not in await _bodies(kernel)
        await mind.memories.projection.rebuild()
        assert await state(mind) == known
        digest = memory_erasure.subject_digest(kernel.journal.id, ("mail:ann", "chat:1"))
        assert certificate.subject_digest == digest
        said = msgspec.to_builtins(certificate)
        signature = bytes.fromhex(said.pop("signature"))
        assert computer.keyring.verifier.fits(signature, canonical(said))
        with pytest.raises(NotFound):
            await memory_erasure.erase(kernel, EraseOrder(subject="chat:1"))
        await computer.close(kernel)
        found = Audit(computer.tape, computer.keyring.verifier, True, None).run()
        assert not found.damage

    simulate(1, whole())


def _rows(connection: object) -> list[tuple[object, ...]]:
    found = connection.execute(  # type: ignore[attr-defined]
        "SELECT memory, version, key, text, subject, known_from, known_to, closed FROM version"
        " ORDER BY memory, version"
    )
    return list(found)


async def _bodies(kernel: Kernel) -> bytes:
    return b"".join([stored.body or b"" for stored in await kernel.journal.read(Seq(1))])


def test_another_model_takes_over_when_all_is_embedded_and_the_old_one_comes_back_at_once() -> None:
    config = FakeConfig(embed_models=("one", "two"))

    async def scenario(mind: Mind) -> None:
        for number in range(40):
            await mind.remember(f"fact {number}", PLACE)
        await mind.forget((await mind.recall("fact 3", namespaces=(PLACE,))).memories[0].memory)
        mind.kernel.tasks.start(memory_jobs.run(mind.kernel, InlineOffload()))

        async def searched_by(model: str) -> None:
            while (await memory_views.stats(mind.kernel)).model != model:
                await mind.kernel.clock.sleep(1.0)

        await searched_by("one")
        await memory_jobs.reembed(mind.kernel, "two")
        await searched_by("two")
        stats = await memory_views.stats(mind.kernel)
        assert stats.vectors == {"one": 40, "two": 40}
        found = await mind.recall("fact 7", namespaces=(PLACE,))
        assert "dense" in found.searched
        assert (await mind.write("later", PLACE)).embedded_by == "two"
        while (await memory_views.stats(mind.kernel)).vectors != {"one": 40, "two": 41}:
            await mind.kernel.clock.sleep(1.0)
        await memory_jobs.reembed(mind.kernel, "one")
        assert (await memory_views.stats(mind.kernel)).wanted == "one"
        await searched_by("one")
        await memory_jobs.reembed(mind.kernel, "two")
        assert (await memory_views.stats(mind.kernel)).model == "two"
        with pytest.raises(NotFound):
            await memory_jobs.reembed(mind.kernel, "three")

    story(scenario, engine_config=config)


def test_a_change_of_the_model_outlives_the_kernel_and_can_be_called_off() -> None:
    async def whole() -> None:
        computer = MemoryComputer(engine_config=FakeConfig(embed_models=("one", "two")))
        kernel = await computer.boot()
        mind = Mind(kernel, await program(kernel, name="clerk"))
        await mind.remember("a fact", PLACE)
        await memory_jobs.reembed(kernel, "two")
        for _ in range(2):  # From the events, then from a snapshot.
            await computer.close(kernel)
            kernel = await computer.boot()
            stats = await memory_views.stats(kernel)
            assert (stats.model, stats.wanted) == ("one", "two")
            kernel.snapshot()
        await memory_jobs.reembed(kernel, "one")
        stats = await memory_views.stats(kernel)
        assert (stats.model, stats.wanted) == ("one", "")
        await memory_jobs.reembed(kernel, "two")
        job = kernel.tasks.start(memory_jobs.run(kernel, InlineOffload()))
        while (await memory_views.stats(kernel)).model != "two":
            await kernel.clock.sleep(1.0)
        job.cancel()
        await computer.close(kernel)

    simulate(1, whole())


def test_what_was_written_without_a_model_is_embedded_when_one_is_there() -> None:
    async def scenario(mind: Mind) -> None:
        engine = next(iter(mind.kernel.registry.engines))
        await mind.remember("first")
        cards = mind.kernel.registry.cards()
        mind.kernel.registry.learn(engine, ())
        assert not (await mind.write("without a vector")).embedded_by
        mind.kernel.registry.learn(engine, cards)
        mind.kernel.tasks.start(memory_jobs.run(mind.kernel, InlineOffload()))
        while (await memory_views.stats(mind.kernel)).vectors != {"fake-embed": 2}:
            await mind.kernel.clock.sleep(1.0)
        assert "without a vector" in await mind.texts("without a vector", mode="dense")

    story(scenario)


def test_shares_and_kinds_survive_a_snapshot() -> None:
    async def whole() -> None:
        computer = MemoryComputer()
        kernel = await computer.boot()
        share = ShareOrder(namespace="agents/a", whom="team:x", access=("read",))
        await memory_orders.share(kernel, share)
        await memory_orders.set_kind(kernel, KindOrder(name="k", schema={"type": "object"}))
        again = await memory_orders.set_kind(kernel, KindOrder(name="k", schema={}))
        assert again.version == 2
        with pytest.raises(BadCall):
            await memory_orders.set_kind(kernel, KindOrder(name="k", schema={"type": 1}))
        with pytest.raises(BadCall):
            await memory_orders.share(kernel, changed_whom(share))
        kernel.snapshot()
        known = memory_orders.shares(kernel), memory_orders.kinds(kernel)
        await computer.close(kernel)
        kernel = await computer.boot()
        assert (memory_orders.shares(kernel), memory_orders.kinds(kernel)) == known
        closed = ShareOrder(namespace="agents/a", whom="team:x")
        assert await memory_orders.share(kernel, closed) == []
        await computer.close(kernel)

    simulate(1, whole())


def changed_whom(order: ShareOrder) -> ShareOrder:
    return msgspec.structs.replace(order, whom="everybody")


def test_a_namespace_is_exported_page_by_page() -> None:
    async def scenario(mind: Mind) -> None:
        for number in range(30):
            await mind.remember(f"fact {number}", PLACE, key=f"k{number % 10}")
        await mind.remember("elsewhere", "common/other")
        rows, after = await memory_views.page(mind.kernel, (PLACE,), 0, past=True)
        assert len(rows) == 30 and after == 0
        rows, _ = await memory_views.page(mind.kernel, ("common",), 0, past=False)
        assert len(rows) == 11

    story(scenario)
