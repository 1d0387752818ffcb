"""The scheduler in the whole kernel: urgent calls, patient calls, lost engines, little memory (I5).

Times are virtual seconds; how long a call takes alone is known, so that waiting can be bounded.
"""

import asyncio
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_card
from small_kernel import Computer, ask, on, program, result

from orlop.abi.errors import Exhausted, KernelError
from orlop.abi.hints import Hints, LatencyClass
from orlop.abi.ids import EngineName
from orlop.abi.replies import Completion
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.kernel import syscall
from orlop.sched.check import check
from orlop.state.core import Kernel
from orlop.state.process import Process

ONE_SEAT = FakeConfig(slots=1, tokens=10, decode_s=0.1, continues=True)
"""A call takes a second."""

LONG = FakeConfig(slots=1, tokens=200, decode_s=0.1, continues=True)


async def call(
    kernel: Kernel,
    process: Process,
    text: str,
    latency_class: LatencyClass,
    deadline_s: float | None = None,
    *,
    stream: bool = False,
) -> Completion:
    hints = Hints(latency_class=latency_class, deadline_s=deadline_s)
    done = await result(syscall.enter(kernel, process, ask(text, hints=hints, stream=stream)))
    assert isinstance(done, Completion)
    return done


def test_an_urgent_call_takes_the_seat_of_a_batch_call_which_goes_on_as_if_nothing_had_been() -> (
    None
):
    async def scenario(here: Computer, kernel: Kernel) -> None:
        plain = await program(kernel)
        alone = await call(kernel, plain, "the same", "batch", stream=True)
        batch, urgent = await program(kernel), await program(kernel)
        slow = asyncio.create_task(call(kernel, batch, "the same", "batch", stream=True))
        await asyncio.sleep(5)
        began_s = here.clock.now_s()
        quick = await call(kernel, urgent, "now", "interactive")
        assert quick.facts.queue_s < 0.5
        done = await slow
        assert done.facts.switched == 1
        assert done.text() == alone.text()
        assert here.clock.now_s() - began_s == pytest.approx(20 + 15, abs=1)
        assert here.engine.preempted == 1

    on(lambda: Computer(engine_config=LONG), scenario)


def test_a_call_that_is_paid_for_keeps_its_seat() -> None:
    """What its engine had read would be paid for twice."""

    async def scenario(here: Computer, kernel: Kernel) -> None:
        cards = [replace_card(card, paid=True) for card in await here.engine.models()]
        kernel.registry.learn(here.engine.name, cards)
        batch, urgent = await program(kernel), await program(kernel)
        slow = asyncio.create_task(call(kernel, batch, "the same", "batch", stream=True))
        await asyncio.sleep(5)
        quick = await call(kernel, urgent, "now", "interactive", 600)
        assert quick.facts.queue_s > 10 and here.engine.preempted == 0
        assert (await slow).facts.switched == 0

    on(lambda: Computer(engine_config=LONG), scenario)


def test_a_call_that_was_stopped_is_booked_and_recorded_as_one() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        plain = await program(kernel)
        alone = await call(kernel, plain, "the same", "batch", stream=True)
        batch, urgent = await program(kernel), await program(kernel)
        slow = asyncio.create_task(call(kernel, batch, "the same", "batch", stream=True))
        await asyncio.sleep(5)
        await call(kernel, urgent, "now", "interactive")
        done = await slow
        assert done.facts.switched == 1
        assert done.facts.usage == alone.facts.usage and done.facts.cost == alone.facts.cost
        assert batch.row.output_tokens == plain.row.output_tokens > 0

    on(lambda: Computer(engine_config=LONG), scenario)


def test_a_call_gives_its_seat_away_once_at_most() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        batch, urgent = await program(kernel), await program(kernel)
        slow = asyncio.create_task(call(kernel, batch, "slow", "batch"))
        for number in range(4):
            await asyncio.sleep(3)
            await call(kernel, urgent, f"{number}", "interactive", 600)
        assert (await slow).facts.switched == 1

    on(lambda: Computer(engine_config=LONG), scenario)


