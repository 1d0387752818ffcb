"""Dynamic batching in virtual time: who waits how long, and with whom."""

import asyncio
from collections.abc import Sequence

import pytest
from simulation.power import LoopClock
from simulation_loop import simulate

from orlop.abi.errors import DeviceFailed
from orlop.abi.hints import LatencyClass
from orlop.drivers.batches import Batches

COMPUTE_S = 0.1


class Computed:
    """Doubles numbers, one batch after another, and remembers the batches."""

    def __init__(self, most: int = 4) -> None:
        self.seen: list[Sequence[int]] = []
        self.fails = False
        self._lock = asyncio.Lock()
        self.batches: Batches[int, int] = Batches(
            self._run,
            clock=LoopClock(),
            most=most,
            delay_s={"interactive": 0.0, "standard": 0.02, "batch": 1.0},
        )

    async def _run(self, items: Sequence[int]) -> Sequence[int]:
        async with self._lock:
            self.seen.append(list(items))
            await asyncio.sleep(COMPUTE_S)
            if self.fails:
                raise DeviceFailed("out of memory")
            return [2 * item for item in items]

    async def ask(self, item: int, latency_class: LatencyClass = "standard") -> float:
        """When the answer was there."""
        assert await self.batches.ask(item, latency_class) == 2 * item
        return asyncio.get_running_loop().time()


def test_an_interactive_item_on_an_idle_engine_goes_alone_and_at_once() -> None:
    async def scenario() -> None:
        computed = Computed()
        assert await computed.ask(1, "interactive") == pytest.approx(COMPUTE_S)
        assert computed.seen == [[1]]

    simulate(1, scenario())


def test_items_that_come_within_the_delay_are_one_batch() -> None:
    async def scenario() -> None:
        computed = Computed()
        times = await asyncio.gather(*(computed.ask(n) for n in range(3)))
        assert times == pytest.approx([0.02 + COMPUTE_S] * 3, abs=1e-3)
        assert [sorted(batch) for batch in computed.seen] == [[0, 1, 2]]

    simulate(1, scenario())


def test_a_full_batch_does_not_wait_for_its_delay() -> None:
    async def scenario() -> None:
        computed = Computed(most=4)
        times = await asyncio.gather(*(computed.ask(n, "batch") for n in range(4)))
        assert times == pytest.approx([COMPUTE_S] * 4, abs=1e-3)

    simulate(1, scenario())


def test_what_comes_while_a_batch_runs_is_the_next_batch_the_most_pressing_first() -> None:
    async def scenario() -> None:
        computed = Computed(most=2)
        first = asyncio.ensure_future(computed.ask(0, "interactive"))
        await asyncio.sleep(0.01)
        later = [computed.ask(n, "batch") for n in (1, 2, 3)]
        waiting = asyncio.gather(first, *later, computed.ask(9, "interactive"))
        await waiting
        assert computed.seen[0] == [0]
        assert computed.seen[1][0] == 9
        assert all(len(batch) <= 2 for batch in computed.seen)

    simulate(1, scenario())


def test_somebody_in_a_hurry_takes_those_with_him_who_could_have_waited() -> None:
    async def scenario() -> None:
        computed = Computed()
        patient = asyncio.ensure_future(computed.ask(1, "batch"))
        await asyncio.sleep(0.3)
        hurried = asyncio.ensure_future(computed.ask(2, "interactive"))
        assert await patient == await hurried == pytest.approx(0.3 + COMPUTE_S, abs=1e-3)

    simulate(1, scenario())


def test_who_has_left_is_not_computed_and_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        computed = Computed()
        left = asyncio.ensure_future(computed.ask(1, "batch"))
        await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.wait([left])
        assert await computed.ask(2) < 0.2
        assert [item for batch in computed.seen for item in batch] == [2]

    simulate(1, scenario())


def test_a_batch_that_fails_fails_for_all_in_it_and_for_nobody_else() -> None:
    async def scenario() -> None:
        computed = Computed()
        computed.fails = True
        failed = await asyncio.gather(*(computed.ask(n) for n in range(3)), return_exceptions=True)
        assert [type(error) for error in failed] == [DeviceFailed] * 3
        computed.fails = False
        await computed.ask(4)

    simulate(1, scenario())


@pytest.mark.parametrize("seed", range(20))
def test_nobody_waits_beyond_his_delay_and_the_batches_before_his(seed: int) -> None:
    delays: dict[LatencyClass, float] = {"interactive": 0.0, "standard": 0.02, "batch": 1.0}

    async def scenario() -> None:
        computed = Computed(most=8)
        loop = asyncio.get_running_loop()
        late = []

        async def one(number: int) -> None:
            latency_class = list(delays)[number % 3]
            await asyncio.sleep(number * 7919 % 1000 / 1000)
            begun_s = loop.time()
            ended_s = await computed.ask(number, latency_class)
            # A batch that runs, at most two full ones of older items, and its own.
            late.append(ended_s - begun_s - delays[latency_class] - 4 * COMPUTE_S)

        await asyncio.gather(*(one(number) for number in range(60)))
        assert max(late) < 1e-3
        assert sorted(item for batch in computed.seen for item in batch) == list(range(60))
        assert max(map(len, computed.seen)) <= 8

    simulate(seed, scenario())


def test_who_asks_again_the_moment_he_is_answered_is_answered_again() -> None:
    async def scenario() -> None:
        computed = Computed()
        for number in range(20):
            await asyncio.gather(*(computed.ask(number + each) for each in range(3)))

    simulate(1, scenario())
