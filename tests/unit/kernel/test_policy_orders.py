"""What operators may say and ask of policies: set, reload, explain, test, and back-test."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from simulation_loop import simulate
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool, Sleep
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, Conflict, NotFound, RuleForbids
from orlop.abi.ids import Nanoseconds
from orlop.abi.policy import BacktestOrder, Case, CaseOrder, Files, PolicyOrder
from orlop.kernel import policy_backtest, syscall
from orlop.state.core import Kernel
from orlop.state.guard import Guard, PolicyConfig
from orlop.state.process import Process
from orlop.subsystems import policies

ALL = '@id("all") permit(principal, action, resource);\n'
NONE = ALL + '@id("none") @reason("closed") forbid(principal, action, resource);\n'
FEW = ALL + (
    '@id("few") forbid(principal, action == Action::"call_tool", resource == Tool::"note")\n'
    "when { context.calls.agent.hour >= 2 };\n"
)
DAY_NS = 86_400 * 10**9


class Note:
    def __init__(self) -> None:
        self.card = ToolCard(name="note", effect="pure")

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        return "kept"

    async def happened(self, key: str) -> bool | None:
        return None


def files(text: str) -> Files:
    return {"rules.cedar": text}


async def note(kernel: Kernel, process: Process, number: int) -> object:
    call = CallTool(tool="note", arguments={"number": number})
    return await result(syscall.enter(kernel, process, call))


def computer() -> Computer:
    return Computer(tools=[Note()])


def test_a_policy_that_was_set_is_in_force_after_a_crash() -> None:
    async def whole() -> None:
        here = computer()
        kernel = await here.boot()
        await policies.put(kernel, PolicyOrder(files=files(NONE), origin="me"))
        await policies.put(kernel, PolicyOrder(files=files(FEW), origin="me", shadow=True))
        await here.crash(kernel)
        again = await here.boot()
        view = policies.view(again)
        assert (view.origin, [rule.id for rule in view.rules]) == ("me", ["all", "none"])
        assert view.shadow is not None and view.shadow.files == files(FEW)
        with pytest.raises(RuleForbids, match="closed"):
            await note(again, await program(again), 1)
        await policies.remove(again, shadow=False)
        await policies.remove(again, shadow=True)
        again.snapshot()
        await again.journal.flush()
        await here.crash(again)
        third = await here.boot()
        assert policies.view(third).origin == "built in" and third.guard.shadow is None
        await note(third, await program(third), 1)
        await here.close(third)

    simulate(1, whole())


def test_what_is_wrong_changes_nothing() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await policies.put(kernel, PolicyOrder(files=files(FEW)))
        before = kernel.guard.policy
        for wrong in ("permit(", ALL + ALL, "", ALL.replace("resource)", "resource is Toll)")):
            with pytest.raises(BadCall, match=r"rules\.cedar|no rule"):
                await policies.put(kernel, PolicyOrder(files=files(wrong)))
        assert kernel.guard.policy is before
        report = await policies.check(kernel, files("permit("))
        assert report.digest == "" and report.findings[0].line == 1
        with pytest.raises(NotFound):
            await policies.remove(kernel, shadow=True)

    on(computer, scenario)


def test_a_folder_is_read_at_power_on_and_again_when_asked(tmp_path: Path) -> None:
    rules = tmp_path / "rules.cedar"
    rules.write_text(FEW)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        kernel.guard = Guard(PolicyConfig(dir=str(tmp_path)))
        policies.begin(kernel)
        process = await program(kernel)
        assert list(kernel.guard.policy.rules) == ["all", "few"]
        with pytest.raises(Conflict, match="policy reload"):
            await policies.put(kernel, PolicyOrder(files=files(ALL)))
        with pytest.raises(Conflict):
            await policies.remove(kernel, shadow=False)
        rules.write_text("permit(principal, action")
        with pytest.raises(BadCall, match=r"the old policy stays in force: rules\.cedar:1"):
            await policies.reload(kernel)
        view = policies.view(kernel)
        assert "rules.cedar:1" in view.problem and len(view.rules) == 2
        await note(kernel, process, 1)
        rules.write_text(NONE)
        view = await policies.reload(kernel)
        assert not view.problem
        with pytest.raises(RuleForbids):
            await note(kernel, process, 2)

    on(computer, scenario)


def test_a_folder_that_never_could_be_read_refuses_everything_until_it_can(tmp_path: Path) -> None:
    rules = tmp_path / "rules.cedar"
    rules.write_text("permit(")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        kernel.guard = Guard(PolicyConfig(dir=str(tmp_path)))
        policies.begin(kernel)
        process = await program(kernel)
        with pytest.raises(RuleForbids, match="can't be read"):
            await note(kernel, process, 1)
        rules.write_text(ALL)
        await policies.reload(kernel)
        await note(kernel, process, 1)
        assert not policies.view(kernel).problem

    on(computer, scenario)


def test_a_broken_folder_at_power_on_keeps_what_the_journal_has(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await policies.put(kernel, PolicyOrder(files=files(FEW), origin="before"))
        (tmp_path / "rules.cedar").write_text("forbid")
        kernel.guard = Guard(PolicyConfig(dir=str(tmp_path)))
        policies.begin(kernel)
        view = policies.view(kernel)
        assert view.origin == "before" and "rules.cedar:1" in view.problem

    on(computer, scenario)


def test_calls_that_run_while_a_policy_changes_are_decided_by_one_of_the_two() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        outcomes: list[str] = []

        async def caller() -> None:
            for number in range(40):
                try:
                    await note(kernel, process, number)
                    outcomes.append("kept")
                except RuleForbids as refused:
                    assert "closed" in refused.message
                    outcomes.append("refused")
                await asyncio.sleep(0.01)

        async def changer() -> None:
            for _ in range(10):
                for text in (NONE, ALL):
                    await policies.put(kernel, PolicyOrder(files=files(text)))
                    await asyncio.sleep(0.013)

        await asyncio.gather(caller(), changer())
        assert set(outcomes) == {"kept", "refused"} and len(outcomes) == 40

    on(computer, scenario)


def test_why_explains_permitted_and_refused_calls_and_ones_without_a_policy() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, name="writer")
        before = syscall.enter(kernel, process, CallTool(tool="note"))
        await result(before)
        await policies.put(kernel, PolicyOrder(files=files(FEW)))
        calls = [syscall.enter(kernel, process, CallTool(tool="note", arguments={"n": 1}))]
        await result(calls[0])
        calls.append(syscall.enter(kernel, process, CallTool(tool="note", arguments={"n": 2})))
        with pytest.raises(RuleForbids):
            await result(calls[1])
        first, second = [await policies.why(kernel, call.id) for call in calls]
        assert (first.decision.verdict, first.decision.rules) == ("permit", ("all",))
        assert first.decision.facts == {"calls": {"agent": {"hour": 1}}}
        assert (second.was_refused, second.decision.rules) == (True, ("few",))
        assert second.decision.facts == {"calls": {"agent": {"hour": 2}}}
        assert "context.calls.agent.hour >= 2" in second.rules[0].text
        assert (await policies.why(kernel, before.id)).decision.reason == "no policy was set"
        sleep = syscall.enter(kernel, process, Sleep(seconds=1))
        await result(sleep)
        assert "own affair" in (await policies.why(kernel, sleep.id)).decision.reason
        with pytest.raises(NotFound):
            await policies.why(kernel, "cal_absent")

    on(computer, scenario)


def test_cases_know_the_cards_of_tools_that_are_here() -> None:
    rules = ALL + (
        '@id("acts") forbid(principal, action == Action::"call_tool", resource)\n'
        'when { resource.effect == "irreversible" };\n'
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        cases = (
            Case(name="note", action="call_tool", resource="note", expect="permit"),
            Case(name="other", action="call_tool", resource="other", expect="permit"),
        )
        results = await policies.run_cases(kernel, CaseOrder(cases=cases, files=files(rules)))
        assert [one.passed for one in results] == [True, False]
        assert results[1].wrong == "forbid, not permit"
        await policies.put(kernel, PolicyOrder(files=files(rules)))
        results = await policies.run_cases(kernel, CaseOrder(cases=cases))
        assert [one.passed for one in results] == [True, False]

    on(computer, scenario)


def test_a_difference_is_told_rule_by_rule() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await policies.put(kernel, PolicyOrder(files=files(FEW)))
        changed = FEW.replace(">= 2", ">= 3").replace('@id("all")', '@id("any")')
        found = await policies.difference(kernel, files(changed))
        assert [(one.rule, one.change) for one in found] == [
            ("all", "removed"),
            ("any", "added"),
            ("few", "changed"),
        ]
        assert await policies.difference(kernel, files(FEW)) == []

    on(computer, scenario)


def test_a_backtest_says_what_would_have_come_out_otherwise_with_the_counts_of_then() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, name="writer")
        start_ns = kernel.clock.wall_ns()
        for number in range(4):
            await note(kernel, process, number)
        await asyncio.sleep(7_200)
        middle_ns = kernel.clock.wall_ns()
        for number in range(3):
            await note(kernel, process, number)
        order = BacktestOrder(files=files(FEW), since_ns=Nanoseconds(start_ns))
        report = await policy_backtest.backtest(kernel, order)
        assert (report.calls, report.differing) == (7, 3)
        assert report.by_change == {"permit → forbid": 3}
        assert report.by_rule == {"few": 3}
        counts = [one.now.facts["calls"] for one in report.newest]
        assert counts == [
            {"agent": {"hour": 2}},
            {"agent": {"hour": 3}},
            {"agent": {"hour": 2}},
        ]
        later = BacktestOrder(files=files(FEW), since_ns=Nanoseconds(middle_ns))
        assert (await policy_backtest.backtest(kernel, later)).calls == 3
        kernel.snapshot()
        await kernel.journal.flush()
        await asyncio.sleep(60)
        await note(kernel, process, 99)
        newest = BacktestOrder(
            files=files(FEW), since_ns=Nanoseconds(kernel.clock.wall_ns() - 30 * 10**9)
        )
        report = await policy_backtest.backtest(kernel, newest)
        assert (report.calls, report.differing) == (1, 1)
        with pytest.raises(BadCall, match="future"):
            future = Nanoseconds(kernel.clock.wall_ns() + DAY_NS)
            await policy_backtest.backtest(kernel, BacktestOrder(files=files(ALL), since_ns=future))

    on(computer, scenario)


def test_a_backtest_sees_calls_that_were_refused_and_agrees_with_what_was_decided() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, name="writer")
        await policies.put(kernel, PolicyOrder(files=files(FEW)))
        for number in range(4):
            try:
                await note(kernel, process, number)
            except RuleForbids:
                assert number >= 2
        order = BacktestOrder(files=files(FEW), since_ns=Nanoseconds(0))
        same = await policy_backtest.backtest(kernel, order)
        assert (same.calls, same.differing) == (4, 0)
        order = BacktestOrder(files=files(ALL), since_ns=Nanoseconds(0))
        freer = await policy_backtest.backtest(kernel, order)
        assert freer.by_change == {"forbid → permit": 2} and freer.by_rule == {"few": 2}

    on(computer, scenario)