def test_a_batch_call_is_served_however_many_urgent_ones_come() -> None:
    """Of two seats' worth of urgent calls for ever: strict bands would starve it."""

    async def scenario(here: Computer, kernel: Kernel) -> None:
        async def hurry(process: Process) -> None:
            number = 0
            while not slow.done():
                number += 1
                await call(kernel, process, f"{process.id} {number}", "interactive")

        batch = await program(kernel)
        people = [await program(kernel) for _ in range(3)]
        holder = asyncio.create_task(call(kernel, people[0], "first", "interactive"))
        await asyncio.sleep(0.1)
        slow = asyncio.create_task(call(kernel, batch, "patient", "batch"))
        crowd = [asyncio.create_task(hurry(process)) for process in people]
        done = await slow
        assert done.facts.queue_s < 600 / 2 + 60
        await asyncio.gather(holder, *crowd)
        assert kernel.scheduler.admission.promoted >= 1

    config = replace(ONE_SEAT, continues=False)
    on(lambda: Computer(engine_config=config), scenario)


def test_what_cannot_be_served_by_its_deadline_is_refused_at_once_with_the_time_to_come_back() -> (
    None
):
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        for number in range(20):  # The engine's pace is known from here on.
            await call(kernel, process, f"warm {number}", "standard")
        queue = [
            asyncio.create_task(call(kernel, process, f"{number}", "standard"))
            for number in range(30)
        ]
        await asyncio.sleep(0.1)
        began_s = here.clock.now_s()
        with pytest.raises(Exhausted, match="deadline") as refused:
            await call(kernel, process, "in a hurry", "standard", 5.0)
        assert here.clock.now_s() - began_s < 0.1
        back_s = refused.value.retry_after_s
        assert back_s is not None
        await asyncio.sleep(back_s)
        assert await call(kernel, process, "in a hurry", "standard", 10.0)
        await asyncio.gather(*queue)

    on(lambda: Computer(engine_config=ONE_SEAT), scenario)


def test_a_lost_engine_moves_what_waits_to_another_and_loses_contexts_only() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        other = FakeEngine(EngineName("other"), ONE_SEAT, clock=here.clock, chance=here.chance)
        await other.start()
        kernel.registry.add(other)
        kernel.registry.learn(other.name, await other.models())
        processes = [await program(kernel) for _ in range(8)]
        calls = [
            asyncio.create_task(call(kernel, process, "work", "standard")) for process in processes
        ]
        await asyncio.sleep(0.5)
        here.engine.die(1_000.0)
        told = await asyncio.gather(*calls, return_exceptions=True)
        served = [one for one in told if isinstance(one, Completion)]
        assert len(served) >= len(calls) - 1, "those that ran there may fail; nobody else does"
        assert all(isinstance(one, Completion | KernelError) for one in told)
        assert other.computed >= len(calls) - 1
        again = [await call(kernel, process, "more work", "standard") for process in processes]
        assert {done.facts.engine for done in again} == {"other"}
        check(kernel.scheduler, here.clock.now_s())

    on(lambda: Computer(engine_config=ONE_SEAT), scenario)


@pytest.mark.parametrize("seed", range(5))
def test_with_memory_for_one_context_all_are_served_and_nobody_waits_for_ever(seed: int) -> None:
    """Programs that come back again and again, each time with more."""

    async def scenario(here: Computer, kernel: Kernel) -> None:
        async def agent(process: Process, latency_class: LatencyClass) -> float:
            worst_s = 0.0
            for number in range(6):
                text = f"{process.id} " + "word " * (10 * number)
                done = await call(kernel, process, text, latency_class)
                worst_s = max(worst_s, done.facts.queue_s)
                await asyncio.sleep(here.chance.uniform() * 3)
                check(kernel.scheduler, here.clock.now_s())
            return worst_s

        classes: tuple[LatencyClass, ...] = ("interactive", "standard", "batch")
        agents = [agent(await program(kernel), classes[number % 3]) for number in range(12)]
        worst = await asyncio.gather(*agents)
        # 72 calls of a second on an engine that can always run one: nobody waits for longer.
        assert max(worst) < 80

    config = FakeConfig(slots=4, tokens=10, decode_s=0.1, kv_tokens=80, host_tokens=100)
    on(lambda: Computer(engine_config=config), scenario, seed)
