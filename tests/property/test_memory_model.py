"""Any writes in any order: the rows are what a plain model says, live and made again."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as some
from memory_kernel import MemoryComputer, Mind
from simulation_loop import simulate
from small_kernel import program

from orlop.abi.errors import Conflict
from orlop.abi.ids import Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.memory import Item, MemoryId, Remember, Version
from orlop.abi.memory_orders import RollbackOrder
from orlop.kernel import memory_orders
from orlop.memory import revision
from orlop.memory.heads import Head, Place
from orlop.memory.residency import Residency

PLACE = "common/model"
KEYS = ("a", "b", "c")
TENANT = TenantId("default")


@dataclass
class Model:
    """What is current by key, and what was at each moment."""

    now: dict[str, str] = field(default_factory=dict)
    moments: list[tuple[Seq, dict[str, str]]] = field(default_factory=list)


STEPS = some.lists(
    some.one_of(
        some.tuples(some.just("write"), some.sampled_from(KEYS), some.integers(0, 99)),
        some.tuples(some.just("forget"), some.sampled_from(KEYS), some.just(0)),
        some.tuples(some.just("back"), some.just("a"), some.integers(0, 20)),
        some.tuples(some.just("stale"), some.sampled_from(KEYS), some.integers(0, 99)),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_the_rows_are_what_a_plain_model_says_at_every_moment(
    steps: list[tuple[str, str, int]],
) -> None:
    async def whole() -> None:
        computer = MemoryComputer()
        kernel = await computer.boot()
        mind, model = Mind(kernel, await program(kernel, name="writer")), Model()
        for what, key, number in steps:
            await _step(mind, model, what, key, number)
            model.moments.append((Seq(kernel.journal.head_seq), dict(model.now)))
        await _agree(mind, model)
        await mind.memories.projection.rebuild()
        await _agree(mind, model)
        await computer.close(kernel)

    simulate(1, whole())


async def _step(mind: Mind, model: Model, what: str, key: str, number: int) -> None:
    match what:
        case "write":
            await mind.remember(f"{key} {number}", PLACE, key=key)
            model.now[key] = f"{key} {number}"
        case "forget":
            found = (await mind.recall(key=key, namespaces=(PLACE,))).memories
            assert bool(found) == (key in model.now)
            if found:
                await mind.forget(found[0].memory)
                del model.now[key]
        case "back" if model.moments:
            seq, then = model.moments[number % len(model.moments)]
            order = RollbackOrder(namespace=PLACE, seq=seq)
            if any(known for _, known in model.moments) or model.now:
                await memory_orders.rollback(mind.kernel, order)
            model.now = dict(then)
        case "stale":
            try:
                await mind.remember(f"{key} never", PLACE, key=key, expected=1_000 + number)
            except Conflict:
                return
            raise AssertionError("nobody can know that version")


async def _agree(mind: Mind, model: Model) -> None:
    assert await _texts(mind, None) == sorted(model.now.values())
    for seq, then in model.moments:
        assert await _texts(mind, seq) == sorted(then.values())


async def _texts(mind: Mind, as_of: Seq | None) -> list[str]:
    found = await mind.recall("", namespaces=(PLACE,), limit=100, as_of=as_of)
    return sorted(memory.text for memory in found.memories)


@settings(max_examples=15, deadline=None)
@given(some.integers(0, 10_000), some.integers(2, 5))
def test_writers_that_stream_at_the_same_time_converge(seed: int, writers: int) -> None:
    """Whatever comes between what: one value a key holds in the end, each version has one
    predecessor, and nobody's write is missing from the history."""

    async def whole() -> None:
        computer = MemoryComputer()
        kernel = await computer.boot()
        minds = [Mind(kernel, await program(kernel, name=f"w{n}")) for n in range(writers)]
        wrote: list[str] = []

        async def write(number: int) -> None:
            for turn in range(6):
                text = f"w{number} turn {turn}"
                items = (Item(text=text, key="shared"), Item(text=text, key=f"own {number}"))
                await minds[number].do(Remember(items=items, namespace=PLACE))
                wrote.append(text)

        await asyncio.gather(*(write(number) for number in range(writers)))
        seen = [await _current(mind) for mind in minds]
        assert all(one == seen[0] for one in seen)
        assert len(seen[0]) == writers + 1
        memory = (await minds[0].recall(key="shared", namespaces=(PLACE,))).memories[0]
        past = await minds[0].memories.read(_history, memory.memory)
        assert [version for version, _, _ in past] == list(range(1, 6 * writers + 1))
        assert sorted(text for _, text, _ in past) == sorted(wrote)
        ends = [known_to for _, _, known_to in past]
        assert ends.count(None) == 1 and len(set(ends)) == len(ends)
        await computer.close(kernel)

    simulate(seed, whole())


