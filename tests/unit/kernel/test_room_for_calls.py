"""Calls whose budget others hold wait for what those give back; nobody is refused what suffices."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

import pytest
from small_kernel import Computer, ask, on, program, result

from orlop.abi.budgets import AccountName, BudgetOrder, Limit
from orlop.abi.calls import Budget, CallTool, Embed, Sampling
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BudgetHeld, BudgetSpent, KernelError, Killed
from orlop.abi.hints import Hints
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.limits import BUDGET_WAITING_MAX
from orlop.abi.replies import Completion, ToolResult
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.meter.account import Account
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import budgets

SLOW = FakeConfig(decode_s=0.1, tokens=10, slots=8)
"""One answer takes a second."""


def own(kernel: Kernel, process: Process) -> Account:
    return kernel.accounts(process)[0]


async def seconds_gone(work: Awaitable[object]) -> float:
    before_s = asyncio.get_running_loop().time()
    await work
    return asyncio.get_running_loop().time() - before_s


@pytest.mark.parametrize("budget", [Budget(seconds=60.0), Budget(tokens=20_000)])
def test_calls_at_once_under_a_budget_that_suffices_are_all_answered(budget: Budget) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=budget)
        calls = [syscall.enter(kernel, process, ask(f"call {n}")) for n in range(12)]
        ended = await asyncio.gather(*(result(call) for call in calls))
        assert all(isinstance(done, Completion) for done in ended)
        account = own(kernel, process)
        assert account.held.tokens == account.held.ns == account.calls_held == 0
        assert account.used.tokens <= 20_000 and account.used.ns <= 60_000_000_000

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_what_is_short_runs_beside_the_others() -> None:
    """Deadlines that fit into the budget together make nobody wait."""

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(seconds=100.0))
        hints = Hints(deadline_s=10.0)
        calls = [syscall.enter(kernel, process, ask(f"{n}", hints=hints)) for n in range(8)]
        gone_s = await seconds_gone(asyncio.gather(*(result(call) for call in calls)))
        assert gone_s < 2.0

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_a_sliver_that_others_leave_is_not_taken_for_a_call_s_time() -> None:
    """601 s with 600 held: a call that began with the one second left would be cut off."""

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(seconds=601.0))
        calls = [syscall.enter(kernel, process, ask(f"{n}")) for n in range(3)]
        ended = await asyncio.gather(*(result(call) for call in calls))
        assert all(isinstance(done, Completion) for done in ended)

    on(lambda: Computer(engine_config=FakeConfig(decode_s=0.4, tokens=10, slots=8)), scenario)


def test_many_inputs_and_many_choices_are_one_call_each() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(seconds=60.0))
        embed = Embed(model="fake-embed", inputs=tuple(f"text {n}" for n in range(500)))
        several = ask("hi", sampling=Sampling(n=4))
        calls = [syscall.enter(kernel, process, call) for call in (embed, several, embed)]
        await asyncio.gather(*(result(call) for call in calls))
        assert own(kernel, process).used.calls == 3

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_who_waits_is_refused_once_the_budget_is_spent() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(tokens=1_000))
        calls = [
            result(syscall.enter(kernel, process, ask(f"{n}", output_tokens_max=600)))
            for n in range(60)
        ]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        done = [one for one in ended if isinstance(one, Completion)]
        assert done and len(done) + sum(isinstance(one, BudgetSpent) for one in ended) == 60
        assert own(kernel, process).used.tokens <= 1_000

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_who_waits_is_refused_at_its_deadline() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(tokens=1_000))
        first = syscall.enter(kernel, process, ask("hi", output_tokens_max=800))
        await asyncio.sleep(0)
        hints = Hints(deadline_s=3.0)
        second = syscall.enter(kernel, process, ask("hi", output_tokens_max=800, hints=hints))
        with pytest.raises(BudgetHeld, match="held by calls in flight"):
            await result(second)
        assert second.seq == 0
        await result(first)

    on(lambda: Computer(engine_config=FakeConfig(decode_s=1.0, tokens=10)), scenario)


def test_who_waits_can_be_killed_and_leaves_no_trace() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(seconds=60.0))
        first = syscall.enter(kernel, process, ask("hi"))
        await asyncio.sleep(0.2)
        second = syscall.enter(kernel, process, ask("hi"))
        await asyncio.sleep(0.2)
        second.leave()
        with pytest.raises(Killed):
            await result(second)
        assert not own(kernel, process).waiting
        await result(first)
        assert own(kernel, process).used.calls == 1

    on(lambda: Computer(engine_config=SLOW), scenario)


@dataclass(eq=False, slots=True)
class Asking:
    """A tool whose work is a model call of the process that called it."""

    kernel: Kernel | None = None
    process: Process | None = None
    card: ToolCard = field(default_factory=lambda: ToolCard(name="asking", effect="pure"))

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        assert self.kernel is not None and self.process is not None
        try:
            await result(syscall.enter(self.kernel, self.process, ask("hi")))
        except KernelError as error:
            return error.code
        return "answered"

    async def happened(self, key: str) -> bool | None:
        return None


def test_nobody_waits_for_a_tool_that_may_wait_for_him() -> None:
    tool = Asking()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        tool.kernel, tool.process = kernel, await program(kernel, budget=Budget(seconds=60.0))
        before_s = asyncio.get_running_loop().time()
        done = await result(syscall.enter(kernel, tool.process, CallTool(tool="asking")))
        assert isinstance(done, ToolResult)
        assert BudgetHeld.code in str(done)
        assert asyncio.get_running_loop().time() - before_s < 1.0

    on(lambda: Computer(engine_config=SLOW, tools=[tool]), scenario)


def test_only_so_many_wait_for_one_account() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(seconds=60.0))
        calls = [syscall.enter(kernel, process, ask(f"{n}")) for n in range(BUDGET_WAITING_MAX + 4)]
        ended = await asyncio.gather(*(result(call) for call in calls), return_exceptions=True)
        refused = [one for one in ended if isinstance(one, BudgetHeld)]
        assert len(refused) == 3
        assert sum(isinstance(one, Completion) for one in ended) == BUDGET_WAITING_MAX + 1

    on(lambda: Computer(engine_config=FakeConfig(decode_s=0.01, tokens=10)), scenario)


def test_a_limit_that_is_raised_lets_who_waits_in() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        order = BudgetOrder(
            account=AccountName("organisation"), limit=Limit(budget=Budget(calls=1))
        )
        await budgets.allow(kernel, DEFAULT_TENANT, order)
        calls = [syscall.enter(kernel, process, ask(f"{n}")) for n in range(2)]
        await asyncio.sleep(0.2)
        order = BudgetOrder(
            account=AccountName("organisation"), limit=Limit(budget=Budget(calls=2))
        )
        await budgets.allow(kernel, DEFAULT_TENANT, order)
        gone_s = await seconds_gone(asyncio.gather(*(result(call) for call in calls)))
        assert gone_s < 1.5

    on(lambda: Computer(engine_config=SLOW), scenario)
