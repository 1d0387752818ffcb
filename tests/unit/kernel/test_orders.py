"""The scheduler's orders reach engines that move contexts, and no others."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Literal

from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import EngineName
from orlop.devices.device import Contexts
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock
from orlop.machine.tasks import TaskOwner
from orlop.sched.work import Order
from orlop.state.orders import Orders


@dataclass
class Moved:
    """Contexts that are moved when told to go on; every other save fails."""

    done: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False

    async def save(self, program: str) -> int:
        await self.go_on.wait()
        if self.fails:
            raise DeviceFailed("the host is gone")
        self.done.append(f"save {program}")
        return 1

    async def drop(self, program: str) -> None:
        await self.go_on.wait()
        self.done.append(f"drop {program}")


class Moving(FakeEngine):
    """A fake engine with contexts."""

    def __init__(self, name: str, moved: Moved | None) -> None:
        super().__init__(
            EngineName(name), FakeConfig(), clock=SystemClock(), chance=SeededChance(1)
        )
        self._moved = moved

    @property
    def contexts(self) -> Contexts | None:
        return self._moved


def order(engine: str, context: str, action: Literal["keep", "save", "drop"]) -> Order:
    return Order(engine=engine, context=context, action=action, why="")


def carried(
    moved: Moved, scenario: Callable[[Orders, TaskOwner], Coroutine[object, object, None]]
) -> None:
    async def whole() -> None:
        tasks = TaskOwner("test")
        engines = {engine.name: engine for engine in (Moving("e", moved), Moving("still", None))}
        await scenario(Orders(engines, tasks), tasks)
        moved.go_on.set()
        async with asyncio.timeout(5):
            while len(tasks):  # noqa: ASYNC110 - their owner tells only how many are left
                await asyncio.sleep(0)

    asyncio.run(whole())


def test_orders_are_carried_in_turn_and_of_a_context_only_the_latest() -> None:
    moved = Moved()

    async def scenario(orders: Orders, tasks: TaskOwner) -> None:
        orders.give(order("e", "first", "save"))
        await asyncio.sleep(0)
        for context, action in (("a", "save"), ("b", "save"), ("a", "drop"), ("c", "drop")):
            orders.give(order("e", context, "save" if action == "save" else "drop"))
        orders.give(order("e", "b", "keep"))
        assert len(tasks) == 1

    carried(moved, scenario)
    assert moved.done == ["save first", "drop a", "drop c"]


def test_who_moves_nothing_gets_no_orders_and_keeping_is_no_work() -> None:
    moved = Moved()

    async def scenario(orders: Orders, tasks: TaskOwner) -> None:
        orders.give(order("still", "a", "save"))
        orders.give(order("nobody", "a", "drop"))
        orders.give(order("e", "a", "keep"))
        assert len(tasks) == 0

    carried(moved, scenario)
    assert moved.done == []


def test_an_order_that_fails_keeps_no_other_back() -> None:
    moved = Moved(fails=True)

    async def scenario(orders: Orders, tasks: TaskOwner) -> None:
        orders.give(order("e", "a", "save"))
        orders.give(order("e", "b", "drop"))

    carried(moved, scenario)
    assert moved.done == ["drop b"]
