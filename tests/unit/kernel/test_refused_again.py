"""Programs that went on after a refusal: it is in no record, and yet on their path."""

import asyncio
import re
from collections.abc import Mapping
from typing import Literal

import pytest
from msgspec.structs import replace
from small_kernel import Computer, ask, on, program, result

from orlop.abi.calls import Call, CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import Diverged, KernelError
from orlop.abi.ids import ModelName
from orlop.abi.policy import Files
from orlop.abi.questions import AnswerOrder
from orlop.access.policy import Policy
from orlop.access.policy_reading import read
from orlop.kernel import syscall
from orlop.people import answering, asking
from orlop.people.house import Desk
from orlop.people.rules import AutonomyConfig
from orlop.state.core import Kernel
from orlop.state.guard import opened
from orlop.state.process import Process
from orlop.subsystems import lifecycle

RULES = """
@id("all") permit(principal, action, resource);
@id("no-notes") forbid(principal, action, resource == Tool::"note");
"""
BEFORE, AFTER = ask("before"), ask("after")
FORBIDDEN = CallTool(tool="note", arguments={})
UNKNOWN = replace(BEFORE, model=ModelName("nobody"))
APPROVED = CallTool(tool="pay", arguments={})
OBSERVED = CallTool(tool="refund", arguments={})
WHO = ["rule", "model", "person", "level of autonomy"]


class Named:
    """A tool that people or rules are asked about."""

    def __init__(self, card: ToolCard) -> None:
        self.card = card
        self.called = 0

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.called += 1
        return "done"

    async def happened(self, key: str) -> bool | None:
        return None


def computer() -> Computer:
    return Computer(
        tools=[
            Named(ToolCard(name="note", effect="pure")),
            Named(ToolCard(name="pay", effect="pure", approval="always")),
            Named(ToolCard(name="refund", effect="pure")),
        ],
        desk=lambda: Desk(rules={"new": AutonomyConfig(tools=("refund",), start="observe")}),
    )


def forbid_notes(kernel: Kernel) -> None:
    files: Files = {"rules.cedar": RULES}
    kernel.guard.put(Policy(files, "test", read(files, lambda _: None)))


async def told(kernel: Kernel, process: Process, call: Call) -> str:
    """What a program hears: an error without the ids in it, or that there is an answer."""
    try:
        await result(syscall.enter(kernel, process, call))
    except KernelError as error:
        return re.split(r" \(|\. What", error.message)[0]
    return "answered"


async def story(kernel: Kernel, process: Process, refused: Call) -> list[str]:
    return [await told(kernel, process, call) for call in (BEFORE, refused, AFTER)]


async def begun_again(
    kernel: Kernel, process: Process, mode: Literal["resume", "replay"], *, strict: bool = False
) -> None:
    await lifecycle.signal(kernel, process, "kill", "test")
    await lifecycle.ended(kernel, process)
    await lifecycle.start(kernel, process, mode, strict=strict)


async def deny(kernel: Kernel) -> None:
    """Whatever is asked, as long as the kernel runs."""
    while True:
        for row in asking.listed(kernel, closed=False):
            if row.form == "approval":
                await answering.answer(kernel, row.id, AnswerOrder(verdict="deny", person="Grace"))
        await kernel.clock.sleep(0.1)


@pytest.mark.parametrize("mode", ["resume", "replay"])
@pytest.mark.parametrize("refused", [FORBIDDEN, UNKNOWN, APPROVED, OBSERVED], ids=WHO)
def test_a_program_that_went_on_after_a_refusal_hears_it_again_and_goes_on(
    refused: Call, mode: Literal["resume", "replay"]
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        forbid_notes(kernel)
        process = await program(kernel)
        person = asyncio.create_task(deny(kernel))
        first = await story(kernel, process, refused)
        person.cancel()
        assert first[0] == first[2] == "answered" != first[1]
        for strict in (False, mode == "replay"):
            await begun_again(kernel, process, mode, strict=strict)
            assert await story(kernel, process, refused) == first
        assert not process.row.divergence and here.engine.computed == 2
        assert len(asking.listed(kernel, closed=False)) == (refused is OBSERVED), "asked again"

    on(computer, scenario)


def test_what_a_person_is_still_asked_about_is_no_divergence_however_slow_the_rest_is() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        waiting = syscall.enter(kernel, process, APPROVED)
        await told(kernel, process, AFTER)
        (row,) = asking.listed(kernel, closed=False)
        await here.crash(kernel)
        kernel = await here.boot()
        process = kernel.processes[process.id]
        await begun_again(kernel, process, "resume")
        waiting = syscall.enter(kernel, process, APPROVED)
        await asyncio.sleep(60)
        assert await told(kernel, process, AFTER) == "answered"
        (row,) = asking.listed(kernel, closed=False)
        await answering.answer(kernel, row.id, AnswerOrder(verdict="approve", person="Grace"))
        await result(waiting)
        assert here.engine.computed == 1
        await here.close(kernel)

    on(computer, scenario)


def test_what_is_no_longer_refused_is_a_divergence() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        forbid_notes(kernel)
        process = await program(kernel)
        await story(kernel, process, FORBIDDEN)
        kernel.guard.put(opened())
        await begun_again(kernel, process, "replay")
        assert await told(kernel, process, BEFORE) == "answered"
        with pytest.raises(Diverged):
            await result(syscall.enter(kernel, process, FORBIDDEN))

    on(computer, scenario)
