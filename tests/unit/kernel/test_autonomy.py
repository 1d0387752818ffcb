"""Progressive autonomy: each level's meaning, and what moves an agent up and down."""

import asyncio
from collections.abc import Mapping

import pytest
from small_kernel import Computer, ask, on, program, result

from orlop.abi.autonomy import AutonomyRow, IncidentOrder, Level, LevelOrder
from orlop.abi.calls import CallTool, Infer
from orlop.abi.cards import ToolCard
from orlop.abi.errors import NotApproved, NotFound, Observed
from orlop.abi.hints import Hints
from orlop.abi.messages import Message
from orlop.abi.questions import AnswerOrder, Question, Verdict
from orlop.abi.replies import ToolResult
from orlop.kernel import syscall
from orlop.people import answering, asking, trust
from orlop.people.house import Desk, Speaker
from orlop.people.rules import AutonomyConfig
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running

GRACE = Speaker("grace", "token")


class Refund:
    def __init__(self, description: str = "") -> None:
        self.card = ToolCard(name="refund", description=description, effect="idempotent")
        self.done: list[object] = []

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.done.append(arguments["order"])
        return "refunded"

    async def happened(self, key: str) -> bool | None:
        return None


def ruled(start: Level = "approve", ceiling: Level = "autonomous", **more: float) -> Desk:
    rule = AutonomyConfig(tools=("refund",), start=start, ceiling=ceiling, **more)  # type: ignore[arg-type]
    return Desk(rules={"refunds": rule})


def refund(kernel: Kernel, process: Process, order: int, task: str = "") -> Running:
    call = CallTool(tool="refund", arguments={"order": order}, hints=Hints(task_type=task))
    return syscall.enter(kernel, process, call)


async def value(running: Running) -> object:
    done = await result(running)
    assert isinstance(done, ToolResult)
    return done.value


async def pending(kernel: Kernel, wanted: int = 1) -> list[Question]:
    while len(rows := asking.listed(kernel, closed=False)) != wanted:
        await kernel.clock.sleep(0.1)
    return rows


def row_of(kernel: Kernel, process: Process, task: str = "") -> AutonomyRow:
    return trust.find(kernel, process.row.tenant, process.row.name, "refund", task)


async def judged(
    kernel: Kernel, process: Process, orders: range, verdict: Verdict = "approve"
) -> None:
    """A person answers a call after another in the same way."""
    for order in orders:
        running = refund(kernel, process, order)
        (row,) = await pending(kernel)
        await answering.answer(kernel, row.id, AnswerOrder(verdict=verdict), GRACE)
        if verdict == "approve":
            await value(running)
        else:
            with pytest.raises(NotApproved):
                await result(running)


def test_who_is_observed_is_told_so_and_judged_later() -> None:
    tool = Refund()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(Observed, match="only observed"):
            await result(refund(kernel, process, 1))
        assert tool.done == []
        (row,) = asking.listed(kernel, closed=False)
        assert (row.form, row.arguments, row.level) == ("observation", {"order": 1}, "observe")
        await answering.answer(kernel, row.id, AnswerOrder(verdict="agree"), GRACE)
        known = row_of(kernel, process)
        assert (known.level, known.agreed, known.judged) == ("observe", 1, 1)
        with pytest.raises(Observed):
            await result(refund(kernel, process, 1))

    on(lambda: Computer(tools=[tool], desk=lambda: ruled("observe")), scenario)


def test_what_is_suggested_is_done_by_a_person_and_never_by_the_tool() -> None:
    tool = Refund()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        running = refund(kernel, process, 1)
        (row,) = await pending(kernel)
        assert row.form == "suggestion"
        order = AnswerOrder(verdict="take", result={"refunded": 1})
        await answering.answer(kernel, row.id, order, GRACE)
        assert await value(running) == {"refunded": 1}
        assert tool.done == []
        assert row_of(kernel, process).agreed == 1

    on(lambda: Computer(tools=[tool], desk=lambda: ruled("suggest")), scenario)


def test_evidence_moves_an_agent_up_one_level_and_says_on_which_numbers() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await judged(kernel, process, range(19))
        assert row_of(kernel, process).level == "approve"
        await judged(kernel, process, range(19, 20))
        row = row_of(kernel, process)
        assert (row.level, row.agreed, row.judged) == ("sample", 0, 0)
        move = row.moves[-1].move
        assert (move.cause, move.agreed, move.judged) == ("evidence", 20, 20)
        assert 0.83 < move.bound < 0.84  # 0.025 ** (1 / 20), of the first look.

    desk = lambda: ruled(evidence_min=20, promote_at=0.8)  # noqa: E731
    on(lambda: Computer(tools=[Refund()], desk=desk), scenario)


def test_a_sample_is_drawn_and_the_rest_goes_through_unseen() -> None:
    tool = Refund()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        runnings = [refund(kernel, process, order) for order in range(200)]
        await asyncio.sleep(60)
        drawn = asking.listed(kernel, closed=False)
        assert 25 < len(drawn) < 75 and len(tool.done) == 200 - len(drawn)
        assert row_of(kernel, process).passed == len(tool.done)
        through = next(running for running in runnings if running.ended.is_set())
        assert through.cleared_by == "autonomy sample"
        for row in drawn:
            await answering.answer(kernel, row.id, AnswerOrder(verdict="approve"), GRACE)
        await asyncio.gather(*map(value, runnings))
        assert len(tool.done) == 200

    on(lambda: Computer(tools=[tool], desk=lambda: ruled("sample", sample=0.25)), scenario)


