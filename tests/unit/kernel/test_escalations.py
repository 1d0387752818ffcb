"""Escalation in virtual time: who is asked when, who is told, and what follows at the end."""

import asyncio
from collections.abc import Mapping

import msgspec
import pytest
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Ask, CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import Denied, DeviceFailed, NotApproved
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.questions import AnswerOrder, Question, SignedAnswer
from orlop.kernel import syscall
from orlop.people import answering, asking
from orlop.people.chains import ChainConfig, Step
from orlop.people.house import Desk, PeopleConfig, Speaker
from orlop.state.core import Kernel
from orlop.wire import webhook

HOUR_S = 3_600.0
KEY = b"k" * 32
CHAIN = ChainConfig(
    tools=("pay",),
    steps=(Step(to=("grace",)), Step(to=("ada", "grace"), after_s=HOUR_S)),
    end="deny",
    end_s=3 * HOUR_S,
    only=True,
)


class Pay:
    card = ToolCard(name="pay", effect="idempotent", approval="always", approval_s=90 * 86_400.0)

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        return "paid"

    async def happened(self, key: str) -> bool | None:
        return None


class Mail:
    """Whom the outgoing webhook reaches; it may be out of order for a while."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.got: list[dict[str, object]] = []
        self.ids: list[str] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        stamp = int(headers[webhook.TIMESTAMP])
        self.ids.append(webhook.verify(KEY, lambda n: headers.get(n, ""), body, stamp, 0))
        if self.failures > 0:
            self.failures -= 1
            if self.failures % 2:
                raise DeviceFailed("nobody there")
            return 503
        self.got.append(msgspec.json.decode(body, type=dict[str, object]))
        return 204


def desk(mail: Mail | None = None) -> Desk:
    return Desk(
        chains={"money": CHAIN},
        config=PeopleConfig(webhook_url="http://mail" if mail else "", webhook_answers=True),
        secret=KEY,
        post=mail.post if mail else None,
    )


async def asked(kernel: Kernel, step: int) -> Question:
    """The one question, once it has taken so many steps."""
    while True:
        rows = asking.listed(kernel, closed=False)
        if rows and rows[0].step >= step:
            return rows[0]
        await kernel.clock.sleep(1)


def test_people_are_asked_one_after_another_also_across_a_restart() -> None:
    async def scenario(here: Computer, first: Kernel) -> None:
        process = await program(first)
        syscall.enter(first, process, CallTool(tool="pay"))
        began_s = first.clock.now_s()
        assert (await asked(first, 1)).asked_of == ("grace",)
        assert first.clock.now_s() - began_s < 5
        await asyncio.sleep(HOUR_S / 2)
        await here.crash(first)
        second = await here.boot()
        row = await asked(second, 2)
        assert row.asked_of == ("grace", "ada")
        assert abs(second.clock.now_s() - began_s - HOUR_S) < 5
        with pytest.raises(Denied, match="asks grace, ada"):
            order = AnswerOrder(verdict="approve")
            await answering.answer(second, row.id, order, Speaker("eve", "token"))
        done = await answering.answer(
            second, row.id, AnswerOrder(verdict="approve"), Speaker("ada", "token")
        )
        assert done.state == "approved"
        await here.close(second)

    on(lambda: Computer(tools=[Pay()], desk=desk), scenario)


def test_at_the_end_a_question_is_denied_by_nobody_and_never_approved() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = syscall.enter(kernel, await program(kernel), CallTool(tool="pay"))
        began_s = kernel.clock.now_s()
        with pytest.raises(NotApproved, match="the escalation money ends so"):
            await result(running)
        assert abs(kernel.clock.now_s() - began_s - 3 * HOUR_S) < 5
        (row,) = asking.listed(kernel, closed=True)
        assert (row.state, row.person, row.proof) == ("denied", "", "chain")
        assert kernel.office.roster.people == {}

    on(lambda: Computer(tools=[Pay()], desk=desk), scenario)


def test_what_nobody_waits_for_ends_in_its_time_too() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = syscall.enter(kernel, await program(kernel), CallTool(tool="pay"))
        await asked(kernel, 1)
        running.leave()
        await running.ended.wait()
        await asyncio.sleep(4 * HOUR_S)
        (row,) = kernel.office.questions.rows.values()
        assert row.state == "denied"

    on(lambda: Computer(tools=[Pay()], desk=desk), scenario)


def test_each_step_is_told_by_webhook_again_and_again_until_it_is_heard() -> None:
    mail = Mail(failures=3)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        syscall.enter(kernel, await program(kernel), CallTool(tool="pay", arguments={"to": "Ada"}))
        row = await asked(kernel, 2)
        await asyncio.sleep(60)
        assert [told["type"] for told in mail.got] == ["question.escalated"] * 2
        data = mail.got[0]["data"]
        assert isinstance(data, dict) and data["to"] == ["grace"]
        assert data["question"]["arguments"] == {"to": "Ada"}
        assert mail.ids == [f"{row.id}_1"] * 4 + [f"{row.id}_2"]
        assert kernel.office.questions.rows[row.id].notified == 2

    on(lambda: Computer(tools=[Pay()], desk=lambda: desk(mail)), scenario)


def test_a_telling_that_a_crash_cut_off_is_made_again_under_its_id() -> None:
    mail = Mail(failures=99)

    async def scenario(here: Computer, first: Kernel) -> None:
        syscall.enter(first, await program(first), Ask(text="red or blue?"))
        await asyncio.sleep(20)
        assert mail.ids and mail.got == []
        await first.journal.flush()
        await here.crash(first)
        mail.failures = 0
        second = await here.boot()
        await asyncio.sleep(5)
        assert len(mail.got) == 1 and set(mail.ids) == {mail.ids[0]}
        await here.crash(second)
        third = await here.boot()
        await asyncio.sleep(60)
        assert len(mail.got) == 1
        await here.close(third)

    on(lambda: Computer(desk=lambda: desk(mail)), scenario)


def test_a_signed_answer_counts_once_and_its_repetition_hears_the_same() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        running = syscall.enter(kernel, await program(kernel), CallTool(tool="pay"))
        row = await asked(kernel, 1)
        said = SignedAnswer(question=row.id, verdict="approve", person="grace")
        first = await answering.signed(kernel, said, "msg_1")
        assert (first.person, first.proof) == ("grace", "webhook")
        await running.ended.wait()
        again = await answering.signed(kernel, said, "msg_1")
        assert again.state == "done"
        assert kernel.office.roster.people[DEFAULT_TENANT, "grace"].work.touches == {"approval": 1}

    on(lambda: Computer(tools=[Pay()], desk=desk), scenario)
