"""Whose budgets a call uses, what is held while it runs, and what a refusal says."""

import asyncio

import pytest
from msgspec.structs import replace
from small_kernel import Computer, ask, on, program, result

from orlop.abi.budgets import ORGANISATION, AccountName, BudgetOrder, HoldExceeded, Limit
from orlop.abi.calls import Budget, CallTool, Embed, Spawn
from orlop.abi.cards import ToolCard
from orlop.abi.errors import (
    BudgetHeld,
    BudgetSpent,
    DeadlineMissed,
    Denied,
    KernelError,
    NotFound,
    RateReached,
    Unpriced,
)
from orlop.abi.hints import Hints, Usage
from orlop.abi.ids import DEFAULT_TENANT, NanoDollars
from orlop.abi.replies import Completion, ToolResult
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.meter.account import Account
from orlop.state import codec, tables
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import budgets, lifecycle

DOLLAR = 1_000_000_000
SLOW = FakeConfig(decode_s=1.0, tokens=10)
TASKS = AccountName("task:*")


async def limit(kernel: Kernel, account: str, **how: object) -> None:
    order = BudgetOrder(account=AccountName(account), limit=Limit(**how))  # type: ignore[arg-type]
    await budgets.allow(kernel, DEFAULT_TENANT, order)


def priced(kernel: Kernel, here: Computer, **how: object) -> None:
    """What the engine's models cost from now on."""
    cards = [replace(card, **how) for card in kernel.registry.cards()]
    kernel.registry.learn(here.engine.name, cards)


def own(kernel: Kernel, process: Process) -> Account:
    return kernel.accounts(process)[0]


def account(kernel: Kernel, name: str) -> Account:
    return kernel.tables.ledger.accounts[DEFAULT_TENANT, AccountName(name)]


async def refusal(kernel: Kernel, process: Process, **how: object) -> KernelError:
    with pytest.raises(KernelError) as refused:
        await result(syscall.enter(kernel, process, ask("hi", **how)))
    return refused.value


# Who shares.


def test_one_team_s_processes_share_its_budget_and_others_do_not() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await limit(kernel, "team:support", budget=Budget(calls=2))
        one, two = await program(kernel, team="support"), await program(kernel, team="support")
        await result(syscall.enter(kernel, one, ask("hi")))
        await result(syscall.enter(kernel, two, ask("hi")))
        for process in (one, two):
            assert (
                "team support is 2 calls: 2 calls used" in (await refusal(kernel, process)).message
            )
        await result(syscall.enter(kernel, await program(kernel, team="sales"), ask("hi")))

    on(Computer, scenario)


def test_a_child_uses_what_its_parent_uses_whatever_it_calls_itself() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await limit(kernel, "agent:greedy", budget=Budget(calls=1))
        parent = await program(kernel, name="greedy", team="support")
        spawn = Spawn(command=("agent",), name="modest", program="another task")
        child = await lifecycle.create(kernel, spawn, DEFAULT_TENANT, parent=parent)
        await lifecycle.start(kernel, child, "first")
        assert child.row.team == "support"
        await result(syscall.enter(kernel, child, ask("hi")))
        assert "agent greedy" in (await refusal(kernel, child)).message
        elsewhere = Spawn(command=("agent",), team="sales")
        with pytest.raises(Denied):
            await lifecycle.create(kernel, elsewhere, DEFAULT_TENANT, parent=parent)

    on(Computer, scenario)


def test_a_template_gives_each_task_a_budget_of_its_own() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        early = await program(kernel, program="early")
        await limit(kernel, TASKS, budget=Budget(calls=1))
        late = await program(kernel, program="late")
        for process in (early, late):
            await result(syscall.enter(kernel, process, ask("hi")))
            assert f"task {process.row.program}" in (await refusal(kernel, process)).message
        await limit(kernel, "task:late", budget=Budget(calls=5))
        await result(syscall.enter(kernel, late, ask("hi")))
        await budgets.remove(kernel, DEFAULT_TENANT, "task:late")
        assert isinstance(await refusal(kernel, late), BudgetSpent)
        await budgets.remove(kernel, DEFAULT_TENANT, TASKS)
        await result(syscall.enter(kernel, late, ask("hi")))

    on(Computer, scenario)


