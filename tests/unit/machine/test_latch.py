"""A latch wakes everybody once, and forgets whoever stopped waiting."""

import asyncio

from orlop.machine.latch import Latch


async def _note(latch: Latch, name: str, woken: list[str]) -> None:
    await latch.wait()
    woken.append(name)


def test_those_who_wait_are_woken_in_their_order() -> None:
    async def scene() -> list[str]:
        latch, woken = Latch(), list[str]()
        tasks = [asyncio.create_task(_note(latch, name, woken)) for name in "abc"]
        await asyncio.sleep(0)
        assert woken == []
        latch.set()
        latch.clear()  # Too late to take it back from them.
        await asyncio.gather(*tasks)
        return woken

    assert asyncio.run(scene()) == ["a", "b", "c"]


def test_a_set_latch_holds_nobody_and_a_cleared_one_does() -> None:
    async def scene() -> bool:
        latch = Latch(is_set=True)
        await latch.wait()
        latch.clear()
        waiting = asyncio.create_task(latch.wait())
        await asyncio.sleep(0)
        held = not waiting.done()
        latch.set()
        await waiting
        return held

    assert asyncio.run(scene())


def test_one_who_is_cancelled_takes_nobody_with_it() -> None:
    async def scene() -> list[str]:
        latch, woken = Latch(), list[str]()
        leaving = asyncio.create_task(_note(latch, "leaving", woken))
        staying = asyncio.create_task(_note(latch, "staying", woken))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        latch.set()
        await staying
        return woken

    assert asyncio.run(scene()) == ["staying"]
