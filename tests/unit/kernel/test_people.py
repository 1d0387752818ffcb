"""People beside agents: edits, take-overs, grants, batches, tokens, parked calls."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal

import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Ask, CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, Conflict, Denied, NotAnswered, NotApproved, NotFound
from orlop.abi.grants import Condition, GrantOrder, GrantRevokeOrder, GrantTerms
from orlop.abi.ids import DEFAULT_TENANT, NanoDollars
from orlop.abi.questions import AnswerOrder, BatchOrder, Question
from orlop.abi.replies import ToolResult
from orlop.http import metrics
from orlop.kernel import recovery, syscall, takeover
from orlop.people import answering, asking, granting, staff
from orlop.people.house import Desk, PeopleConfig, Speaker
from orlop.people.roster import Who
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running

GRACE = Speaker("grace", "token")
DAY_S = 86_400.0


class Pay:
    """Needs a person's word, has a schema, and can tell what it would change."""

    def __init__(self) -> None:
        self.card = ToolCard(
            name="pay",
            effect="idempotent",
            approval="always",
            approval_s=DAY_S,
            price=NanoDollars(5),
            parameters={
                "type": "object",
                "properties": {"amount": {"type": "number"}},
                "required": ["amount"],
            },
            results={"type": "string"},
        )
        self.paid: list[object] = []

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        await asyncio.sleep(5)
        self.paid.append(arguments["amount"])
        return "paid"

    async def happened(self, key: str) -> bool | None:
        return None

    async def preview(self, arguments: Mapping[str, object], limit_s: float) -> str:
        return f"the balance falls by {arguments['amount']}"


def holder(kernel: Kernel, token: str) -> Who | None:
    return kernel.office.roster.by_secret.get(staff.digest_of(token))


def pay(kernel: Kernel, process: Process, amount: object, **more: object) -> Running:
    call = CallTool(tool="pay", arguments={"amount": amount, **more})
    return syscall.enter(kernel, process, call)


async def pending(kernel: Kernel, wanted: int = 1) -> list[Question]:
    while len(rows := asking.listed(kernel, closed=False)) != wanted:
        await kernel.clock.sleep(0.1)
    return rows


async def approved(kernel: Kernel, running: Running, order: AnswerOrder | None = None) -> object:
    """What a call comes to once Grace has agreed to it."""
    (row,) = await pending(kernel)
    await answering.answer(kernel, row.id, order or AnswerOrder(verdict="approve"), GRACE)
    return await value(running)


async def value(running: Running) -> object:
    done = await result(running)
    assert isinstance(done, ToolResult)
    return done.value


def test_an_approval_says_what_changes_what_it_costs_and_who_wants_it() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await approved(kernel, pay(kernel, process, 5, to="Ada"))
        second = pay(kernel, process, 50, note="rent")
        (row,) = await pending(kernel)
        assert {(change.path, change.was, change.now) for change in row.changes} == {
            ("/amount", "5", "50"),
            ("/to", '"Ada"', ""),
            ("/note", "", '"rent"'),
        }
        assert row.compared is not None and row.preview == "the balance falls by 50"
        assert row.cost == 5 and row.asked_by == "the card of pay"
        await approved(kernel, second)
        assert tool.paid == [5, 50]

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_person_may_change_the_arguments_and_the_agent_is_told() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = pay(kernel, await program(kernel), 500)
        (row,) = await pending(kernel)
        with pytest.raises(BadCall, match="amount"):
            wrong = AnswerOrder(verdict="approve", arguments={"amount": "much"})
            await answering.answer(kernel, row.id, wrong, GRACE)
        order = AnswerOrder(verdict="approve", arguments={"amount": 50}, minutes=3)
        await answering.answer(kernel, row.id, order, GRACE)
        done = await result(running)
        assert isinstance(done, ToolResult) and done.edited == {"amount": 50}
        assert tool.paid == [50]
        kept = asking.find(kernel, row.id)
        assert (kept.arguments, kept.edited) == ({"amount": 500}, {"amount": 50})
        assert kernel.office.roster.people[DEFAULT_TENANT, "grace"].work.touches == {"edit": 1}

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_person_may_do_it_himself_and_the_tool_is_not_called() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = pay(kernel, await program(kernel), 500)
        (row,) = await pending(kernel)
        with pytest.raises(BadCall, match="would not say that"):
            await answering.answer(kernel, row.id, AnswerOrder(verdict="take", result=7), GRACE)
        order = AnswerOrder(verdict="take", result="paid in cash")
        assert await approved(kernel, running, order) == "paid in cash"
        assert tool.paid == [] and asking.find(kernel, row.id).state == "done"

    on(lambda: Computer(tools=[tool]), scenario)


