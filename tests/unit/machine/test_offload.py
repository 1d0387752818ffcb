"""Blocking work in a thread: in order, whatever it ends in, and nobody waits for ever."""

import asyncio
import threading

import pytest

from orlop.machine.offload import ThreadOffload


def test_work_is_done_in_order_beside_the_loop_and_its_result_is_told() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        return threading.get_ident()

    async def scenario() -> None:
        threads = await asyncio.gather(*(offload(work, number) for number in range(50)))
        assert len(set(threads)) == 1 and threading.get_ident() not in threads

    offload = ThreadOffload("test")
    asyncio.run(scenario())
    asyncio.run(scenario())  # Another loop, the same thread.
    offload.close()
    assert done == [*range(50), *range(50)]


@pytest.mark.parametrize("error", [OSError("full"), StopIteration(3), SystemExit(2)])
def test_whatever_work_ends_in_is_raised_where_it_is_waited_for(error: BaseException) -> None:
    def work() -> None:
        raise error

    async def scenario() -> str:
        try:
            await offload(work)
        except BaseException as told:
            return type(told).__name__
        return "nothing"

    offload = ThreadOffload("test")
    raised = asyncio.run(scenario())
    offload.close()
    assert raised == ("RuntimeError" if isinstance(error, StopIteration) else type(error).__name__)


def test_work_whose_caller_has_left_before_it_began_is_not_done() -> None:
    done: list[str] = []
    gate = threading.Event()

    async def scenario() -> None:
        first = asyncio.ensure_future(offload(gate.wait))
        second = asyncio.ensure_future(offload(done.append, "second"))
        third = asyncio.ensure_future(offload(done.append, "third"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, third)

    offload = ThreadOffload("test")
    asyncio.run(scenario())
    offload.close()
    assert done == ["third"]


def test_close_waits_for_what_is_under_way_and_refuses_what_comes_later() -> None:
    done: list[str] = []

    async def scenario() -> None:
        asyncio.ensure_future(offload(done.append, "late"))  # noqa: RUF006
        await asyncio.sleep(0)

    offload = ThreadOffload("test")
    asyncio.run(scenario())
    offload.close()
    offload.close()
    assert done in (["late"], [])  # Its loop has cancelled it, or it had begun.
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(offload(done.append, "never"))
    assert "never" not in done
