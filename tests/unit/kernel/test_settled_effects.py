"""Tools that act: whether an effect may have happened."""

import asyncio
from collections.abc import Mapping

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import Effect, ToolCard
from orlop.abi.errors import EffectUnknown, Killed
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.state.process import Process


class Slow:
    """A tool that takes ten seconds, one call at a time."""

    def __init__(self, effect: Effect) -> None:
        self.card = ToolCard(name="slow", effect=effect, concurrency=1)
        self.keys: list[str] = []

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.keys.append(key)
        await asyncio.sleep(10)
        return arguments["order"]

    async def happened(self, key: str) -> bool | None:
        return key in self.keys


async def lost(kernel: Kernel, process: Process, order: str, after_s: float) -> None:
    """Call the tool, and be killed while it waits or works."""
    running = syscall.enter(kernel, process, CallTool(tool="slow", arguments={"order": order}))
    await asyncio.sleep(after_s)
    running.cancel(Killed("for the test"))
    await running.ended.wait()


def test_a_call_that_was_killed_in_the_queue_has_done_nothing_and_may_be_made_again() -> None:
    tool = Slow("irreversible")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        first = syscall.enter(kernel, process, CallTool(tool="slow", arguments={"order": "1"}))
        await asyncio.sleep(1)
        await lost(kernel, process, "2", after_s=1)
        await result(first)
        await result(
            syscall.enter(kernel, process, CallTool(tool="slow", arguments={"order": "2"}))
        )
        assert len(tool.keys) == 2

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_call_that_was_killed_while_its_tool_worked_is_not_made_again_unseen() -> None:
    tool = Slow("irreversible")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await lost(kernel, process, "1", after_s=5)
        for _ in range(2):
            call = CallTool(tool="slow", arguments={"order": "1"})
            with pytest.raises(EffectUnknown):
                await result(syscall.enter(kernel, process, call))
        assert len(tool.keys) == 1

    on(lambda: Computer(tools=[tool]), scenario)
