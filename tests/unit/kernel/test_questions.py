"""What people are asked: approvals and questions, answered once, across restarts."""

import asyncio
from collections.abc import Mapping

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Ask, CallTool
from orlop.abi.cards import Effect, ToolCard
from orlop.abi.errors import (
    BadCall,
    Conflict,
    DeadlineMissed,
    EffectUnknown,
    Killed,
    NotAnswered,
    NotApproved,
    NotFound,
    ToolFailed,
)
from orlop.abi.hints import Hints
from orlop.abi.questions import AnswerOrder, Question, Verdict
from orlop.abi.replies import Answer, ToolResult
from orlop.kernel import syscall
from orlop.people import answering, asking
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import lifecycle

DAY_S = 86_400.0


class Pay:
    """A tool that takes ten seconds and needs a person's word."""

    def __init__(self, effect: Effect = "irreversible", *, fails: bool = False) -> None:
        self.card = ToolCard(
            name="pay", effect=effect, approval="always", approval_s=DAY_S, concurrency=1
        )
        self.fails = fails
        self.paid: list[object] = []

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        await asyncio.sleep(10)
        if self.fails:
            raise ToolFailed("no money")
        self.paid.append(arguments["to"])
        return "paid"

    async def happened(self, key: str) -> bool | None:
        return None


def enter(kernel: Kernel, process: Process, to: str = "Ada", hints: Hints = Hints()) -> Running:  # noqa: B008
    return syscall.enter(kernel, process, CallTool(tool="pay", arguments={"to": to}, hints=hints))


async def pending(kernel: Kernel, wanted: int = 1) -> list[Question]:
    """What waits for a person, once it is so many."""
    while len(rows := asking.listed(kernel, closed=False)) != wanted:
        await kernel.clock.sleep(0.1)
    return rows


async def say(kernel: Kernel, id: str, verdict: Verdict, answer: str = "") -> Question:
    order = AnswerOrder(verdict=verdict, person="Grace", answer=answer, minutes=2.0)
    return await answering.answer(kernel, id, order)


async def value(running: Running) -> object:
    done = await result(running)
    assert isinstance(done, ToolResult)
    return done.value


def test_a_call_waits_for_a_persons_word_and_shows_exactly_what_it_would_do() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        running = enter(kernel, process)
        (row,) = await pending(kernel)
        await asyncio.sleep(3_600)
        assert tool.paid == [] and not running.ended.is_set()
        assert (row.tool, row.arguments, row.effect) == ("pay", {"to": "Ada"}, "irreversible")
        assert row.pid == process.row.pid
        await say(kernel, row.id, "approve")
        assert await value(running) == "paid"
        done = asking.find(kernel, row.id)
        assert (done.state, done.person, done.minutes) == ("done", "Grace", 2.0)
        assert done.call == running.id

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_denied_call_never_reaches_its_tool_and_hears_why() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = enter(kernel, await program(kernel))
        (row,) = await pending(kernel)
        await say(kernel, row.id, "deny", "wrong account")
        with pytest.raises(NotApproved, match="denied by Grace: wrong account"):
            await result(running)
        assert tool.paid == []

    on(lambda: Computer(tools=[tool]), scenario)


def test_nobody_can_answer_twice_or_in_the_wrong_way() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = enter(kernel, await program(kernel))
        (row,) = await pending(kernel)
        with pytest.raises(BadCall, match="an approval"):
            await say(kernel, row.id, "answer", "yes")
        with pytest.raises(NotFound):
            await say(kernel, "qst_absent", "approve")
        await say(kernel, row.id, "deny")
        for verdict in ("approve", "deny"):
            with pytest.raises(Conflict, match="can't be answered twice"):
                await say(kernel, row.id, verdict)
        with pytest.raises(NotApproved):
            await result(running)

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_an_approval_is_for_these_arguments_and_one_call() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        same = [enter(kernel, process), enter(kernel, process)]
        other = enter(kernel, process, "Eve")
        rows = await pending(kernel, 2)
        assert sorted(str(row.arguments["to"]) for row in rows) == ["Ada", "Eve"]
        (ada,) = [row for row in rows if row.arguments["to"] == "Ada"]
        await say(kernel, ada.id, "approve")
        # Both calls to Ada waited for the one question; one of them may go on, once.
        (second,) = [row for row in await pending(kernel, 2) if row.arguments["to"] == "Ada"]
        assert second.id != ada.id
        await asyncio.sleep(60)
        assert tool.paid == ["Ada"]
        await say(kernel, second.id, "deny")
        (eve,) = await pending(kernel)
        await say(kernel, eve.id, "deny")
        outcomes = await asyncio.gather(*map(value, [*same, other]), return_exceptions=True)
        assert sorted(str(type(outcome).__name__) for outcome in outcomes) == [
            "NotApproved",
            "NotApproved",
            "str",
        ]
        assert tool.paid == ["Ada"]

    on(lambda: Computer(tools=[tool]), scenario)


