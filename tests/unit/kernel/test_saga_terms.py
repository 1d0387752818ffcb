"""On what terms a saga is undone: held for before, by the cards of then and by the rules of now."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from msgspec.structs import replace
from small_kernel import Computer, on, program, result
from unit.kernel.test_policy import EVERYTHING, set_policy
from unit.kernel.test_sagas import Part, Shop, act, closed, opened

from orlop.abi.budgets import NOTHING
from orlop.abi.calls import Budget, CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BudgetHeld, ToolFailed
from orlop.abi.ids import NanoDollars
from orlop.abi.limits import SAGA_TRIES_MAX
from orlop.abi.questions import AnswerOrder
from orlop.abi.sagas import SagaOrder, SagaView
from orlop.kernel import syscall
from orlop.meter.account import Account
from orlop.people import answering, asking
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import saga

PRICE = 1_000
Scenario = Callable[[Computer, Kernel, Shop], Coroutine[object, object, None]]


def with_priced_shop(scenario: Scenario, **cancel: object) -> Shop:
    """Booking costs nothing, cancelling `PRICE`."""
    shop = Shop()
    card = ToolCard(
        name="cancel",
        effect="idempotent",
        price=NanoDollars(PRICE),
        **cancel,  # type: ignore[arg-type]
    )
    tools = [part for part in shop.tools() if part.card.name != "cancel"] + [Part(shop, card)]

    async def whole(here: Computer, kernel: Kernel) -> None:
        await scenario(here, kernel, shop)
        kernel.tables.ledger.check()
        assert not kernel.tables.ledger.holds

    on(lambda: Computer(tools=tools), whole)
    return shop


def own(kernel: Kernel, process: Process) -> Account:
    return kernel.accounts(process)[0]


async def stuck(kernel: Kernel, id: str) -> SagaView:
    return await saga.ended(kernel, id, frozenset({"stuck"}))


def test_what_the_undoing_may_cost_is_held_with_the_step_and_settled_by_what_it_took() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        await act(kernel, process, id, "look", "around")
        held = own(kernel, process).held
        assert (held.calls, held.nano_dollars) == (1, PRICE * SAGA_TRIES_MAX)
        shop.fail["cancel n1"] = [ToolFailed("not now")]
        before = own(kernel, process).used.calls
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        await saga.ended(kernel, id)
        await closing
        used = own(kernel, process).used
        assert (used.calls - before, used.nano_dollars) == (1, 2 * PRICE)
        assert own(kernel, process).held == NOTHING

    with_priced_shop(scenario)


def test_a_step_whose_undoing_could_not_be_paid_for_is_refused_and_nothing_has_happened() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        budget = Budget(nano_dollars=NanoDollars(PRICE * SAGA_TRIES_MAX * 2 - 1))
        process = await program(kernel, budget=budget)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        with pytest.raises(BudgetHeld):
            await act(kernel, process, id, "book", "hotel")
        assert list(shop.booked.values()) == ["flight"]
        await closed(kernel, process, id, "abort")
        assert own(kernel, process).used.nano_dollars == PRICE

    assert with_priced_shop(scenario).booked == {}


def test_nothing_is_refused_for_want_of_a_budget_that_others_have_spent_since() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel, budget=Budget(calls=4))
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        look = CallTool(tool="look", arguments={"what": ""})
        await result(syscall.enter(kernel, process, look))
        await result(syscall.enter(kernel, process, look))
        with pytest.raises(BudgetHeld):  # The one call that is left is the compensation's.
            await result(syscall.enter(kernel, process, look))
        await closed(kernel, process, id, "abort")
        assert own(kernel, process).used.calls == 4

    assert with_priced_shop(scenario).booked == {}


@pytest.mark.parametrize("way", ["commit", "step fails", "crash"])
def test_a_hold_is_released_when_there_is_nothing_to_undo_and_outlives_the_kernel(way: str) -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        if way == "step fails":
            shop.fail["book flight"] = [ToolFailed("sold out")]
            with pytest.raises(ToolFailed):
                await act(kernel, process, id, "book", "flight")
            assert own(kernel, process).held == NOTHING
            await closed(kernel, process, id, "commit")
            return
        await act(kernel, process, id, "book", "flight")
        if way == "crash":
            before = own(kernel, process).held
            await here.crash(kernel)
            second = await here.boot()
            again = second.processes[process.id]
            assert own(second, again).held == before != NOTHING
            await saga.ended(second, id)  # Its program has gone with the kernel.
            assert own(second, again).used.nano_dollars == PRICE
            assert not second.tables.ledger.holds
            second.tables.ledger.check()
            await here.close(second)
            kernel.tables.ledger.holds.clear()  # Of the dead kernel, which is looked at no more.
            for account in kernel.tables.ledger.accounts.values():
                account.on_hold.take(account.held)
            return
        await closed(kernel, process, id, "commit")
        assert own(kernel, process).held == NOTHING
        assert own(kernel, process).used.nano_dollars == 0

    with_priced_shop(scenario)


def test_a_step_is_undone_as_its_card_said_when_it_was_called() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        card = kernel.tools.find("book").card
        kernel.tools.put(Part(shop, replace(card, compensate="mail", compensate_with={})))
        await act(kernel, process, id, "book", "hotel")
        await closed(kernel, process, id, "abort")

    assert with_priced_shop(scenario).log == [
        "book flight",
        "book hotel",
        "mail hotel",
        "cancel n1",
    ]


def test_where_the_planned_compensation_is_gone_the_card_of_today_says_what_undoes() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        kernel.tools.drop("cancel")
        kernel.tools.put(Part(shop, ToolCard(name="revoke", effect="idempotent")))
        card = kernel.tools.find("book").card
        kernel.tools.put(Part(shop, replace(card, compensate="revoke")))
        assert (await closed(kernel, process, id, "abort")).state == "compensated"

    assert with_priced_shop(scenario).log[-1] == "revoke n1"


def test_a_rule_that_forbids_a_compensation_leaves_it_to_a_person() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        forbid = '@id("frozen") forbid(principal, action, resource == Tool::"cancel");'
        set_policy(kernel, EVERYTHING + forbid)
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        row = await stuck(kernel, id)
        assert "frozen" in row.steps[0].reason and shop.booked
        await saga.settle(kernel, id, SagaOrder(verdict="again", person="Grace"))
        await asyncio.sleep(1)
        assert (await stuck(kernel, id)).steps[0].sticks == 2  # A person's word is no rule.
        set_policy(kernel, EVERYTHING)
        await saga.settle(kernel, id, SagaOrder(verdict="again", person="Grace"))
        assert (await closing).state == "compensated"

    assert with_priced_shop(scenario).log == ["book flight", "cancel n1"]


@pytest.mark.parametrize("by", ["rule", "card"])
def test_where_a_person_is_asked_of_a_compensation_his_word_lets_it_through(by: str) -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        if by == "rule":
            ask = 'forbid(principal, action, resource == Tool::"cancel");'
            set_policy(kernel, f'{EVERYTHING} @id("careful") @ask("may it?") {ask}')
        await act(kernel, process, id, "book", "flight")
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        await stuck(kernel, id)
        await asyncio.sleep(1)
        (question,) = asking.listed(kernel, closed=False)
        assert "asked" in question.text or "careful" in question.text
        order = AnswerOrder(verdict="answer", answer="try it again", person="Grace")
        await answering.answer(kernel, question.id, order)
        assert (await closing).state == "compensated"
        assert saga.find(kernel, id).steps[0].cleared_by == "Grace"

    how = {"approval": "always"} if by == "card" else {}
    assert with_priced_shop(scenario, **how).log == ["book flight", "cancel n1"]


def test_compensations_count_among_the_calls_that_rules_look_at() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        few = (
            '@id("few") forbid(principal, action, resource == Tool::"cancel") '
            "when { context.calls.process.hour >= 1 };"
        )
        set_policy(kernel, EVERYTHING + few)
        process = await program(kernel)
        id = await opened(kernel, process)
        for what in ("flight", "hotel"):
            await act(kernel, process, id, "book", what)
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        row = await stuck(kernel, id)
        assert [step.state for step in row.steps] == ["stuck", "undone"]
        await saga.settle(kernel, id, SagaOrder(verdict="undone", person="Grace"))
        await closing

    assert with_priced_shop(scenario).log[2:] == ["cancel n2"]