def test_arguments_that_break_the_schema_are_refused_before_anybody_is_asked() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        with pytest.raises(BadCall, match="amount"):
            await result(pay(kernel, await program(kernel), "much"))
        assert asking.listed(kernel, closed=True) == []

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_who_waits_for_a_person_is_not_in_flight() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        runnings = [pay(kernel, process, amount) for amount in range(5)]
        rows = await pending(kernel, 5)
        assert (kernel.calls_in_flight, kernel.calls_parked, process.parked) == (0, 5, 5)
        for row in rows:
            await answering.answer(kernel, row.id, AnswerOrder(verdict="approve"), GRACE)
        await asyncio.sleep(1)
        assert (kernel.calls_in_flight, kernel.calls_parked, process.parked) == (5, 0, 0)
        await asyncio.gather(*map(value, runnings))
        assert (kernel.calls_in_flight, kernel.calls_parked) == (0, 0)

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_one_word_answers_many_and_what_is_closed_stops_no_other() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        runnings = [pay(kernel, process, amount) for amount in range(3)]
        rows = await pending(kernel, 3)
        await answering.answer(kernel, rows[0].id, AnswerOrder(verdict="deny"), GRACE)
        ids = (*(row.id for row in rows), "qst_absent")
        order = BatchOrder(ids=ids, order=AnswerOrder(verdict="approve"))
        lines = await answering.together(kernel, order, GRACE)
        assert [line.code for line in lines] == [Conflict.code, "", "", NotFound.code]
        outcomes = await asyncio.gather(*map(value, runnings), return_exceptions=True)
        assert isinstance(outcomes[0], NotApproved) and outcomes[1:] == ["paid", "paid"]
        assert sorted(map(str, tool.paid)) == ["1", "2"]

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_grant_lets_calls_through_within_its_terms_and_no_other() -> None:
    tool = Pay()
    terms = GrantTerms(
        expires_s=1_000,
        where=(
            Condition(argument="amount", max=Decimal(100)),
            Condition(argument="currency", values=("EUR", "CHF")),
        ),
        calls_max=3,
        sum_of="amount",
        sum_max=Decimal(150),
    )

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        order = AnswerOrder(verdict="approve", grant=terms)
        assert await approved(kernel, pay(kernel, process, 1), order) == "paid"
        (view,) = granting.listed(kernel, closed=False)
        assert (view.grant.agent, view.grant.tool) == (process.row.name, "pay")
        assert await value(pay(kernel, process, 100, currency="EUR")) == "paid"
        (view,) = granting.listed(kernel, closed=False)
        assert (view.grant.calls, view.grant.sum) == (1, Decimal(100))
        outside = [
            pay(kernel, process, 50.5, currency="EUR"),  # The sum would be 150.5.
            pay(kernel, process, 101, currency="EUR"),
            pay(kernel, process, 1, currency="USD"),
            pay(kernel, process, 2),
            pay(kernel, process, -1, currency="EUR"),
            pay(kernel, process, True, currency="EUR", amounts=1),
        ]
        await pending(kernel, 5)
        with pytest.raises(BadCall):  # `true` is no number for the schema either.
            await result(outside[5])
        assert await value(pay(kernel, process, 50, currency="CHF")) == "paid"
        (view,) = granting.listed(kernel, closed=False)
        assert (view.grant.calls, view.grant.sum) == (2, Decimal(150))
        await granting.revoke(kernel, view.grant.id, GrantRevokeOrder(reason="enough"), GRACE)
        pay(kernel, process, 0, currency="EUR")
        await pending(kernel, 6)
        assert granting.listed(kernel, closed=False) == []

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_grant_is_not_overdrawn_by_calls_at_once_and_ends_by_itself() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        order = GrantOrder(
            agent=process.row.name, tool="pay", terms=GrantTerms(calls_max=2, expires_s=60)
        )
        await granting.give(kernel, order, GRACE)
        runnings = [pay(kernel, process, amount) for amount in range(4)]
        await pending(kernel, 2)
        through = [running for running in runnings if running.cleared_by.startswith("grt_")]
        assert [await value(running) for running in through] == ["paid", "paid"]
        late = GrantOrder(agent=process.row.name, tool="pay", terms=GrantTerms(expires_s=60))
        await granting.give(kernel, late, GRACE)
        assert await value(pay(kernel, process, 9)) == "paid"
        waited = [running for running in runnings if running not in through]
        assert [await value(running) for running in waited] == ["paid", "paid"]
        await asyncio.sleep(61)
        pay(kernel, process, 10)
        await pending(kernel)
        states = [view.state for view in granting.listed(kernel, closed=True)]
        assert states == ["expired", "expired"]

    on(lambda: Computer(tools=[tool]), scenario)


