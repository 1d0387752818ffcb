"""People who edit, take over, grant and are escalated to, while kernels are killed under them.

Asserted over all seeds: an order is paid once or done by a person once, with the arguments that a
person agreed to; no word that was told is lost, or counted twice; no grant lets through more than
its terms; and whoever waits is answered in the end.
"""

import asyncio
import random
from collections import Counter
from decimal import Decimal

import pytest
from simulation.doomed import Doomed, Till
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.errors import KernelError
from orlop.abi.events import CallEntered, CallFailed
from orlop.abi.grants import Condition, GrantTerms
from orlop.abi.ids import ProcessId
from orlop.abi.questions import AnswerOrder, Question
from orlop.abi.replies import ToolResult
from orlop.kernel import syscall
from orlop.people import answering, asking
from orlop.people.chains import ChainConfig, Step
from orlop.people.house import Desk, Speaker
from orlop.people.rules import AutonomyConfig
from orlop.state import codec
from orlop.state.core import Kernel

ORDERS = 8
SEEDS = 60
GRACE, ADA = Speaker("grace", "token"), Speaker("ada", "token")
TERMS = GrantTerms(
    expires_s=1e6,
    where=(Condition(argument="amount", max=Decimal(2)),),
    calls_max=2,
    sum_of="amount",
    sum_max=Decimal(3),
)
CHAIN = ChainConfig(
    steps=(Step(to=("grace",)), Step(to=("ada",), after_s=4.0)), end="expire", only=True
)
RULE = AutonomyConfig(tools=("pay",), start="approve", ceiling="sample", evidence_min=500)


class Town(Doomed):
    """What was told, and what it came to."""

    def __init__(self, here: Computer, kernel: Kernel, chance: random.Random) -> None:
        super().__init__(here, kernel, chance)
        self.told: dict[str, Question] = {}
        """Words of people that the kernel has confirmed."""
        self.twice = 0
        """Questions that took a second word after one was confirmed."""
        self.answers: dict[int, ToolResult] = {}

    async def agent(self, process: ProcessId, order: int) -> None:
        """Make one call until it is answered; some come back for it, some hold on."""
        nonce, detached, tries = f"n{order}", self.chance.random() < 0.5, 0
        await asyncio.sleep(self.chance.uniform(0, 10))
        arguments: dict[str, object] = {"order": order, "amount": 1 + order % 3}
        while True:
            await self.up.wait()
            kernel = self.kernel
            try:
                running = syscall.enter(
                    kernel,
                    kernel.processes[process],
                    CallTool(tool="pay", arguments=arguments),
                    nonce=nonce,
                    retry=tries > 0,
                    detached=detached,
                )
                tries += 1
                done = await result(running)
                assert isinstance(done, ToolResult)
                self.answers[order] = done
                return
            except (KernelError, KeyError, AssertionError):
                await asyncio.sleep(self.chance.uniform(0.1, 0.5))

    async def person(self, speaker: Speaker) -> None:
        """Say one thing or another to what waits; a word that was told must hold."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, 3))
            await self.up.wait()
            kernel = self.kernel
            try:
                for row in asking.listed(kernel, closed=False):
                    if speaker.name in row.asked_of:
                        done = await answering.answer(kernel, row.id, self.word(row), speaker)
                        self.twice += row.id in self.told
                        self.told[row.id] = done
                        if self.chance.random() < 0.3:
                            await self.kill()
                            break
            except KernelError:
                pass

    def word(self, row: Question) -> AnswerOrder:
        drawn = self.chance.random()
        if drawn < 0.2:
            edited = {"order": row.arguments["order"], "amount": 50}
            return AnswerOrder(verdict="approve", arguments=edited, minutes=1)
        if drawn < 0.4:
            return AnswerOrder(verdict="take", result=f"done {row.arguments['order']}", minutes=1)
        grant = TERMS if drawn < 0.6 else None
        return AnswerOrder(verdict="approve", grant=grant, minutes=1)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_word_is_lost_or_counted_twice_whenever_the_kernel_dies(seed: int) -> None:
    chance = random.Random(seed)
    till = Till(chance)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = (await program(kernel)).id
        town = Town(here, kernel, chance)
        helpers = [
            asyncio.create_task(town.person(GRACE)),
            asyncio.create_task(town.person(ADA)),
            asyncio.create_task(town.doom(chance.randint(1, 8))),
        ]
        await asyncio.gather(*(town.agent(process, order) for order in range(ORDERS)))
        await helpers[2]
        for helper in helpers[:2]:
            helper.cancel()
        told = f"seed {seed}, {town.kills} kills"
        check(town, till, told)
        await check_grants(town, process, told)
        await here.close(town.kernel)

    def desk() -> Desk:
        return Desk(chains={"all": CHAIN}, rules={"pay": RULE})

    on(lambda: Computer(tools=[till], desk=desk), scenario, seed)


def check(town: Town, till: Till, told: str) -> None:
    office = town.kernel.office
    rows = office.questions.rows
    assert town.twice == 0, told
    for id, word in town.told.items():
        kept = rows[id]
        said = (kept.person, kept.edited, kept.taken, kept.result)
        assert said == (word.person, word.edited, word.taken, word.result), f"{told}: {kept}"
    work = [person.work for person in office.roster.people.values()]
    answered = [row for row in rows.values() if row.person]
    assert sum(one.minutes for one in work) == len(answered) >= len(town.told), told
    bought = [(paid["order"], paid["amount"]) for paid in till.paid.values()]
    paid = Counter(order for order, _ in bought)
    done = [order for order, one in town.answers.items() if one.value != "paid"]
    assert all(count == 1 for count in paid.values()), f"{told}: {paid}"
    assert sorted([*done, *paid], key=str) == sorted(range(ORDERS), key=str), f"{told}: {paid}"
    assert all(row.state in ("done", "covered") for row in rows.values()), f"{told}: {rows}"
    for order, amount in bought:
        asked = [row for row in answered if row.arguments["order"] == order]
        wanted = {1 + int(str(order)) % 3, *(50 for row in asked if row.edited is not None)}
        assert amount in wanted, f"{told}: {order} {amount}"
        if asked:
            agreed = asked[-1].edited or asked[-1].arguments
            assert amount == agreed["amount"], f"{told}: {order} {amount}"
        assert not any(row.taken for row in asked), f"{told}: {order} was done by a person"
    for row in answered:
        if row.taken:
            assert town.answers[int(str(row.arguments["order"]))].value == row.result, told
    assert office.questions.parked == {}, told


async def check_grants(town: Town, process: ProcessId, told: str) -> None:
    """What the journal says went through under each grant, whatever the tables say."""
    through: dict[str, dict[str, Decimal]] = {}
    await town.kernel.journal.flush()
    for stored in await town.kernel.journal.of_process(process):
        event, call = codec.decode(stored), str(stored.header.call)
        if isinstance(event, CallEntered) and event.cleared_by.startswith("grt_"):
            assert isinstance(event.body, CallTool)
            amount = Decimal(str(event.body.arguments["amount"]))
            through.setdefault(event.cleared_by, {})[call] = amount
        elif isinstance(event, CallFailed) and not event.asked:
            for calls in through.values():
                calls.pop(call, None)
    for id, row in town.kernel.office.grants.rows.items():
        amounts = through.get(id, {}).values()
        assert (row.calls, row.sum) == (len(amounts), sum(amounts, Decimal(0))), f"{told}: {row}"
        assert row.calls <= 2 and row.sum <= 3, f"{told}: {row}"
