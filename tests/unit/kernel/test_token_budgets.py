"""Budgets of narrowed tokens: held and settled beside their process's, and never widened."""

import asyncio
from pathlib import Path

import pytest
from small_kernel import Computer, ask, on, program, result
from unit.kernel.test_policy import Note

from orlop.abi.budgets import BudgetOrder, Limit
from orlop.abi.calls import Budget, CallTool, Infer, Spawn
from orlop.abi.errors import BadCall, BudgetHeld, BudgetSpent, NotFound, Unauthenticated
from orlop.abi.ids import DEFAULT_TENANT, NanoDollars, Nanoseconds
from orlop.abi.replies import Completion, Spawned
from orlop.access.capability import Capabilities, TokenConfig
from orlop.access.rights import Narrowing
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.meter.account import Account
from orlop.sdk.tokens import narrowed
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.snapshot import restored, taken
from orlop.state.token_budgets import account_of
from orlop.store.signing_keys import SigningKeys
from orlop.subsystems import budgets, lifecycle, tokens
from orlop.wire.tokens import Format

FORMATS: list[Format] = ["biscuit", "ed25519"]


class Mint:
    """The kernel's tokens, and what a narrowed one leaves."""

    def __init__(self, folder: Path, format: Format = "biscuit") -> None:
        keys = SigningKeys.open(folder / "tokens.json", SeededChance(1), Nanoseconds(0))
        self.capabilities = Capabilities(keys, TokenConfig(format=format))

    def whole(self, kernel: Kernel, process: Process) -> str:
        return self.capabilities.make(process.row, kernel.clock.wall_ns())

    def read(self, kernel: Kernel, token: str) -> Narrowing:
        found = self.capabilities.read(token, kernel.clock.wall_ns()).narrowing
        assert found is not None
        return found

    def narrowed(self, kernel: Kernel, process: Process, *more: Budget) -> Narrowing:
        token = self.whole(kernel, process)
        for budget in more:
            token = narrowed(token, budget=budget)
        return self.read(kernel, token)


def of(kernel: Kernel, narrowing: Narrowing, place: int = 0) -> Account:
    name = account_of(narrowing.budgets[place][0])
    return kernel.tables.ledger.accounts[DEFAULT_TENANT, name]


async def called(kernel: Kernel, process: Process, narrowing: Narrowing, call: Infer) -> Completion:
    done = await result(syscall.enter(kernel, process, call, narrowing=narrowing))
    assert isinstance(done, Completion)
    return done


@pytest.mark.parametrize("format", FORMATS)
def test_what_a_token_may_use_is_held_and_settled_below_its_process(
    format: Format, tmp_path: Path
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path, format), await program(kernel)
        small = mint.narrowed(kernel, process, Budget(calls=2))
        other = mint.narrowed(kernel, process, Budget(calls=1))
        for _ in range(2):
            await called(kernel, process, small, ask("hi"))
        with pytest.raises(BudgetSpent, match=r"token .* is 2 calls"):
            await called(kernel, process, small, ask("hi"))
        await called(kernel, process, other, ask("hi"))
        await result(syscall.enter(kernel, process, ask("without a token's budget")))
        assert (of(kernel, small).used.calls, of(kernel, other).used.calls) == (2, 1)
        assert kernel.accounts(process)[0].used.calls == 4
        kernel.tables.ledger.check()

    on(Computer, scenario)