def test_grants_and_their_use_outlive_the_kernel() -> None:
    tool = Pay()

    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        order = GrantOrder(agent=process.row.name, tool="pay", terms=GrantTerms(calls_max=2))
        await granting.give(first, order, GRACE)
        assert await value(pay(first, process, 1)) == "paid"
        await here.crash(first)
        second = await here.boot()
        (view,) = granting.listed(second, closed=False)
        assert view.grant.calls == 1
        again = second.processes[process.id]
        assert await value(pay(second, again, 2)) == "paid"
        pay(second, again, 3)
        await pending(second)
        await here.close(second)

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_name_is_not_believed_where_somebody_has_a_token() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        pay(kernel, await program(kernel), 1)
        (row,) = await pending(kernel)
        made = await staff.add(kernel, "grace")
        assert holder(kernel, made.token) == (DEFAULT_TENANT, "grace")
        with pytest.raises(Denied, match="grace has a token"):
            order = AnswerOrder(verdict="approve", person="grace")
            await answering.answer(kernel, row.id, order)
        with pytest.raises(Denied, match="can't speak for ada"):
            await answering.answer(
                kernel, row.id, AnswerOrder(verdict="approve", person="ada"), GRACE
            )
        done = await answering.answer(
            kernel, row.id, AnswerOrder(verdict="approve", minutes=30), GRACE
        )
        assert (done.person, done.proof) == ("grace", "token")
        work = kernel.office.roster.people[DEFAULT_TENANT, "grace"].work
        assert work.cost == 45 * 10**9 and work.minutes == 30
        again = await staff.add(kernel, "grace")
        assert holder(kernel, made.token) is None
        await staff.remove(kernel, "grace")
        assert holder(kernel, again.token) is None

    config = PeopleConfig(hourly_rate=50, rates={"grace": 90})
    on(lambda: Computer(tools=[Pay()], desk=lambda: Desk(config=config)), scenario)


def test_only_tokens_count_where_that_is_asked_for() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        pay(kernel, await program(kernel), 1)
        (row,) = await pending(kernel)
        with pytest.raises(Denied, match="require_token"):
            order = AnswerOrder(verdict="approve", person="somebody")
            await answering.answer(kernel, row.id, order)

    config = PeopleConfig(require_token=True)
    on(lambda: Computer(tools=[Pay()], desk=lambda: Desk(config=config)), scenario)


def test_an_agents_question_may_be_turned_down() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = syscall.enter(kernel, await program(kernel), Ask(text="may I go home?"))
        (row,) = await pending(kernel)
        with pytest.raises(BadCall, match="a question"):
            await answering.answer(kernel, row.id, AnswerOrder(verdict="approve"), GRACE)
        await answering.answer(kernel, row.id, AnswerOrder(verdict="deny", answer="no"), GRACE)
        with pytest.raises(NotAnswered, match=r"grace won't answer.*no"):
            await result(running)

    on(Computer, scenario)


def test_a_call_whose_client_comes_back_waits_on_when_the_kernel_is_gone() -> None:
    tool = Pay()

    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        call = CallTool(tool="pay", arguments={"amount": 7})
        running = syscall.enter(first, process, call, nonce="n", detached=True)
        (row,) = await pending(first)
        await first.journal.flush()
        await here.crash(first)
        second = await here.boot()
        waiting = second.processes[process.id].running[running.id]
        assert [left.id for left in await pending(second)] == [row.id]
        again = syscall.enter(
            second, second.processes[process.id], call, nonce="n", retry=True, detached=True
        )
        await answering.answer(second, row.id, AnswerOrder(verdict="approve"), GRACE)
        assert await value(waiting) == "paid" and await value(again) == "paid"
        assert tool.paid == [7]
        assert second.office.questions.parked == {}
        await here.close(second)

    on(lambda: Computer(tools=[tool]), scenario)


