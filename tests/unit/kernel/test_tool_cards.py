"""What a tool's card says is kept: its schemas, its conflicts, its retries."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, EffectUnknown, ResultWrong, ToolFailed
from orlop.abi.events import CallFailed
from orlop.abi.replies import ToolResult
from orlop.kernel import syscall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process


class Scripted:
    """A tool whose calls take a second each and come to what is next in the script."""

    def __init__(self, card: ToolCard, *script: object) -> None:
        self.card = card
        self.script = list(script)
        self.keys: list[str] = []
        self.times: list[tuple[float, float]] = []

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.keys.append(key)
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(1)
        self.times.append((began_s, asyncio.get_running_loop().time()))
        said = self.script.pop(0) if self.script else None
        if isinstance(said, Exception):
            raise said
        return said

    async def happened(self, key: str) -> bool | None:
        return None


async def call(kernel: Kernel, process: Process, tool: str, **arguments: object) -> object:
    done = await result(syscall.enter(kernel, process, CallTool(tool=tool, arguments=arguments)))
    assert isinstance(done, ToolResult)
    return done.value


def card(name: str = "tool", **how: object) -> ToolCard:
    return ToolCard(name=name, **how)  # type: ignore[arg-type]


def test_arguments_that_break_the_schema_reach_no_tool_and_are_in_the_journal() -> None:
    tool = Scripted(card(parameters={"required": ["order"]}), "done")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(BadCall, match='arguments of tool: "order" is a required property'):
            await call(kernel, process, "tool")
        assert tool.keys == []
        await kernel.journal.flush()
        events = [codec.decode(stored) for stored in await kernel.journal.of_process(process.id)]
        failed = [event for event in events if isinstance(event, CallFailed)]
        assert [(event.code, event.asked) for event in failed] == [("E1001", False)]
        assert await call(kernel, process, "tool", order=1) == "done"

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_result_that_breaks_the_schema_is_no_answer_and_its_tool_may_have_acted() -> None:
    tool = Scripted(card(results={"type": "integer"}), "lots")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(ResultWrong, match=r"tool has run.*not of type"):
            await call(kernel, process, "tool")
        with pytest.raises(EffectUnknown):
            await call(kernel, process, "tool")

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_failed_call_of_an_idempotent_tool_is_made_again_with_the_same_key() -> None:
    tool = Scripted(
        card(effect="idempotent", retries=2), ToolFailed("first"), ToolFailed("second"), "done"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        assert await call(kernel, process, "tool") == "done"
        assert len(tool.keys) == 3
        assert len(set(tool.keys)) == 1

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_call_that_fails_more_often_than_its_card_allows_fails() -> None:
    tool = Scripted(
        card(effect="pure", retries=1), ToolFailed("first"), ToolFailed("second"), "done"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        with pytest.raises(ToolFailed, match="second"):
            await call(kernel, await program(kernel), "tool")

    on(lambda: Computer(tools=[tool]), scenario)


def test_no_card_makes_an_irreversible_tool_run_twice() -> None:
    tool = Scripted(card(effect="irreversible", retries=3), ToolFailed("first"), "done")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        with pytest.raises(ToolFailed, match="first"):
            await call(kernel, await program(kernel), "tool")
        assert len(tool.keys) == 1

    on(lambda: Computer(tools=[tool]), scenario)


def test_tools_that_need_the_same_thing_never_run_together_and_others_do() -> None:
    # Each needs what the next one needs too: taken in any other order they would wait in a ring.
    ring = [
        Scripted(card("first", conflicts=("ledger", "printer"))),
        Scripted(card("second", conflicts=("printer", "till"))),
        Scripted(card("third", conflicts=("till", "ledger"))),
    ]
    free = Scripted(card("free"))

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        names = ["first", "second", "third", "free"] * 3
        await asyncio.gather(*(call(kernel, process, name) for name in names))
        spans = sorted(span for tool in ring for span in tool.times)
        assert len(spans) == 9
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
        assert max(end for _, end in free.times) <= min(end for _, end in spans)

    on(lambda: Computer(tools=[*ring, free]), scenario)
