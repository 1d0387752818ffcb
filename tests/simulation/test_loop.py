"""The simulation's loop itself: it overrides a private hook of asyncio, so each Python is tried."""

import asyncio

import pytest
from simulation_loop import Deadlock, simulate


def test_a_year_passes_in_no_time_and_on_time() -> None:
    async def scenario() -> float:
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(365 * 86_400)
        return asyncio.get_running_loop().time() - began_s

    assert simulate(0, scenario()) == pytest.approx(365 * 86_400)


def test_timers_fire_in_order_of_time_whatever_the_seed() -> None:
    async def scenario() -> list[int]:
        seen: list[int] = []

        async def later(delay_s: int) -> None:
            await asyncio.sleep(delay_s)
            seen.append(delay_s)

        await asyncio.gather(*(later(delay_s) for delay_s in (3, 1, 2)))
        return seen

    assert all(simulate(seed, scenario()) == [1, 2, 3] for seed in range(20))


def order_of_five(seed: int) -> list[int]:
    async def scenario() -> list[int]:
        seen: list[int] = []

        async def now(number: int) -> None:
            await asyncio.sleep(0)
            seen.append(number)

        await asyncio.gather(*(now(number) for number in range(5)))
        return seen

    return simulate(seed, scenario())


def test_the_seed_chooses_the_order_and_chooses_it_again() -> None:
    orders = [order_of_five(seed) for seed in range(20)]
    assert orders == [order_of_five(seed) for seed in range(20)]
    assert len({tuple(order) for order in orders}) > 5


def test_a_deadlock_is_seen() -> None:
    async def scenario() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        simulate(0, scenario())


def test_a_bug_that_no_caller_noticed_fails_the_scenario() -> None:
    async def buggy() -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        task = asyncio.get_running_loop().create_task(buggy())
        await asyncio.sleep(1)
        del task

    with pytest.raises(ZeroDivisionError):
        simulate(0, scenario())
