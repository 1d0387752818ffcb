"""What a process may use, whatever becomes of its calls."""

import asyncio

import pytest
from small_kernel import Computer, ask, on, program, result

from orlop.abi.calls import Budget
from orlop.abi.errors import BudgetSpent, DeadlineMissed, DeviceRefused, Killed
from orlop.abi.hints import Hints
from orlop.abi.replies import Delta
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.meter.account import Account
from orlop.state.core import Kernel
from orlop.state.process import Process

SLOW = FakeConfig(decode_s=1.0, tokens=10)
TOKENS = Budget(tokens=500)
HELD = 250


def own(kernel: Kernel, process: Process) -> Account:
    return kernel.accounts(process)[0]


def slow() -> Computer:
    return Computer(engine_config=SLOW)


def test_a_client_that_leaves_before_the_end_pays_for_what_it_was_shown() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=TOKENS)
        running = syscall.enter(kernel, process, ask("hi", stream=True, output_tokens_max=HELD))
        async for reply in running.replies:
            assert isinstance(reply, Delta)
            break
        running.leave()
        await running.ended.wait()
        assert process.row.tokens_lost > HELD
        with pytest.raises(BudgetSpent):
            await result(syscall.enter(kernel, process, ask("hi", output_tokens_max=HELD)))

    on(slow, scenario)


def test_a_call_that_misses_its_deadline_on_the_engine_costs_its_whole_hold() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=TOKENS)
        call = ask("hi", output_tokens_max=HELD, hints=Hints(deadline_s=2.0))
        with pytest.raises(DeadlineMissed):
            await result(syscall.enter(kernel, process, call))
        assert own(kernel, process).used.tokens == process.row.tokens_lost > HELD

    on(slow, scenario)


def test_a_call_that_no_engine_has_seen_costs_nothing() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=Budget(tokens=1_000))
        first = syscall.enter(kernel, process, ask("hi", output_tokens_max=HELD))
        await asyncio.sleep(0.5)
        second = syscall.enter(kernel, process, ask("you", output_tokens_max=HELD))
        await asyncio.sleep(0.5)
        second.leave()
        with pytest.raises(Killed):
            await result(second)
        assert process.row.tokens_lost == 0
        await result(first)

    on(lambda: Computer(engine_config=FakeConfig(decode_s=1.0, slots=1)), scenario)


def test_a_call_that_the_engine_refused_costs_nothing() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, budget=TOKENS)
        with pytest.raises(DeviceRefused):
            await result(syscall.enter(kernel, process, ask("hi", output_tokens_max=HELD)))
        account = own(kernel, process)
        assert account.used.tokens == account.held.tokens == 0

    on(lambda: Computer(engine_config=FakeConfig(refuse=1.0)), scenario)


@pytest.mark.parametrize("again", [True, False], ids=["after a crash", "at once"])
def test_the_account_is_the_journal_s_sum(again: bool) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        parent = await program(kernel, budget=Budget(tokens=10_000))
        running = syscall.enter(kernel, parent, ask("hi", output_tokens_max=HELD))
        await asyncio.sleep(2)
        running.leave()
        await running.ended.wait()
        await result(syscall.enter(kernel, parent, ask("hello")))
        row, used = parent.row, own(kernel, parent).used.tokens
        assert used == row.input_tokens + row.output_tokens + row.tokens_lost > HELD
        if again:
            await kernel.journal.flush()
            await here.crash(kernel)
            following = await here.boot()
            assert own(following, following.get(parent.id)).used.tokens == used
            await here.close(following)

    on(slow, scenario)
