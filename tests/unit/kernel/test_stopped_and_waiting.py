"""A process that was paused while a person thought makes its call only once it goes on."""

import asyncio
from collections.abc import Mapping

from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.questions import AnswerOrder
from orlop.kernel import syscall
from orlop.people import answering, asking
from orlop.state.core import Kernel
from orlop.subsystems import lifecycle


class Pay:
    card = ToolCard(name="pay", effect="idempotent", approval="always")

    def __init__(self) -> None:
        self.paid = 0

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.paid += 1
        return "paid"

    async def happened(self, key: str) -> bool | None:
        return None


def test_what_is_approved_while_its_process_is_paused_waits_for_it() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        running = syscall.enter(kernel, process, CallTool(tool="pay"))
        while not (rows := asking.listed(kernel, closed=False)):
            await kernel.clock.sleep(0.1)
        await lifecycle.signal(kernel, process, "stop", "for the test")
        await answering.answer(kernel, rows[0].id, AnswerOrder(verdict="approve"))
        await asyncio.sleep(60)
        assert tool.paid == 0
        await lifecycle.signal(kernel, process, "cont", "for the test")
        await result(running)
        assert tool.paid == 1

    on(lambda: Computer(tools=[tool]), scenario)