def test_a_budget_that_an_operator_takes_back_is_again_the_process_s_own() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(calls=1))
        await limit(kernel, str(process.row.pid), budget=Budget(calls=2))
        for _ in range(2):
            await result(syscall.enter(kernel, process, ask("hi")))
        await budgets.remove(kernel, DEFAULT_TENANT, str(process.row.pid))
        assert "is 1 call: 2 calls used" in (await refusal(kernel, process)).message
        with pytest.raises(NotFound):
            await budgets.remove(kernel, DEFAULT_TENANT, str(process.row.pid))

    on(Computer, scenario)


def test_what_children_used_counts_after_they_have_left_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "EXITED_KEPT_MAX", 1)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        parent = await program(kernel, budget=Budget(calls=4), program="the task")
        for _ in range(3):
            spawn = Spawn(command=("agent",))
            child = await lifecycle.create(kernel, spawn, DEFAULT_TENANT, parent=parent)
            await lifecycle.start(kernel, child, "first")
            await result(syscall.enter(kernel, child, ask("hi")))
            lifecycle.end(kernel, child, 0, "done")
        assert len(kernel.tables.rows) == 2
        assert len(kernel.tables.ledger.accounts) == 5, "their accounts went with them"
        await kernel.journal.flush()
        await here.crash(kernel)
        following = await here.boot()
        again = following.get(parent.id)
        assert own(following, again).used.calls == account(following, "task:the task").used.calls
        assert own(following, again).used.calls == 3
        await here.close(following)

    on(Computer, scenario)


def test_a_grandchild_whose_parent_has_left_the_table_stays_within_the_root_s_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "EXITED_KEPT_MAX", 0)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        root = await program(kernel, budget=Budget(calls=1))
        spawn = Spawn(command=("agent",))
        middle = await lifecycle.create(kernel, spawn, DEFAULT_TENANT, parent=root)
        await lifecycle.start(kernel, middle, "first")
        grandchild = await lifecycle.create(kernel, spawn, DEFAULT_TENANT, parent=middle)
        await lifecycle.start(kernel, grandchild, "first")
        lifecycle.end(kernel, middle, 0, "done")
        kernel.snapshot()
        await kernel.journal.flush()
        await here.crash(kernel)
        following = await here.boot()
        grandchild = following.get(grandchild.id)
        if grandchild.row.state != "running":
            await lifecycle.start(following, grandchild, "resume")
        assert middle.id not in following.tables.rows
        await result(syscall.enter(following, grandchild, ask("hi")))
        assert isinstance(await refusal(following, grandchild), BudgetSpent)
        await here.close(following)

    on(Computer, scenario)


# Money.