def test_what_is_narrowed_once_more_shares_what_was_left(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        outer = narrowed(mint.whole(kernel, process), budget=Budget(calls=3))
        wide, tight = (
            mint.read(kernel, narrowed(outer, budget=Budget(calls=calls))) for calls in (99, 1)
        )
        plain = mint.read(kernel, narrowed(outer, expires_s=60))
        await called(kernel, process, tight, ask("hi"))
        with pytest.raises(BudgetSpent, match="is 1 call:"):
            await called(kernel, process, tight, ask("hi"))
        await called(kernel, process, plain, ask("hi"))
        await called(kernel, process, wide, ask("hi"))
        for narrowing in (wide, plain):
            with pytest.raises(BudgetSpent, match="is 3 calls"):
                await called(kernel, process, narrowing, ask("hi"))
        assert of(kernel, wide, 1).used.calls == 3

    on(Computer, scenario)


def test_calls_at_once_never_use_more_than_the_token_allows(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        small = mint.narrowed(kernel, process, Budget(tokens=1_000))
        calls = [
            called(kernel, process, small, ask(f"call {n}", output_tokens_max=200))
            for n in range(20)
        ]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        done = [one for one in ended if isinstance(one, Completion)]
        refused = [one for one in ended if isinstance(one, BudgetHeld | BudgetSpent)]
        assert done and len(done) + len(refused) == 20
        used = sum(one.usage.input_tokens + one.usage.output_tokens for one in done)
        assert of(kernel, small).used.tokens == used <= 1_000

    on(lambda: Computer(engine_config=FakeConfig(decode_s=0.1, slots=8)), scenario)


def test_a_child_of_a_call_with_the_token_uses_its_budget_too(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        small = mint.narrowed(kernel, process, Budget(calls=2))
        spawn = Spawn(command=("agent",))
        done = await result(syscall.enter(kernel, process, spawn, narrowing=small))
        assert isinstance(done, Spawned)
        child = kernel.get(done.process)
        await asyncio.sleep(5)
        assert child.row.incarnation == 1
        await result(syscall.enter(kernel, child, ask("hi")))
        await called(kernel, process, small, ask("hi"))
        with pytest.raises(BudgetSpent, match="token"):
            await result(syscall.enter(kernel, child, ask("hi")))
        await result(syscall.enter(kernel, process, ask("the process itself has no limit")))

    on(Computer, scenario)


def test_a_tokens_books_outlive_the_kernel_and_a_dead_calls_hold_is_booked(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        small = mint.narrowed(kernel, process, Budget(tokens=1_000))
        await called(kernel, process, small, ask("hi", output_tokens_max=100))
        before = of(kernel, small).used
        running = syscall.enter(
            kernel, process, ask("long", output_tokens_max=300), narrowing=small
        )
        await asyncio.sleep(1)
        held = of(kernel, small).held
        assert held.tokens > 300 and not running.ended.is_set()
        again = restored(taken(kernel.tables))
        assert again is not None
        assert again.ledger.state() == kernel.tables.ledger.state()
        assert again.budgeted.rows == kernel.tables.budgeted.rows
        await here.crash(kernel)
        second = await here.boot()
        account = of(second, small)
        assert account.used.tokens == before.tokens + held.tokens
        assert account.held.tokens == 0
        second.tables.ledger.check()
        await here.close(second)

    on(lambda: Computer(engine_config=FakeConfig(decode_s=1.0, tokens=50)), scenario)


def test_a_new_incarnation_forgets_the_budgets_of_tokens_that_nobody_accepts(
    tmp_path: Path,
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        small = mint.narrowed(kernel, process, Budget(calls=2))
        await called(kernel, process, small, ask("hi"))
        assert kernel.tables.budgeted.rows
        await lifecycle.signal(kernel, process, "kill", "")
        await lifecycle.ended(kernel, process)
        await lifecycle.begin(kernel, process, "resume")
        assert not kernel.tables.budgeted.rows
        kinds = {name.partition(":")[0] for _, name in kernel.tables.ledger.accounts}
        assert "token" not in kinds

    on(Computer, scenario)


def test_tools_and_what_the_kernel_does_for_a_call_count_too(tmp_path: Path) -> None:
    note = Note()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        small = mint.narrowed(kernel, process, Budget(calls=1, seconds=60))
        call = CallTool(tool="note", arguments={"text": "a"})
        await result(syscall.enter(kernel, process, call, narrowing=small))
        with pytest.raises(BudgetSpent):
            await result(syscall.enter(kernel, process, call, narrowing=small))
        assert len(note.kept) == 1

    on(lambda: Computer(tools=[note]), scenario)


def test_people_see_what_a_token_has_used_and_set_nothing_on_it(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        token = narrowed(mint.whole(kernel, process), budget=Budget(calls=5))
        narrowing = mint.read(kernel, token)
        with pytest.raises(NotFound, match="no token"):
            budgets.one(kernel, DEFAULT_TENANT, account_of(narrowing.token))
        await called(kernel, process, narrowing, ask("hi"))
        shown = budgets.one(kernel, DEFAULT_TENANT, account_of(narrowing.token))
        assert (shown.source, shown.limit.budget.calls, shown.used.calls) == ("token", 5, 1)
        assert "process 2" in shown.label
        listed = budgets.view(kernel, DEFAULT_TENANT).accounts
        assert shown.account in [row.account for row in listed]
        order = BudgetOrder(account=shown.account, limit=Limit(budget=Budget(calls=99)))
        with pytest.raises(BadCall, match="in the token"):
            await budgets.allow(kernel, DEFAULT_TENANT, order)
        block = tokens.view(kernel, mint.capabilities, token, DEFAULT_TENANT).blocks[-1]
        assert block.budget == Budget(calls=5) and block.used is not None
        assert block.used.calls == 1

    on(Computer, scenario)


def test_a_budget_that_nobody_can_have_is_no_budget(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        mint, process = Mint(tmp_path), await program(kernel)
        for wrong in (Budget(calls=-1), Budget(nano_dollars=NanoDollars(2**60))):
            with pytest.raises(Unauthenticated, match="nobody can have"):
                narrowed(mint.whole(kernel, process), budget=wrong)
        assert mint.narrowed(kernel, process, Budget()).budgets == ()

    on(Computer, scenario)