def test_a_refusal_is_told_to_whoever_comes_back_for_it() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        call = CallTool(tool="pay", arguments={"amount": 7})
        running = syscall.enter(kernel, process, call, detached=True)
        (row,) = await pending(kernel)
        await answering.answer(kernel, row.id, AnswerOrder(verdict="deny"), GRACE)
        with pytest.raises(NotApproved):
            await result(running)
        await kernel.journal.flush()
        kinds = [stored.header.kind for stored in await kernel.journal.of_call(running.id)]
        assert kinds == ["human.asked", "call.parked", "call.refused"]

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_tables_are_the_same_from_a_snapshot_and_from_the_events() -> None:
    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        order = AnswerOrder(verdict="approve", grant=GrantTerms(calls_max=9), minutes=2)
        await approved(first, pay(first, process, 1), order)
        await value(pay(first, process, 2))
        await staff.add(first, "grace")
        await first.journal.flush()
        before = first.office.state()
        tables, _ = await recovery.read_tables(first.journal)
        assert tables.people.state() == before
        first.snapshot()
        await first.journal.flush()
        tables, _ = await recovery.read_tables(first.journal)
        assert tables.people.state() == before
        assert tables.people.questions.rows == first.office.questions.rows

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_how_often_people_override_an_agent_is_measured() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await approved(kernel, pay(kernel, process, 1))
        edited = AnswerOrder(verdict="approve", arguments={"amount": 2}, minutes=3)
        await approved(kernel, pay(kernel, process, 20), edited)
        pay(kernel, process, 3)
        await pending(kernel)
        found = {(name, labels): value for name, labels, value in metrics.samples(kernel)}
        assert found["orlop_human_decisions", ("pay", "agreed")] == 1
        assert found["orlop_human_decisions", ("pay", "overridden")] == 1
        assert found["orlop_human_touches", ("edit",)] == 1
        assert found["orlop_human_minutes", ()] == 3
        assert found["orlop_questions", ("approval", "pending")] == 1

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_another_kernel_that_takes_over_knows_grants_and_tokens() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        order = GrantOrder(agent=process.row.name, tool="pay", terms=GrantTerms(calls_max=3))
        await granting.give(kernel, order, GRACE)
        assert await value(pay(kernel, process, 1)) == "paid"
        made = await staff.add(kernel, "grace")
        elsewhere = Computer(tools=[Pay()])
        other = await elsewhere.boot()
        takeover.take_orders(other, kernel.tables)
        takeover.take_orders(other, kernel.tables)
        assert holder(other, made.token) == (DEFAULT_TENANT, "grace")
        (view,) = granting.listed(other, closed=True)
        assert (view.grant.terms.calls_max, view.grant.person) == (2, "grace")
        await elsewhere.close(other)

    on(lambda: Computer(tools=[Pay()]), scenario)


def test_a_grant_lets_through_what_waits_already_as_far_as_it_goes() -> None:
    tool = Pay()

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        runnings = [pay(kernel, process, amount) for amount in (1, 2, 3, 400)]
        same = pay(kernel, process, 3)
        await pending(kernel, 4)
        terms = GrantTerms(where=(Condition(argument="amount", max=Decimal(9)),), calls_max=3)
        order = GrantOrder(agent=process.row.name, tool="pay", terms=terms)
        await granting.give(kernel, order, GRACE)
        rows = await pending(kernel, 2)  # The 400, and one of the four others.
        assert 400 in [row.arguments["amount"] for row in rows]
        await asyncio.sleep(60)
        assert len(tool.paid) == 3 and 400 not in tool.paid
        states = sorted(row.state for row in asking.listed(kernel, closed=True))
        assert states == ["covered", "covered", "covered", "pending", "pending"]
        for row in rows:
            await answering.answer(kernel, row.id, AnswerOrder(verdict="deny"), GRACE)
        outcomes = await asyncio.gather(*map(value, [*runnings, same]), return_exceptions=True)
        assert sum(outcome == "paid" for outcome in outcomes) == 3

    on(lambda: Computer(tools=[tool]), scenario)
