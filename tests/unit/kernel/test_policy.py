"""The policy at the door: what is refused, asked, remembered, and said."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace
from simulation_loop import simulate
from small_kernel import Computer, ask, on, program, result

from orlop.abi.calls import CallTool, Signal
from orlop.abi.cards import Effect, ToolCard
from orlop.abi.errors import Misconfigured, NotApproved, RuleForbids
from orlop.abi.events import CallEntered
from orlop.abi.ids import NanoDollars, Seq
from orlop.abi.limits import POLICY_ARGUMENTS_BYTES_MAX, REFUSALS_JOURNALED_MAX
from orlop.abi.policy import Files, PolicyRefused
from orlop.abi.questions import AnswerOrder
from orlop.access.policy import Policy
from orlop.access.policy_reading import read
from orlop.kernel import operator, syscall
from orlop.people import answering, asking
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.guard import Guard, PolicyConfig
from orlop.state.process import Process
from orlop.subsystems import policies

EVERYTHING = '@id("all") permit(principal, action, resource);\n'


class Note:
    """A tool that keeps what it was given."""

    def __init__(self, name: str = "note", effect: Effect = "pure", seconds: float = 0.0) -> None:
        self.card = ToolCard(name=name, effect=effect)
        self.kept: list[dict[str, object]] = []
        self.seconds = seconds

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        await asyncio.sleep(self.seconds)
        self.kept.append(dict(arguments))
        return "kept"

    async def happened(self, key: str) -> bool | None:
        return None


def set_policy(kernel: Kernel, rules: str, groups: str = "") -> None:
    kernel.guard.put(made(kernel, rules, groups))


def made(kernel: Kernel, rules: str, groups: str = "") -> Policy:
    files: Files = {"rules.cedar": rules} | ({"groups.toml": groups} if groups else {})

    def shape(tool: str) -> Mapping[str, object] | None:
        card = kernel.tools.card(tool)
        return card.parameters if card is not None else None

    found = read(files, shape)
    assert found.is_usable, found.findings
    return Policy(files, "test", found)


async def call(kernel: Kernel, process: Process, tool: str = "note", **arguments: object) -> object:
    return await result(syscall.enter(kernel, process, CallTool(tool=tool, arguments=arguments)))


async def refusals(kernel: Kernel, process: Process) -> list[PolicyRefused]:
    await kernel.journal.flush()
    events = [codec.decode(stored) for stored in await kernel.journal.of_process(process.id)]
    return [event for event in events if isinstance(event, PolicyRefused)]


def test_where_nothing_is_set_everything_goes_and_the_journal_says_no_more() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await call(kernel, process, text="a")
        await kernel.journal.flush()
        entered = [
            event
            for stored in await kernel.journal.read(Seq(1))
            if isinstance(event := codec.decode(stored), CallEntered)
        ]
        assert [event.decision for event in entered] == [None]
        assert kernel.guard.policy.is_open

    on(lambda: Computer(tools=[Note()]), scenario)


def test_what_no_rule_permits_is_refused_named_and_journaled() -> None:
    tool = Note()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, 'permit(principal, action == Action::"infer", resource);')
        process = await program(kernel, name="writer")
        await result(syscall.enter(kernel, process, ask("hello")))
        with pytest.raises(RuleForbids, match="call_tool note is refused: no rule permits it"):
            await call(kernel, process, text="a")
        (event,) = await refusals(kernel, process)
        assert (event.action, event.resource, event.decision.rules) == ("call_tool", "note", ())
        assert isinstance(event.body, CallTool) and event.body.arguments == {"text": "a"}
        assert tool.kept == []

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_refusal_names_its_rule_and_its_reason() -> None:
    rules = EVERYTHING + (
        '@id("quiet") @reason("not by the writer")\n'
        'forbid(principal in Agent::"writer", action == Action::"call_tool", resource);'
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        writer, reader = await program(kernel, name="writer"), await program(kernel, name="reader")
        with pytest.raises(RuleForbids, match="refused by quiet: not by the writer"):
            await call(kernel, writer)
        await call(kernel, reader)
        (event,) = await refusals(kernel, writer)
        assert event.decision.rules == ("quiet",)
        (shown,) = (await operator.trace(kernel, writer.row)).calls
        assert (shown.status, shown.kind, shown.what) == (
            "E1104",
            "call_tool",
            "note",
        ) and "quiet" in shown.message

    on(lambda: Computer(tools=[Note()]), scenario)


def test_a_count_in_a_window_holds_also_for_calls_in_flight() -> None:
    tool = Note(seconds=30)
    rules = EVERYTHING + (
        '@id("few") forbid(principal, action == Action::"call_tool", resource == Tool::"note")\n'
        "when { context.calls.agent.hour >= 3 };"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        processes = [await program(kernel, name="writer") for _ in range(5)]
        calls = [call(kernel, process, number=n) for n, process in enumerate(processes)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, RuleForbids) for outcome in outcomes) == 2
        assert len(tool.kept) == 3
        await asyncio.sleep(3_700)
        await call(kernel, processes[0])
        other = await program(kernel, name="reader")
        await call(kernel, other)

    on(lambda: Computer(tools=[tool]), scenario)


def test_counts_outlive_the_kernel() -> None:
    rules = EVERYTHING + (
        '@id("few") forbid(principal, action == Action::"call_tool", resource)\n'
        "when { context.calls.organisation.day >= 2 };"
    )

    async def whole() -> None:
        here = Computer(tools=[Note()])
        kernel = await here.boot()
        process = await program(kernel)
        for number in range(2):
            await call(kernel, process, number=number)
        kernel.snapshot()
        await kernel.journal.flush()
        await here.crash(kernel)
        again = await here.boot()
        set_policy(again, rules)
        with pytest.raises(RuleForbids, match="few"):
            await call(again, await program(again), number=3)
        await here.close(again)

    simulate(1, whole())


def test_a_rule_that_asks_waits_for_a_person_and_shows_which_rule_it_was() -> None:
    tool = Note()
    rules = EVERYTHING + (
        '@id("large") @ask("more than 100")\n'
        'forbid(principal, action == Action::"call_tool", resource == Tool::"note")\n'
        "when { context.arguments has amount && context.arguments.amount > 100 };"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        process = await program(kernel)
        await call(kernel, process, amount=100)
        running = syscall.enter(kernel, process, CallTool(tool="note", arguments={"amount": 101}))
        await asyncio.sleep(60)
        (row,) = asking.listed(kernel, closed=False)
        assert "more than 100" in row.text and row.arguments == {"amount": 101}
        assert len(tool.kept) == 1
        await answering.answer(kernel, row.id, AnswerOrder(verdict="approve", person="Grace"))
        await result(running)
        assert tool.kept == [{"amount": 100}, {"amount": 101}]
        denied = syscall.enter(kernel, process, CallTool(tool="note", arguments={"amount": 102}))
        await asyncio.sleep(60)
        (row,) = asking.listed(kernel, closed=False)
        await answering.answer(kernel, row.id, AnswerOrder(verdict="deny", person="Grace"))
        with pytest.raises(NotApproved):
            await result(denied)

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_rule_that_comes_while_a_person_thinks_counts() -> None:
    tool = Note()
    asks = '@id("ask") @ask("may it?") forbid(principal, action, resource is Tool);'

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, EVERYTHING + asks)
        running = syscall.enter(kernel, await program(kernel), CallTool(tool="note"))
        await asyncio.sleep(60)
        (row,) = asking.listed(kernel, closed=False)
        set_policy(kernel, EVERYTHING + '@id("never") forbid(principal, action, resource);')
        await answering.answer(kernel, row.id, AnswerOrder(verdict="approve", person="Grace"))
        with pytest.raises(RuleForbids, match="never"):
            await result(running)
        assert tool.kept == []

    on(lambda: Computer(tools=[tool]), scenario)


def test_calls_that_are_no_tools_can_be_asked_about_too() -> None:
    rules = EVERYTHING + (
        '@id("models") @ask("a model?") forbid(principal, action == Action::"infer", resource);'
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        running = syscall.enter(kernel, await program(kernel), ask("hello"))
        await asyncio.sleep(5)
        (row,) = asking.listed(kernel, closed=False)
        assert row.tool == "infer" and row.arguments["model"] == "fake"
        await answering.answer(kernel, row.id, AnswerOrder(verdict="approve", person="Grace"))
        await result(running)

    on(lambda: Computer(), scenario)


def test_no_persons_word_undoes_a_firm_rule_or_makes_up_for_a_missing_permit() -> None:
    asks = '@id("maybe") @ask("may it?") forbid(principal, action, resource);'

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        set_policy(kernel, asks)
        with pytest.raises(RuleForbids, match="no rule permits it"):
            await call(kernel, process)
        set_policy(kernel, EVERYTHING + asks + '@id("never") forbid(principal, action, resource);')
        with pytest.raises(RuleForbids, match="never"):
            await call(kernel, process)
        assert asking.listed(kernel, closed=True) == []

    on(lambda: Computer(tools=[Note()]), scenario)


def test_a_rule_that_cant_be_evaluated_refuses() -> None:
    rules = EVERYTHING + (
        '@id("amount") forbid(principal, action == Action::"call_tool", resource)\n'
        "when { context.arguments.amount > 100 };"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        process = await program(kernel)
        await call(kernel, process, amount=1)
        large = {"amount": 1, "text": "x" * POLICY_ARGUMENTS_BYTES_MAX}
        for wrong in ({}, {"amount": "many"}, {"amount": 0.5}, {"amount": 2**70}, large):
            with pytest.raises(RuleForbids, match="amount can't be decided"):
                await call(kernel, process, **wrong)

    on(lambda: Computer(tools=[Note()]), scenario)


def test_groups_hold_agents_teams_and_tools_by_patterns() -> None:
    rules = (
        'permit(principal in Group::"office", action == Action::"call_tool",\n'
        '       resource in Group::"papers");'
    )
    groups = '[groups]\noffice = ["agent:clerk-*"]\npapers = ["tool:note*"]\n'

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules, groups)
        clerk, cook = await program(kernel, name="clerk-1"), await program(kernel, name="cook")
        await call(kernel, clerk)
        for process, tool in ((cook, "note"), (clerk, "burn")):
            with pytest.raises(RuleForbids):
                await call(kernel, process, tool)

    on(lambda: Computer(tools=[Note(), Note("burn")]), scenario)


def test_a_rule_about_engines_leaves_those_that_it_permits() -> None:
    rules = EVERYTHING + (
        '@id("here") forbid(principal, action == Action::"infer", resource)\n'
        'when { context.engine != "engine" };'
    )
    nowhere = rules.replace("!=", "==")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        set_policy(kernel, rules)
        await result(syscall.enter(kernel, process, ask("hello")))
        set_policy(kernel, nowhere)
        with pytest.raises(RuleForbids, match="here"):
            await result(syscall.enter(kernel, process, ask("again")))

    on(lambda: Computer(), scenario)


def test_a_recorded_answer_is_given_again_whatever_the_rules_say_now() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        said = CallTool(tool="note", arguments={"text": "a"})
        await result(syscall.enter(kernel, process, said, nonce="one"))
        set_policy(kernel, '@id("none") forbid(principal, action, resource);')
        await result(syscall.enter(kernel, process, said, nonce="one", retry=True))
        with pytest.raises(RuleForbids):
            await result(syscall.enter(kernel, process, said, nonce="two"))

    on(lambda: Computer(tools=[Note()]), scenario)


def test_processes_are_things_too() -> None:
    rules = EVERYTHING + (
        '@id("hands-off") forbid(principal, action == Action::"signal", resource)\n'
        "when { principal.team != resource.team };"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        red, blue = await program(kernel, team="red"), await program(kernel, team="blue")
        with pytest.raises(RuleForbids, match="hands-off"):
            await result(syscall.enter(kernel, red, Signal(process=blue.id, signal="stop")))

    on(lambda: Computer(), scenario)


def test_a_shadow_policy_is_asked_and_nothing_comes_of_it() -> None:
    tool = Note()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        strict = '@id("none") forbid(principal, action == Action::"call_tool", resource);'
        kernel.guard.put_shadow(made(kernel, EVERYTHING + strict))
        process = await program(kernel)
        await call(kernel, process)
        await result(syscall.enter(kernel, process, ask("hello")))
        assert len(tool.kept) == 1
        guard = kernel.guard
        assert (guard.shadow_tally.decisions, guard.differing) == (2, 1)
        (difference,) = guard.differences
        assert (difference.was.verdict, difference.now.verdict) == ("permit", "forbid")
        assert difference.now.rules == ("none",)

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_decision_lies_in_the_journal_with_its_call() -> None:
    rules = EVERYTHING + (
        '@id("late") forbid(principal, action, resource) when { context.time.hour > 23 };'
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        process = await program(kernel)
        await call(kernel, process, text="a")
        await kernel.journal.flush()
        events = [codec.decode(stored) for stored in await kernel.journal.of_process(process.id)]
        (entered,) = [event for event in events if isinstance(event, CallEntered)]
        assert entered.decision is not None
        assert entered.decision.rules == ("all",)
        assert list(entered.decision.facts) == ["time"]
        assert entered.decision.policy == kernel.guard.policy.digest[:16]

    on(lambda: Computer(tools=[Note()]), scenario)


def test_the_clock_of_rules_is_in_the_zone_of_the_settings() -> None:
    rules = EVERYTHING + (
        '@id("when") forbid(principal, action == Action::"call_tool", resource)\n'
        "when { context.time.hour >= 0 && context.time.minute >= 0 && context.time.weekday > 0"
        " && context.time.unix > 0 };"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        now = datetime.fromtimestamp(kernel.clock.wall_ns() // 10**9, UTC)
        process = await program(kernel)
        for zone in ("UTC", "Asia/Kolkata"):
            kernel.guard = Guard(PolicyConfig(zone=zone))
            set_policy(kernel, rules)
            with pytest.raises(RuleForbids):
                await call(kernel, process)
            there = now.astimezone(ZoneInfo(zone))
            said = (await refusals(kernel, process))[-1].decision.facts["time"]
            assert said == {
                "hour": there.hour,
                "minute": there.minute,
                "weekday": there.isoweekday(),
                "unix": int(now.timestamp()),
            }

    on(lambda: Computer(tools=[Note()]), scenario)


def test_settings_that_make_no_sense_are_refused_before_anything_starts() -> None:
    with pytest.raises(Misconfigured, match="Mars/Olympus"):
        policies.check_config(PolicyConfig(zone="Mars/Olympus"))
    with pytest.raises(Misconfigured, match="the whole path"):
        policies.check_config(PolicyConfig(dir="rules"))
    policies.check_config(PolicyConfig(dir="~/rules", shadow="/etc/orlop/next"))


def test_rules_see_what_is_spent_and_what_calls_in_flight_hold() -> None:
    tool = Note(seconds=60)
    tool.card = replace(tool.card, price=NanoDollars(10), effect="idempotent")
    rules = EVERYTHING + (
        '@id("dear") forbid(principal, action == Action::"call_tool", resource)\n'
        "when { context.spend.agent.nano_dollars + context.spend.agent.held_nano_dollars >= 30 };"
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, rules)
        process = await program(kernel, name="writer")
        calls = [call(kernel, process, number=number) for number in range(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, RuleForbids) for outcome in outcomes) == 2
        with pytest.raises(RuleForbids, match="dear"):
            await call(kernel, process, number=9)
        found = (await refusals(kernel, process))[-1].decision.facts
        assert found == {"spend": {"agent": {"held_nano_dollars": 0, "nano_dollars": 30}}}
        await call(kernel, await program(kernel, name="reader"))

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_refusing_process_fills_no_journal() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        set_policy(kernel, '@id("none") forbid(principal, action, resource);')
        process = await program(kernel)
        for number in range(REFUSALS_JOURNALED_MAX + 10):
            with pytest.raises(RuleForbids):
                await call(kernel, process, number=number)
        assert len(await refusals(kernel, process)) == REFUSALS_JOURNALED_MAX
        assert kernel.guard.tally.refused == REFUSALS_JOURNALED_MAX + 10
        await asyncio.sleep(61)
        with pytest.raises(RuleForbids):
            await call(kernel, process)
        assert len(await refusals(kernel, process)) == REFUSALS_JOURNALED_MAX + 1

    on(lambda: Computer(tools=[Note()]), scenario)
