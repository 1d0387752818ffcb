"""Processes with long pasts: they are told page by page, and what would not fit is refused."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from scripted_kernel import Said, scripted_kernel
from small_kernel import Computer, ask, on, program, result

from orlop.abi.admin import Trace
from orlop.abi.calls import Spawn
from orlop.abi.errors import Conflict, DeadlineMissed
from orlop.abi.hints import Hints
from orlop.abi.replies import Spawned
from orlop.devices.fake import FakeConfig
from orlop.kernel import operator, syscall
from orlop.sdk import operator as sdk
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import history, lifecycle

SLOW = FakeConfig(decode_s=0.1, tokens=10)


async def busy(kernel: Kernel) -> Process:
    """Calls one after another and at once, one that fails, and a child with calls of its own."""
    process = await program(kernel)
    for number in range(5):
        await result(syscall.enter(kernel, process, ask(f"{number}")))
    late = syscall.enter(kernel, process, ask("late", hints=Hints(deadline_s=0.3)))
    at_once = [syscall.enter(kernel, process, ask(f"at once {n}")) for n in range(7)]
    await asyncio.gather(*(result(call) for call in at_once))
    with pytest.raises(DeadlineMissed):
        await result(late)
    done = await result(syscall.enter(kernel, process, Spawn(command=("agent",))))
    assert isinstance(done, Spawned)
    child = kernel.get(done.process)
    while child.row.incarnation == 0:
        await child.changed.wait()
    for number in range(4):
        await result(syscall.enter(kernel, child, ask(f"child {number}")))
    return process


async def stitched(kernel: Kernel, process: Process, most: int) -> Trace:
    """As the SDK does it."""

    async def whole(found: Trace) -> Trace:
        calls, rest = list(found.calls), found.rest
        row = kernel.get(found.process.id).row
        while rest is not None:
            more = await operator.trace_on(kernel, row, rest, most)
            assert 0 < len(more.calls) <= most
            calls += more.calls
            rest = more.rest
        children = tuple([await whole(child) for child in found.children])
        return msgspec.structs.replace(found, calls=tuple(calls), children=children, rest=None)

    first = await operator.trace(kernel, process.row, most)
    told = len(first.calls) + sum(len(child.calls) for child in first.children)
    assert told <= most
    return await whole(first)


def test_pages_of_a_trace_are_together_what_the_whole_is() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await busy(kernel)
        whole = await operator.trace(kernel, process.row)
        assert (len(whole.calls), len(whole.children[0].calls)) == (14, 4)
        assert {call.status for call in whole.calls} == {"ok", DeadlineMissed.code}
        for most in range(1, 20):
            assert await stitched(kernel, process, most) == whole, most

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_a_record_that_would_not_fit_into_ram_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await busy(kernel)
        await lifecycle.signal(kernel, process, "kill", "for the test")
        await lifecycle.ended(kernel, process)
        monkeypatch.setattr(history, "RECORD_CALLS_MAX", 13)
        with pytest.raises(Conflict, match="has made 14 calls; after more than 13"):
            await lifecycle.start(kernel, process, "resume")
        assert process.row.incarnation == 1
        monkeypatch.setattr(history, "RECORD_CALLS_MAX", 14)
        await lifecycle.start(kernel, process, "resume")
        assert process.row.incarnation == 2

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_the_sdk_asks_on_until_it_has_all(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> tuple[Trace, Trace, Trace]:
        process = await busy(kernel)
        first = await operator.trace(kernel, process.row, 9)
        assert first.rest is not None
        second = await operator.trace_on(kernel, process.row, first.rest, 9)
        (child,) = first.children
        assert not child.calls and child.rest is not None
        row = kernel.get(child.process.id).row
        third = await operator.trace_on(kernel, row, child.rest, 9)
        assert second.rest is None and third.rest is None
        return first, second, third

    first, second, third = on(lambda: Computer(engine_config=SLOW), scenario)
    with scripted_kernel(tmp_path) as kernel:
        of = "GET /orlop/v1/processes"
        kernel.says(f"{of}/busy/trace", Said(msgspec.to_builtins(first)))
        kernel.says(f"{of}/{first.process.id}/trace", Said(msgspec.to_builtins(second)))
        kernel.says(f"{of}/{third.process.id}/trace", Said(msgspec.to_builtins(third)))
        found = sdk.operator(home=tmp_path).trace("busy")
        assert [heard.path for heard in kernel.heard][1].endswith(f"?after={first.rest}")
    assert found.calls == (*first.calls, *second.calls) and found.rest is None
    assert found.children[0].calls == third.calls