async def _current(mind: Mind) -> list[tuple[str, str, int]]:
    found = await mind.recall("", namespaces=(PLACE,), limit=100)
    return sorted((one.key, one.text, one.version) for one in found.memories)


def _history(connection: object, memory: str) -> list[tuple[int, str, int | None]]:
    rows = connection.execute(  # type: ignore[attr-defined]
        "SELECT version, text, known_to FROM version WHERE memory = ? ORDER BY version", (memory,)
    )
    return list(rows)


SPANS = some.lists(some.tuples(some.integers(0, 30), some.integers(1, 30)), min_size=1, max_size=12)


@given(SPANS)
def test_open_versions_never_overlap_and_the_last_write_holds_where_it_is_valid(
    spans: list[tuple[int, int]],
) -> None:
    place: Place | None = None
    truth: dict[int, int] = {}
    number_of: dict[int, int] = {}
    for number, (start, length) in enumerate(spans):
        record = Version(
            memory=MemoryId("mem_x"),
            version=0,
            text=str(number),
            valid_from_ns=Nanoseconds(start),
            valid_to_ns=Nanoseconds(start + length),
        )
        change = revision.revise(place, record, ProcessId("p"), is_known=True, how="superseded")
        for opened in change.opens:
            number_of[opened.version] = number_of.get(opened.copy_of, number)
        place = revision.after(place, change, ProcessId("p"), (TENANT, PLACE))
        truth |= dict.fromkeys(range(start, start + length), number)
    assert place is not None
    for moment in range(70):
        open_now = [head for head in place.heads if _covers(head, moment)]
        assert len(open_now) <= 1
        found = number_of[open_now[0].version] if open_now else None
        assert found == truth.get(moment)


def _covers(head: Head, moment: int) -> bool:
    return head.valid_from_ns <= moment < head.valid_to_ns


@given(
    some.lists(
        some.tuples(some.sampled_from("ab"), some.integers(0, 9), some.integers(1, 60)),
        max_size=80,
    )
)
def test_no_tenant_holds_more_than_its_budget_nor_drives_out_anothers(
    uses: list[tuple[str, int, int]],
) -> None:
    shelf = Residency[int](100, frozenset({"pinned"}))
    for tenant, number, size in uses:
        owner = TenantId(tenant)
        others = {key for key in shelf.held if key[0] != owner}
        name = "pinned\nmodel" if number == 0 else f"n{number}\nmodel"
        if shelf.get(owner, name) is None:
            shelf.put(owner, name, number, size)
        shelf.check()
        assert {key for key in shelf.held if key[0] != owner} == others


def test_what_is_used_every_day_is_not_driven_out_by_one_scan() -> None:
    shelf = Residency[int](100)
    daily = [f"daily {number}" for number in range(5)]
    for _ in range(3):
        for name in daily:
            if shelf.get(TENANT, name) is None:
                shelf.put(TENANT, name, 0, 15)
    for number in range(50):
        name = f"scan {number}"
        if shelf.get(TENANT, name) is None:
            shelf.put(TENANT, name, 0, 15)
    assert all(shelf.get(TENANT, name) is not None for name in daily)
    assert shelf.books[TENANT].hits and shelf.books[TENANT].evictions