def test_what_nobody_answers_expires_and_a_new_call_asks_anew() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(NotApproved, match="expired"):
            await result(enter(kernel, process))
        running = enter(kernel, process)
        (row,) = await pending(kernel)
        await say(kernel, row.id, "approve")
        assert await value(running) == "paid"

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_a_call_with_a_deadline_waits_no_longer_and_the_question_stays() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(DeadlineMissed, match="the approval of pay"):
            await result(enter(kernel, process, hints=Hints(deadline_s=60)))
        (row,) = await pending(kernel)
        await say(kernel, row.id, "approve")
        assert await value(enter(kernel, process)) == "paid"
        assert tool.paid == ["Ada"]

    on(lambda: Computer(tools=[tool]), scenario)


def test_an_approval_outlives_the_kernel_and_is_used_once() -> None:
    tool = Pay()

    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        enter(first, process)
        (row,) = await pending(first)
        await here.crash(first)
        second = await here.boot()
        assert [left.id for left in await pending(second)] == [row.id]
        await say(second, row.id, "approve")
        second.snapshot()
        await second.journal.flush()
        await here.crash(second)
        third = await here.boot()
        again = third.processes[process.id]
        assert await value(enter(third, again)) == "paid"
        assert asking.find(third, row.id).state == "done"
        enter(third, again)
        assert (await pending(third))[0].id != row.id
        assert tool.paid == ["Ada"]
        await here.close(third)

    on(lambda: Computer(tools=[tool]), scenario)


def test_what_a_crash_cut_off_is_unknown_and_an_irreversible_tool_is_not_called_again() -> None:
    tool = Pay()

    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        enter(first, process)
        (row,) = await pending(first)
        await say(first, row.id, "approve")
        await asyncio.sleep(5)
        await here.crash(first)
        second = await here.boot()
        assert asking.find(second, row.id).state == "unknown"
        with pytest.raises(EffectUnknown):
            await result(enter(second, second.processes[process.id]))
        await here.close(second)

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_repeatable_tool_that_was_cut_off_goes_on_under_the_same_approval() -> None:
    tool = Pay("idempotent")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        running = enter(kernel, process)
        (row,) = await pending(kernel)
        await say(kernel, row.id, "approve")
        await asyncio.sleep(5)
        running.cancel(Killed("for the test"))
        await running.ended.wait()
        assert asking.find(kernel, row.id).state == "unknown"
        assert await value(enter(kernel, process)) == "paid"
        assert asking.find(kernel, row.id).state == "done"

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_tool_that_fails_has_used_its_approval() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        running = enter(kernel, process)
        (row,) = await pending(kernel)
        await say(kernel, row.id, "approve")
        with pytest.raises(ToolFailed):
            await result(running)
        assert asking.find(kernel, row.id).state == "failed"
        enter(kernel, process)
        assert (await pending(kernel))[0].id != row.id

    on(lambda: Computer(tools=[Pay(fails=True)]), scenario)


def test_a_question_whose_process_has_ended_is_closed() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        enter(kernel, process)
        (row,) = await pending(kernel)
        lifecycle.end(kernel, process, 0, "")
        assert await pending(kernel, 0) == []
        with pytest.raises(Conflict, match="is expired"):
            await say(kernel, row.id, "approve")

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_an_agents_question_waits_for_days_and_across_restarts_and_is_asked_once() -> None:
    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        ask = Ask(text="which one?", choices=("red", "blue"), expires_s=30 * DAY_S)
        running = syscall.enter(first, process, ask)
        (row,) = await pending(first)
        await asyncio.sleep(20 * DAY_S)
        await here.crash(first)
        second = await here.boot()
        assert [left.id for left in await pending(second)] == [row.id]
        with pytest.raises(BadCall, match="one of red, blue"):
            await say(second, row.id, "answer", "green")
        waiting = second.processes[process.id].running[running.id]
        await say(second, row.id, "answer", "blue")
        done = await result(waiting)
        assert isinstance(done, Answer)
        assert (done.text, done.person, done.question) == ("blue", "Grace", row.id)
        await here.close(second)

    on(Computer, scenario)


def test_a_question_that_nobody_answers_ends_in_an_error() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        with pytest.raises(NotAnswered, match="anybody there"):
            await result(syscall.enter(kernel, process, Ask(text="anybody there?", expires_s=60)))
        for wrong in (Ask(text=" "), Ask(text="x", expires_s=0), Ask(text="x", choices=("\n",))):
            with pytest.raises(BadCall):
                syscall.enter(kernel, process, wrong)

    on(Computer, scenario)