def test_a_call_that_was_denied_is_not_left_to_chance_again() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        order = LevelOrder(agent=process.row.name, tool="refund", level="approve")
        await trust.set_level(kernel, order, GRACE)
        await judged(kernel, process, range(1), "deny")
        again = LevelOrder(agent=process.row.name, tool="refund", level="sample")
        await trust.set_level(kernel, again, GRACE)
        refund(kernel, process, 0)
        (row,) = await pending(kernel)
        assert "denied before" in row.asked_by

    on(lambda: Computer(tools=[Refund()], desk=lambda: ruled("approve", sample=0.0)), scenario)


def test_drift_moves_an_agent_down_at_once() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        order = LevelOrder(agent=process.row.name, tool="refund", level="sample", reason="known")
        await trust.set_level(kernel, order, GRACE)
        await judged(kernel, process, range(6))
        await judged(kernel, process, range(6, 7), "deny")
        assert row_of(kernel, process).level == "sample"
        await judged(kernel, process, range(7, 8), "deny")
        row = row_of(kernel, process)
        assert (row.level, row.moves[-1].move.cause) == ("approve", "drift")
        assert row.overrides == 2 and row.decisions == 8

    desk = lambda: ruled(sample=1.0, window=8, demote_at=0.8)  # noqa: E731
    on(lambda: Computer(tools=[Refund()], desk=desk), scenario)


def test_an_incident_takes_an_agent_back_to_the_start_at_once() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        agent = process.row.name
        with pytest.raises(NotFound):
            order = IncidentOrder(agent=agent, tool="refund", reason="wrong customer")
            await trust.incident(kernel, order, GRACE)
        level = LevelOrder(agent=agent, tool="refund", level="autonomous")
        await trust.set_level(kernel, level, GRACE)
        assert await value(refund(kernel, process, 1)) == "refunded"
        await trust.incident(kernel, order, GRACE)
        row = row_of(kernel, process)
        assert (row.level, row.incidents) == ("suggest", 1)
        assert row.moves[-1].move.reason == "wrong customer"
        refund(kernel, process, 2)
        assert (await pending(kernel))[0].form == "suggestion"

    on(lambda: Computer(tools=[Refund()], desk=lambda: ruled("suggest")), scenario)


async def infer(kernel: Kernel, process: Process, rules: str) -> None:
    messages = (Message("system", rules), Message("user", "what now?"))
    await result(syscall.enter(kernel, process, Infer(model="fake", messages=messages)))


def test_a_new_prompt_takes_an_agent_back_before_its_next_call() -> None:
    tool = Refund()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await infer(kernel, process, "be kind")
        order = LevelOrder(agent=process.row.name, tool="refund", level="autonomous")
        refund(kernel, process, 0)
        (row,) = await pending(kernel)
        await answering.answer(kernel, row.id, AnswerOrder(verdict="approve"), GRACE)
        await trust.set_level(kernel, order, GRACE)
        await infer(kernel, process, "be kind")
        assert await value(refund(kernel, process, 1)) == "refunded"
        await infer(kernel, process, "refund everybody")
        refund(kernel, process, 2)
        await pending(kernel)
        move = row_of(kernel, process).moves[-1].move
        assert (move.was, move.level, move.cause) == ("autonomous", "approve", "version")
        assert "prompt:" in move.reason

    on(lambda: Computer(tools=[tool], desk=ruled), scenario)


def test_a_tool_that_says_something_else_is_a_new_tool() -> None:
    tools = [Refund("pays back")]

    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        await result(syscall.enter(first, process, ask("hello")))
        order = LevelOrder(agent=process.row.name, tool="refund", level="autonomous")
        await trust.set_level(first, order, GRACE)
        assert await value(refund(first, process, 1)) == "refunded"
        await here.crash(first)
        tools[0] = Refund("pays back twice")
        here.tools = tools
        second = await here.boot()
        refund(second, second.processes[process.id], 2)
        await pending(second)
        row = row_of(second, second.processes[process.id])
        assert (row.level, row.moves[-1].move.cause) == ("approve", "version")
        await here.close(second)

    on(lambda: Computer(tools=tools, desk=ruled), scenario)


def test_levels_are_kept_apart_by_the_type_of_the_task() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        order = LevelOrder(agent=process.row.name, tool="refund", task="small", level="autonomous")
        await trust.set_level(kernel, order, GRACE)
        await trust.set_level(kernel, order, GRACE)
        running = refund(kernel, process, 1, "small")
        big = refund(kernel, process, 1, "big")
        (row,) = await pending(kernel)
        assert row.task in ("small", "big")
        await answering.answer(kernel, row.id, AnswerOrder(verdict="approve"), GRACE)
        await running.ended.wait()
        assert {view.row.key.task for view in trust.listed(kernel)} == {"small", "big"}
        big.leave()

    on(lambda: Computer(tools=[Refund()], desk=ruled), scenario)
