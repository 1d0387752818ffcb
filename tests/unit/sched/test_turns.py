"""Slots: who gets one, who waits, and what becomes of a place when its holder is gone."""

import asyncio
from collections.abc import Coroutine, Sequence

import pytest
from simulation.power import LoopClock
from simulation_loop import simulate

from orlop.abi.errors import Exhausted
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import ProcessId
from orlop.devices.device import Capacity
from orlop.sched.policy import PolicyName
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.turns import Turns
from orlop.sched.work import Work

ENGINE = "engine"


class Counter:
    """A device with some slots; notes in which order it served."""

    def __init__(self, slots: int, policy: PolicyName = "fair", waiting_max: int = 100) -> None:
        self.scheduler = Scheduler(SchedulerConfig(policy=policy, waiting_max=waiting_max))
        self.scheduler.attach(ENGINE, Capacity(slots=slots))
        self.turns = Turns(self.scheduler, LoopClock())
        self.peak = 0
        self.served: list[str] = []
        self._inside = 0

    def work(self, process: str, latency_class: LatencyClass = "standard") -> Work:
        now_s = asyncio.get_running_loop().time()
        return Work(
            process=ProcessId(process),
            candidates=(ENGINE,),
            latency_class=latency_class,
            arrived_s=now_s,
        )

    async def serve(self, work: Work, seconds: float = 1.0) -> None:
        async with self.turns.seat(work):
            self._inside += 1
            self.peak = max(self.peak, self._inside)
            self.served.append(work.process)
            try:
                await asyncio.sleep(seconds)
            finally:
                self._inside -= 1


async def one_by_one(calls: Sequence[Coroutine[object, object, None]]) -> list[asyncio.Task[None]]:
    """Started in this order, each before the next."""
    tasks = []
    for call in calls:
        tasks.append(asyncio.create_task(call))
        await asyncio.sleep(0.001)
    return tasks


@pytest.mark.parametrize("seed", range(5))
def test_a_device_never_runs_more_than_it_has_slots_and_serves_all(seed: int) -> None:
    async def scenario() -> None:
        counter = Counter(slots=3)
        await asyncio.gather(*(counter.serve(counter.work(f"p{n}")) for n in range(20)))
        assert counter.peak == 3
        assert len(counter.served) == 20
        assert counter.scheduler.load(ENGINE) == (0, 0)

    simulate(seed, scenario())


def test_no_slot_is_free_while_somebody_waits() -> None:
    async def scenario() -> None:
        counter = Counter(slots=2)
        began_s = asyncio.get_running_loop().time()
        await asyncio.gather(*(counter.serve(counter.work("p"), 1.0) for _ in range(10)))
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(5.0)

    simulate(0, scenario())


def test_interactive_calls_go_before_all_that_wait() -> None:
    async def scenario() -> None:
        counter = Counter(slots=1)
        calls = [
            counter.serve(counter.work("first", "batch")),
            counter.serve(counter.work("batch", "batch")),
            counter.serve(counter.work("standard")),
            counter.serve(counter.work("interactive", "interactive")),
        ]
        await asyncio.gather(*await one_by_one(calls))
        assert counter.served == ["first", "interactive", "standard", "batch"]

    simulate(0, scenario())


def test_a_process_with_many_calls_does_not_keep_another_waiting() -> None:
    async def scenario() -> None:
        counter = Counter(slots=2)
        calls = [counter.serve(counter.work("many"), 1.0 + n) for n in range(4)]
        calls.append(counter.serve(counter.work("few")))
        await asyncio.gather(*await one_by_one(calls))
        assert counter.served[2] == "few"

    simulate(0, scenario())


def test_first_come_first_served_where_that_is_the_policy() -> None:
    async def scenario() -> None:
        counter = Counter(slots=1, policy="fifo")
        names = ["c", "a", "b", "d"]
        calls = [counter.serve(counter.work(name, "batch")) for name in names]
        calls.append(counter.serve(counter.work("late", "interactive")))
        await asyncio.gather(*await one_by_one(calls))
        assert counter.served == [*names, "late"]

    simulate(0, scenario())


def test_whoever_leaves_the_queue_or_the_device_gives_his_place_back() -> None:
    async def scenario() -> None:
        counter = Counter(slots=1)
        calls = [counter.serve(counter.work(name), 5.0) for name in ("holds", "waits", "next")]
        holds, waits, following = await one_by_one(calls)
        waits.cancel()
        await asyncio.sleep(0.001)
        assert counter.scheduler.load(ENGINE) == (1, 1)
        holds.cancel()
        await following
        assert counter.served == ["holds", "next"]
        assert counter.scheduler.load(ENGINE) == (0, 0)

    simulate(0, scenario())


@pytest.mark.parametrize("seed", range(20))
def test_a_call_that_is_cancelled_as_it_gets_its_slot_does_not_keep_it(seed: int) -> None:
    async def scenario() -> None:
        counter = Counter(slots=1)
        calls = [counter.serve(counter.work(name)) for name in ("holds", "waits", "next")]
        _, waits, following = await one_by_one(calls)
        asyncio.get_running_loop().call_later(0.998, waits.cancel)
        await following
        assert counter.scheduler.load(ENGINE) == (0, 0)

    simulate(seed, scenario())


def test_a_full_waiting_room_says_when_to_come_back_and_changes_nothing() -> None:
    async def scenario() -> None:
        counter = Counter(slots=1, waiting_max=2)
        tasks = await one_by_one([counter.serve(counter.work("p")) for _ in range(3)])
        with pytest.raises(Exhausted, match="waiting_max") as refused:
            await counter.serve(counter.work("p"))
        assert refused.value.retry_after_s is not None and refused.value.retry_after_s >= 1.0
        assert counter.scheduler.load(ENGINE) == (1, 2)
        await asyncio.gather(*tasks)

    simulate(0, scenario())
