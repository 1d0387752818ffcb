"""Sagas: what was done together is undone together, the last first, once, whatever happens."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool, Exit
from orlop.abi.cards import Effect, ToolCard
from orlop.abi.effects import SettleOrder
from orlop.abi.errors import BadCall, Conflict, Denied, DeviceFailed, EffectUnknown, ToolFailed
from orlop.abi.questions import AnswerOrder
from orlop.abi.replies import ToolResult
from orlop.abi.sagas import CloseSaga, OpenSaga, SagaBegun, SagaOrder, SagaOver
from orlop.kernel import effects, syscall
from orlop.people import answering, asking
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import lifecycle, saga
from orlop.tools.catalog import Catalog


@dataclass(eq=False)
class Shop:
    """What lies outside: things that were booked, by number, and what was asked of it."""

    booked: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    fail: dict[str, list[Exception]] = field(default_factory=dict)

    def tools(self, undo: Effect = "idempotent", **more: object) -> list["Part"]:
        book = ToolCard(
            name="book",
            effect="compensable",
            compensate="cancel",
            compensate_with={"number": "{result.number}", "why": "not wanted: {arguments.what}"},
            **more,  # type: ignore[arg-type]
        )
        return [
            Part(self, book),
            Part(self, ToolCard(name="cancel", effect=undo)),
            Part(self, ToolCard(name="look", effect="pure")),
            Part(self, ToolCard(name="mail")),
        ]


@dataclass(eq=False)
class Part:
    shop: Shop
    card: ToolCard

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        shop, name = self.shop, self.card.name
        shop.log.append(f"{name} {arguments.get('what', arguments.get('number', ''))}")
        await asyncio.sleep(1)
        failures = shop.fail.get(f"{name} {arguments.get('what', arguments.get('number', ''))}", [])
        if failures:
            raise failures.pop(0)
        if name == "book":
            number = f"n{len(shop.log)}"
            shop.booked[number] = str(arguments["what"])
            return {"number": number}
        if name == "cancel":
            shop.booked.pop(str(arguments["number"]), None)
        return "done"

    async def happened(self, key: str) -> bool | None:
        return None


async def opened(kernel: Kernel, process: Process, **how: object) -> str:
    call = OpenSaga(name="trip", **how)  # type: ignore[arg-type]
    done = await result(syscall.enter(kernel, process, call))
    assert isinstance(done, SagaBegun)
    return done.saga


async def act(kernel: Kernel, process: Process, id: str, tool: str, what: str) -> object:
    call = CallTool(tool=tool, arguments={"what": what}, saga=id)
    done = await result(syscall.enter(kernel, process, call))
    assert isinstance(done, ToolResult)
    return done.value


async def closed(kernel: Kernel, process: Process, id: str, verdict: str) -> SagaOver:
    call = CloseSaga(saga=id, verdict=verdict, reason="for the test")  # type: ignore[arg-type]
    done = await result(syscall.enter(kernel, process, call))
    assert isinstance(done, SagaOver)
    return done


def with_shop(
    scenario: Callable[[Computer, Kernel, Shop], Coroutine[object, object, None]],
    **how: object,
) -> Shop:
    shop = Shop()

    async def whole(here: Computer, kernel: Kernel) -> None:
        await scenario(here, kernel, shop)

    on(lambda: Computer(tools=shop.tools(**how)), whole)  # type: ignore[arg-type]
    return shop


def test_what_a_saga_did_is_undone_in_reverse_order() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        for what in ("flight", "hotel", "car"):
            await act(kernel, process, id, "book", what)
            await act(kernel, process, id, "look", what)
        over = await closed(kernel, process, id, "abort")
        assert (over.state, over.undone) == ("compensated", ("book", "book", "book"))

    shop = with_shop(scenario)
    assert shop.booked == {}
    assert shop.log[-3:] == ["cancel n5", "cancel n3", "cancel n1"]


def test_what_was_committed_stays_and_is_not_undone_when_its_process_ends() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        assert (await closed(kernel, process, id, "commit")).state == "committed"
        assert (await closed(kernel, process, id, "commit")).state == "committed"
        with pytest.raises(Conflict, match="committed"):
            await closed(kernel, process, id, "abort")
        with pytest.raises(Conflict, match="nothing can be added"):
            await act(kernel, process, id, "book", "car")
        await lifecycle.signal(kernel, process, "kill", "")
        await lifecycle.ended(kernel, process)
        await asyncio.sleep(100)

    assert list(with_shop(scenario).booked.values()) == ["flight"]


def test_a_process_that_ends_without_a_commit_has_its_saga_undone() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        await lifecycle.signal(kernel, process, "kill", "")
        assert (await saga.ended(kernel, id)).reason == "its process ended without a commit"

    assert with_shop(scenario).booked == {}


def test_a_saga_whose_time_is_over_is_undone() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process, expires_s=60.0)
        await act(kernel, process, id, "book", "flight")
        assert (await saga.ended(kernel, id)).reason == "its time was over"
        assert 60 <= kernel.clock.now_s() < 70

    assert with_shop(scenario).booked == {}


def test_what_could_not_be_undone_is_refused_within_a_saga() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process, other = await program(kernel), await program(kernel)
        id = await opened(kernel, process)
        with pytest.raises(BadCall, match="call it after the commit"):
            await act(kernel, process, id, "mail", "grace")
        with pytest.raises(Denied, match="another process's"):
            await act(kernel, other, id, "book", "flight")
        with pytest.raises(Denied):
            await closed(kernel, other, id, "abort")
        await closed(kernel, process, id, "abort")

    assert with_shop(scenario).log == []


def test_a_compensation_that_fails_is_tried_again_and_then_waits_for_a_person() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        await act(kernel, process, id, "book", "hotel")
        shop.fail["cancel n2"] = [ToolFailed("closed on Sundays") for _ in range(5)]
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        row = await saga.ended(kernel, id, frozenset({"stuck"}))
        assert "closed on Sundays" in row.steps[1].reason
        assert shop.log.count("cancel n2") == 5 and "cancel n1" not in shop.log
        await here.crash(kernel)
        await asyncio.wait([closing])
        assert closing.exception() is not None
        second = await here.boot()
        assert saga.find(second, id).state == "stuck"
        with pytest.raises(BadCall, match="who says so"):
            await saga.settle(second, id, SagaOrder(verdict="again", person=" "))
        await saga.settle(second, id, SagaOrder(verdict="again", person="Grace"))
        over = await saga.ended(second, id)
        assert [step.state for step in over.steps] == ["undone", "undone"]
        with pytest.raises(Conflict, match="nothing waits"):
            await saga.settle(second, id, SagaOrder(verdict="undone", person="Grace"))
        await here.close(second)

    assert with_shop(scenario).booked == {}


def test_a_person_may_have_undone_it_himself() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        shop.fail["cancel n1"] = [DeviceFailed("no answer")]
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        row = await saga.ended(kernel, id, frozenset({"stuck"}))
        assert row.steps[0].is_unknown
        await saga.settle(kernel, id, SagaOrder(verdict="undone", person="Grace"))
        assert (await closing).undone == ("book",)
        assert shop.log.count("cancel n1") == 1

    with_shop(scenario, undo="irreversible")


@pytest.mark.parametrize("happened", [True, False])
def test_a_step_that_nobody_knows_of_waits_for_a_persons_word(happened: bool) -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        shop.fail["book hotel"] = [DeviceFailed("no answer")]
        with pytest.raises(DeviceFailed):
            await act(kernel, process, id, "book", "hotel")
        with pytest.raises(EffectUnknown, match="orlop effects settle"):
            await act(kernel, process, id, "book", "hotel")
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        await saga.ended(kernel, id, frozenset({"stuck"}))
        (unknown,) = await effects.listed(kernel)
        assert (unknown.tool, unknown.arguments, unknown.saga) == ("book", {"what": "hotel"}, id)
        order = SettleOrder(
            happened=happened, result={"number": "n9"} if happened else None, person="Grace"
        )
        await effects.settle(kernel, unknown.id, order)
        assert (await closing).state == "compensated"
        assert ("cancel n9" in shop.log) is happened
        assert await effects.listed(kernel) == []

    assert with_shop(scenario).booked == {}


def test_a_saga_is_not_committed_while_a_step_runs() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        running = asyncio.create_task(act(kernel, process, id, "book", "flight"))
        await asyncio.sleep(0.5)
        with pytest.raises(Conflict, match="book still runs"):
            await closed(kernel, process, id, "commit")
        await closed(kernel, process, id, "abort")  # Waits for it, and then undoes it.
        await running

    assert with_shop(scenario).booked == {}


def test_a_client_that_leaves_has_its_saga_undone() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        await result(syscall.enter(kernel, process, Exit()))
        await lifecycle.signal(kernel, process, "term", "")
        await saga.ended(kernel, id)

    assert with_shop(scenario).booked == {}


def test_a_compensation_that_could_never_be_made_is_refused_with_its_tool() -> None:
    shop = Shop()
    wrong = ToolCard(name="x", compensate="y", compensate_with={"id": "{outcome.id}"})
    with pytest.raises(BadCall, match="compensate_with of tool x"):
        Catalog([Part(shop, wrong)])
    blind = ToolCard(
        name="x", compensate="y", compensate_with={"id": "{result.id}"}, compensate_unknown=True
    )
    with pytest.raises(BadCall, match="there may be none"):
        Catalog([Part(shop, blind)])


def test_a_compensation_that_does_no_harm_is_called_for_what_nobody_knows_of() -> None:
    shop = Shop()
    cards = [
        ToolCard(
            name="book",
            effect="compensable",
            compensate="cancel",
            compensate_with={"number": "{arguments.what}"},
            compensate_unknown=True,
        ),
        ToolCard(name="cancel", effect="idempotent"),
    ]

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        shop.fail["book flight"] = [DeviceFailed("no answer")]
        with pytest.raises(DeviceFailed):
            await act(kernel, process, id, "book", "flight")
        assert (await closed(kernel, process, id, "abort")).undone == ("book",)
        assert shop.log == ["book flight", "cancel flight"]

    on(lambda: Computer(tools=[Part(shop, card) for card in cards]), scenario)


def test_a_run_that_gives_up_for_another_reason_is_answered_alike() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        first = await closed(kernel, process, id, "abort")
        other = CloseSaga(saga=id, verdict="abort", reason="at 0x7f01 this time")
        again = await result(syscall.enter(kernel, process, other, retry=True))
        assert isinstance(again, SagaOver) and again.facts.seq == first.facts.seq

    with_shop(scenario)


@pytest.mark.parametrize("boots", [False, True])
def test_what_is_stuck_is_a_question_to_people_also_when_its_process_is_gone(boots: bool) -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        await act(kernel, process, id, "book", "flight")
        shop.fail["cancel n1"] = [DeviceFailed("no answer")]
        await lifecycle.signal(kernel, process, "kill", "")
        await saga.ended(kernel, id, frozenset({"stuck"}))
        await asyncio.sleep(1)
        if boots:
            await here.crash(kernel)
            kernel = await here.boot()
            await asyncio.sleep(1)
        (question,) = asking.listed(kernel, closed=False)
        assert "could not be undone" in question.text
        assert question.choices == ("it is undone", "try it again")
        order = AnswerOrder(verdict="answer", person="Grace", answer="try it again")
        await answering.answer(kernel, question.id, order)
        over = await saga.ended(kernel, id)
        assert [step.state for step in over.steps] == ["undone"]
        assert shop.log.count("cancel n1") == 2
        assert asking.listed(kernel, closed=False) == []
        if boots:
            await here.close(kernel)

    with_shop(scenario, undo="irreversible")


def test_a_question_about_a_step_is_closed_when_it_is_settled_otherwise() -> None:
    async def scenario(here: Computer, kernel: Kernel, shop: Shop) -> None:
        process = await program(kernel)
        id = await opened(kernel, process)
        shop.fail["book hotel"] = [DeviceFailed("no answer")]
        with pytest.raises(DeviceFailed):
            await act(kernel, process, id, "book", "hotel")
        closing = asyncio.create_task(closed(kernel, process, id, "abort"))
        await saga.ended(kernel, id, frozenset({"stuck"}))
        await asyncio.sleep(1)
        (question,) = asking.listed(kernel, closed=False)
        assert question.choices == ("it did not happen",)
        (unknown,) = await effects.listed(kernel)
        await effects.settle(kernel, unknown.id, SettleOrder(happened=False, person="Grace"))
        await closing
        assert asking.find(kernel, question.id).state == "expired"

    with_shop(scenario)
