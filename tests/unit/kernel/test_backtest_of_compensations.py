"""A back-test asks the rules of compensations too, and knows what was said of them."""

import asyncio

from small_kernel import Computer, on, program
from unit.kernel.test_policy import EVERYTHING, set_policy
from unit.kernel.test_saga_terms import stuck, with_priced_shop
from unit.kernel.test_sagas import Part, Shop, act, closed, opened

from orlop.abi.cards import ToolCard
from orlop.abi.ids import Nanoseconds
from orlop.abi.policy import BacktestOrder, BacktestReport
from orlop.abi.sagas import SagaOrder
from orlop.kernel import operator, policy_backtest
from orlop.state.core import Kernel
from orlop.subsystems import saga

FROZEN = EVERYTHING + '@id("frozen") forbid(principal, action, resource == Tool::"cancel");'
FEW = (
    EVERYTHING + '@id("few") forbid(principal, action, resource == Tool::"cancel") '
    "when { context.calls.process.hour >= 1 };"
)
CAREFUL = (
    EVERYTHING
    + '@id("careful") @ask("may it?") forbid(principal, action, resource == Tool::"cancel");'
)


async def backtest(kernel: Kernel, rules: str) -> BacktestReport:
    order = BacktestOrder(files={"rules.cedar": rules}, since_ns=Nanoseconds(0))
    return await policy_backtest.backtest(kernel, order)


def test_it_says_which_compensations_other_rules_would_have_refused() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        for what in ("flight", "hotel"):
            await act(kernel, process, id, "book", what)
        await closed(kernel, process, id, "abort")
        same = await backtest(kernel, EVERYTHING)
        frozen = await backtest(kernel, FROZEN)
        assert same.differing == 0
        assert same.calls == frozen.calls
        assert frozen.by_change == {"permit → forbid": 2} and frozen.by_rule == {"frozen": 2}
        steps = [step.call for step in saga.find(kernel, id).steps]
        assert [one.call for one in frozen.newest] == steps[::-1]
        # With the counts of then: the first one was before all others.
        few = await backtest(kernel, FEW)
        assert few.by_change == {"permit → forbid": 1}
        assert [one.call for one in few.newest] == steps[:1]

    with_priced_shop(scenario)


def test_it_knows_what_was_refused_and_what_a_person_has_agreed_to() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        set_policy(kernel, FROZEN)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        await stuck(kernel, id)
        assert (await backtest(kernel, FROZEN)).differing == 0
        freer = await backtest(kernel, EVERYTHING)
        assert freer.by_change == {"forbid → permit": 1} and freer.by_rule == {"frozen": 1}
        shown = await operator.trace(kernel, process.row)
        assert any("frozen" in call.message for call in shown.calls)

        set_policy(kernel, CAREFUL)
        await saga.settle(kernel, id, SagaOrder(verdict="again", person="Grace"))
        assert (await closing).state == "compensated"
        assert (await backtest(kernel, CAREFUL)).by_change == {"forbid → ask": 1}
        eased = await backtest(kernel, EVERYTHING)
        assert eased.by_change == {"forbid → permit": 1, "ask → permit": 1}

    with_priced_shop(scenario)


def test_labels_of_the_step_are_asked_about_with_its_compensation() -> None:
    shop = Shop()
    look = Part(shop, ToolCard(name="look", effect="pure", trust="untrusted"))
    tools = [part for part in shop.tools() if part.card.name != "look"] + [look]

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        await act(kernel, process, id, "look", "around")
        await act(kernel, process, id, "book", "hotel")
        await closed(kernel, process, id, "abort")
        tainted = (
            EVERYTHING + '@id("strangers") forbid(principal, action, resource == Tool::"cancel") '
            'when { context.taint.contains("untrusted") };'
        )
        report = await backtest(kernel, tainted)
        assert report.by_rule == {"strangers": 1}
        hotel = saga.find(kernel, id).steps[-1]
        assert [one.call for one in report.newest] == [hotel.call]

    on(lambda: Computer(tools=tools), scenario)