def test_the_most_that_a_call_may_cost_is_held_and_what_it_cost_is_booked() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        priced(
            kernel, here, input_price=NanoDollars(3 * DOLLAR), output_price=NanoDollars(15 * DOLLAR)
        )
        process = await program(kernel, budget=Budget(nano_dollars=NanoDollars(DOLLAR // 100)))
        running = syscall.enter(kernel, process, ask("hi", output_tokens_max=100))
        await asyncio.sleep(2.0)
        held = own(kernel, process).held
        assert held.nano_dollars == (held.tokens - 100) * 3_000 + 100 * 15_000
        done = await result(running)
        assert isinstance(done, Completion)
        cost = done.usage.input_tokens * 3_000 + done.usage.output_tokens * 15_000
        assert done.facts.cost == own(kernel, process).used.nano_dollars == cost
        assert process.row.cost == cost and own(kernel, process).held.nano_dollars == 0

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_an_answer_is_made_as_long_as_the_money_allows() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        priced(kernel, here, output_price=NanoDollars(1_000 * DOLLAR))
        process = await program(kernel, budget=Budget(nano_dollars=NanoDollars(5_500_000)))
        done = await result(syscall.enter(kernel, process, ask("hi")))
        assert isinstance(done, Completion) and done.usage.output_tokens == 5
        refused = await refusal(kernel, process)
        assert isinstance(refused, BudgetSpent)
        assert "is $0.0055: $0.005 used" in refused.message
        assert "$0.0005 left; this call may use $0.001" in refused.message

    on(Computer, scenario)


def test_a_model_that_costs_nobody_knows_what_is_refused_where_money_is_limited() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        priced(kernel, here, paid=True)
        poor = await program(kernel, budget=Budget(nano_dollars=NanoDollars(DOLLAR)))
        assert isinstance(await refusal(kernel, poor), Unpriced)
        with pytest.raises(Unpriced):
            await result(syscall.enter(kernel, poor, Embed(model="fake-embed", inputs=("hi",))))
        await result(syscall.enter(kernel, await program(kernel), ask("hi")))
        priced(kernel, here, paid=True, is_priced=True, input_price=NanoDollars(DOLLAR))
        await result(syscall.enter(kernel, poor, ask("hi", output_tokens_max=5)))

    on(Computer, scenario)


class Teller:
    """A tool that can be counted."""

    def __init__(self, **how: object) -> None:
        self.card = ToolCard(name="teller", effect="pure", **how)  # type: ignore[arg-type]
        self.calls = 0

    async def call(self, arguments: object, key: str, deadline_s: float) -> object:
        self.calls += 1
        await asyncio.sleep(2.0)
        return self.calls

    async def happened(self, key: str) -> bool | None:
        return None


def test_a_tool_call_costs_its_price_and_is_refused_before_it_acts() -> None:
    teller = Teller(price=NanoDollars(DOLLAR // 2))

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(nano_dollars=NanoDollars(DOLLAR)))
        for _ in range(2):
            done = await result(syscall.enter(kernel, process, CallTool(tool="teller")))
            assert isinstance(done, ToolResult) and done.facts.cost == DOLLAR // 2
        with pytest.raises(BudgetSpent):
            await result(syscall.enter(kernel, process, CallTool(tool="teller")))
        assert teller.calls == 2

    on(lambda: Computer(tools=[teller]), scenario)


# Time.


def test_calls_end_when_they_have_run_for_the_seconds_that_are_left() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(seconds=15.0))
        await result(syscall.enter(kernel, process, ask("hi")))
        assert own(kernel, process).used.ns == pytest.approx(10e9, rel=0.01)
        began_s = kernel.clock.now_s()
        assert isinstance(await refusal(kernel, process), DeadlineMissed)
        assert kernel.clock.now_s() - began_s == pytest.approx(5.0, abs=0.1)
        assert own(kernel, process).used.ns == 15_000_000_000
        assert isinstance(await refusal(kernel, process), BudgetSpent)

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_waiting_for_a_seat_uses_no_seconds() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        first = syscall.enter(kernel, await program(kernel), ask("first"))
        await asyncio.sleep(0.5)
        process = await program(kernel, budget=Budget(seconds=11.0))
        second = syscall.enter(kernel, process, ask("second"))
        await result(first)
        await result(second)
        assert second.queue_s > 5.0
        assert own(kernel, process).used.ns == pytest.approx(10e9, rel=0.01)

    on(lambda: Computer(engine_config=FakeConfig(decode_s=1.0, tokens=10, slots=1)), scenario)


def test_a_rate_is_refused_until_the_minute_has_room_again() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await limit(kernel, ORGANISATION, calls_per_minute=2)
        process = await program(kernel)
        for _ in range(2):
            await result(syscall.enter(kernel, process, ask("hi")))
        refused = await refusal(kernel, process)
        assert isinstance(refused, RateReached) and refused.retry_after_s is not None
        assert 55 <= refused.retry_after_s <= 61
        await asyncio.sleep(refused.retry_after_s)
        await result(syscall.enter(kernel, process, ask("hi")))

    on(Computer, scenario)


def test_a_daily_budget_refills_at_midnight_and_the_refusal_says_so() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await limit(kernel, ORGANISATION, budget=Budget(calls=1), per="day")
        process = await program(kernel)
        await result(syscall.enter(kernel, process, ask("hi")))
        refused = await refusal(kernel, process)
        assert isinstance(refused, BudgetSpent) and refused.retry_after_s is not None
        assert "1 call per day" in refused.message and "it refills in" in refused.message
        await asyncio.sleep(refused.retry_after_s)
        await result(syscall.enter(kernel, process, ask("hi")))
        assert account(kernel, ORGANISATION).ever.calls == 2

    on(Computer, scenario)


# Holds.


def test_what_others_hold_is_told_apart_from_what_is_spent() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(tokens=1_000))
        first = syscall.enter(kernel, process, ask("hi", output_tokens_max=800))
        await asyncio.sleep(0.5)
        in_vain = Hints(deadline_s=3.0)  # It waits as long for what the first one gives back.
        refused = await refusal(kernel, process, output_tokens_max=800, hints=in_vain)
        assert isinstance(refused, BudgetHeld) and refused.retry
        assert "held by calls in flight (1)" in refused.message
        await result(first)
        await result(syscall.enter(kernel, process, ask("hi", output_tokens_max=800)))

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_a_call_that_dies_with_the_kernel_is_booked_whole_and_holds_nothing_after() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        priced(kernel, here, output_price=NanoDollars(DOLLAR))
        process = await program(kernel, budget=Budget(tokens=5_000, calls=9, seconds=100.0))
        syscall.enter(kernel, process, ask("hi", output_tokens_max=50, hints=Hints(deadline_s=30)))
        await asyncio.sleep(3.0)
        held = own(kernel, process).held
        assert held.tokens > 50 and held.nano_dollars == 50_000 and held.ns == 30_000_000_000
        await here.crash(kernel)
        following = await here.boot()
        account = own(following, following.get(process.id))
        assert account.used == held and account.held.tokens == account.calls_held == 0
        assert following.get(process.id).row.cost == 50_000
        await here.close(following)

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_an_engine_is_not_asked_before_the_hold_is_on_the_disk() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(calls=1))
        syscall.enter(kernel, process, ask("hi"))
        await asyncio.sleep(0.5)
        assert here.engine.running == 1
        await here.crash(kernel)
        following = await here.boot()
        assert own(following, following.get(process.id)).used.calls == 1
        await here.close(following)

    on(lambda: Computer(engine_config=SLOW), scenario)


def test_an_engine_that_tells_no_usage_has_used_all_that_was_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        silence(here, monkeypatch, Usage())
        process = await program(kernel, budget=Budget(tokens=1_000))
        await result(syscall.enter(kernel, process, ask("hi", output_tokens_max=100)))
        assert own(kernel, process).used.tokens == process.row.tokens_lost > 100

    on(Computer, scenario)


def test_a_bill_beyond_what_was_held_is_booked_and_journaled_as_an_incident(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        silence(here, monkeypatch, Usage(input_tokens=40, output_tokens=900))
        process = await program(kernel, budget=Budget(tokens=500))
        await result(syscall.enter(kernel, process, ask("hi", output_tokens_max=100)))
        assert own(kernel, process).used.tokens == 940
        events = [codec.decode(each) for each in await kernel.journal.of_process(process.id)]
        incidents = [event for event in events if isinstance(event, HoldExceeded)]
        assert [incident.used for incident in incidents] == [940]
        assert isinstance(await refusal(kernel, process), BudgetSpent)

    on(Computer, scenario)


def silence(here: Computer, monkeypatch: pytest.MonkeyPatch, usage: Usage) -> None:
    """The engine tells another usage than it had."""
    honest = here.engine.infer

    async def lying(*arguments: object, **named: object) -> object:
        return replace(await honest(*arguments, **named), usage=usage)  # type: ignore[arg-type]

    monkeypatch.setattr(here.engine, "infer", lying)
