"""Tools that code calls while it runs in another tool: each is admitted, booked, and ended once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Budget, CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import Denied, DeviceFailed, KernelError, ToolFailed
from orlop.abi.ids import NanoDollars
from orlop.abi.replies import ToolResult
from orlop.effects.monty import AskTool
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.state.process import Process

PRICE = NanoDollars(1_000_000)


class Plain:
    """A tool with an answer, or an error of its own."""

    def __init__(self, card: ToolCard, error: KernelError | None = None) -> None:
        self.card = card
        self._error = error

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        if self._error is not None:
            raise self._error
        return {"heard": arguments}

    async def happened(self, key: str) -> bool | None:
        return None


class Code(Plain):
    """A tool that calls others, as its script says."""

    def __init__(self, script: Callable[[AskTool], Awaitable[object]]) -> None:
        super().__init__(ToolCard(name="code", effect="pure"))
        self._script = script

    async def run(self, arguments: Mapping[str, object], ask: AskTool) -> object:
        return await self._script(ask)


def ran(
    script: Callable[[AskTool], Awaitable[object]], inner: Plain, budget: Budget | None = None
) -> tuple[object, Process, Kernel]:
    """What the code comes to, or its error, where nothing is in flight any more."""

    async def scenario(here: Computer, kernel: Kernel) -> tuple[object, Process, Kernel]:
        process = await program(kernel, budget=budget or Budget())
        value: object
        try:
            done = await result(syscall.enter(kernel, process, CallTool(tool="code")))
            assert isinstance(done, ToolResult)
            value = done.value
        except KernelError as error:
            value = error
        assert not kernel.tables.calls.open, "a call that nobody waits for"
        assert not kernel.tables.ledger.holds
        return value, process, kernel

    return on(lambda: Computer(tools=[Code(script), inner]), scenario)


def used(process: Process, kernel: Kernel) -> int:
    return kernel.accounts(process)[0].used.nano_dollars


def test_what_code_asks_for_is_a_call_of_its_process_and_costs_it() -> None:
    async def script(ask: AskTool) -> object:
        return [await ask("price", {"of": item}) for item in ("tea", "milk")]

    value, process, kernel = ran(script, Plain(ToolCard(name="price", effect="pure", price=PRICE)))
    assert value == [{"heard": {"of": "tea"}}, {"heard": {"of": "milk"}}]
    assert process.row.calls == 3
    assert used(process, kernel) == 2 * PRICE


def test_a_tool_that_fails_after_it_was_asked_is_paid_all_the_same() -> None:
    async def script(ask: AskTool) -> object:
        return await ask("price", {})

    card = ToolCard(name="price", effect="pure", price=PRICE)
    value, process, kernel = ran(script, Plain(card, ToolFailed("it broke in the middle")))
    assert isinstance(value, ToolFailed)
    assert used(process, kernel) == PRICE


@pytest.mark.parametrize("steps", range(12))
def test_what_is_given_up_at_any_moment_has_ended_in_the_journal(steps: int) -> None:
    """Also while its intent is on its way to the disk, which a budget makes it wait for."""

    async def script(ask: AskTool) -> object:
        asked = asyncio.ensure_future(ask("price", {}))
        for _ in range(steps):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        return "gave up"

    card = ToolCard(name="price", effect="pure", price=PRICE)
    value, _, _ = ran(script, Plain(card), Budget(nano_dollars=NanoDollars(10 * PRICE)))
    assert value == "gave up"


@pytest.mark.parametrize(
    "card",
    [
        ToolCard(name="other", effect="irreversible"),
        ToolCard(name="other", effect="pure", approval="always"),
    ],
)
def test_code_calls_nothing_that_acts_or_asks_a_person(card: ToolCard) -> None:
    async def script(ask: AskTool) -> object:
        return await ask("other", {})

    value, process, _ = ran(script, Plain(card))
    assert isinstance(value, Denied)
    assert process.row.calls == 1


def test_code_does_not_call_itself() -> None:
    async def script(ask: AskTool) -> object:
        return await ask("code", {})

    value, _, _ = ran(script, Plain(ToolCard(name="other"), DeviceFailed("never called")))
    assert isinstance(value, Denied)
