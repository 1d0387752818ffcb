"""A write of small files is one row in the journal, and three events to whoever reads it."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from file_kernel import Desk, FileComputer
from small_kernel import Computer, on, program

from orlop.abi.errors import Conflict
from orlop.abi.files import FileWrite, WriteFiles
from orlop.abi.ids import Seq
from orlop.abi.kernels import PruneOrder
from orlop.kernel import retention
from orlop.state.core import Kernel
from orlop.store import whole
from orlop.store.journal import Stored

Scenario = Callable[[Desk], Coroutine[object, object, None]]


def at_a_desk(scenario: Scenario) -> None:
    async def run(_: Computer, kernel: Kernel) -> None:
        desk = Desk(kernel, await program(kernel, name="ann"))
        await scenario(desk)
        await desk.check()

    on(FileComputer, run)


async def newest(desk: Desk, count: int) -> list[Stored]:
    journal = desk.kernel.journal
    await journal.flush()
    return await journal.read(Seq(journal.head_seq - count + 1))


def test_a_write_takes_one_number_and_is_read_as_what_it_was() -> None:
    async def scenario(desk: Desk) -> None:
        journal, head = desk.kernel.journal, desk.kernel.journal.head_seq
        done = await desk.changed(WriteFiles(files=(FileWrite(path="a", data=b"lime"),)))
        assert journal.head_seq == head + 1 == done.at == done.facts.seq
        events = await newest(desk, 1)
        assert tuple(one.header.kind for one in events) == whole.HELD
        assert {one.header.seq for one in events} == {head + 1}
        assert [one.header.cause for one in events] == [None, head + 1, head + 1]
        assert [one.header.args_digest is None for one in events] == [False, True, True]
        call = events[0].header.call
        assert call is not None and await journal.of_call(call) == events
        process = desk.process.id
        (outcome,) = await journal.of_process(process, kinds=("call.returned",))
        assert outcome == events[2]
        (change,) = await journal.newest("file.changed", 5)
        assert change == events[1]
        assert await desk.read("a") == "lime"

    at_a_desk(scenario)


def test_a_write_that_is_refused_has_its_intent_and_its_failure_and_changes_nothing() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("a", "one")
        with pytest.raises(Conflict):
            await desk.write("a", "two", if_version=7)
        entered, failed = await newest(desk, 2)
        assert (entered.header.kind, failed.header.kind) == ("call.entered", "call.failed")
        assert failed.header.cause == entered.header.seq
        assert await desk.write("a", "two", if_version=1) == 2

    at_a_desk(scenario)


def test_writes_at_once_make_a_version_each() -> None:
    async def scenario(desk: Desk) -> None:
        made = await asyncio.gather(*(desk.write("a", f"{turn}", append=True) for turn in range(5)))
        assert sorted(made) == [1, 2, 3, 4, 5]
        assert sorted(await desk.read("a")) == ["0", "1", "2", "3", "4"]

    at_a_desk(scenario)


def test_retention_keeps_what_a_write_has_changed() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.write("a", "lime")
        before = await newest(desk, 1)
        await desk.kernel.journal.flush()
        await retention.prune(desk.kernel, PruneOrder(older_s=0.0))
        assert await desk.kernel.journal.read(before[0].header.seq, before[0].header.seq) == before
        assert await desk.read("a") == "lime"

    at_a_desk(scenario)
