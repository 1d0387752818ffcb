"""Limits of external systems: shared by all, learned from complaints, waited for seatless."""

import asyncio
import math
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_kernel import Computer, on, program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import Effect, ToolCard
from orlop.abi.errors import DeviceBusy, Misconfigured, RateReached
from orlop.abi.hints import Hints
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.subsystems import external
from orlop.tools.systems import System, SystemConfig, Systems


class Shop:
    """Two tools of one system.  busy: how often it says that it is asked too often."""

    def __init__(
        self,
        name: str,
        effect: Effect = "irreversible",
        busy: int = 0,
        inside: list[str] | None = None,
    ) -> None:
        self.card = ToolCard(name=name, effect=effect, system="shop", concurrency=100)
        self.began: list[float] = []
        self.inside = inside if inside is not None else []
        self.most = 0
        self._busy = busy

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.began.append(asyncio.get_running_loop().time())
        if self._busy:
            self._busy -= 1
            raise DeviceBusy("too many", retry_after_s=7.0)
        self.inside.append(key)
        self.most = max(self.most, len(self.inside))
        await asyncio.sleep(3)
        self.inside.remove(key)
        return "done"

    async def happened(self, key: str) -> bool | None:
        return None


def limited(kernel: Kernel, **how: object) -> None:
    kernel.systems = Systems({"shop": SystemConfig(**how)})  # type: ignore[arg-type]


def test_all_agents_and_tools_share_a_systems_rate_and_its_concurrency() -> None:
    inside: list[str] = []
    buy, sell = Shop("buy", inside=inside), Shop("sell", inside=inside)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        limited(kernel, rate="60/min", concurrency=2)
        processes = [await program(kernel) for _ in range(3)]
        calls = [
            result(syscall.enter(kernel, process, CallTool(tool=tool, arguments={"n": n})))
            for process in processes
            for n, tool in enumerate(("buy", "sell", "buy"))
        ]
        await asyncio.gather(*calls)
        began = sorted([*buy.began, *sell.began])
        assert len(began) == 9
        assert all(later - sooner >= 0.999 for sooner, later in pairwise(began))
        assert max(buy.most, sell.most) == 2

    on(lambda: Computer(tools=[buy, sell]), scenario)


def test_who_can_not_have_a_turn_in_time_is_told_which_limit_and_when_to_come_back() -> None:
    shop = Shop("buy")

    async def scenario(here: Computer, kernel: Kernel) -> None:
        limited(kernel, rate="1/min")
        process = await program(kernel)
        await result(syscall.enter(kernel, process, CallTool(tool="buy")))
        hurried = CallTool(tool="buy", arguments={"n": 2}, hints=Hints(deadline_s=10))
        with pytest.raises(RateReached, match=r"system shop .*\[systems.shop\]") as refusal:
            await result(syscall.enter(kernel, process, hurried))
        assert refusal.value.retry_after_s == pytest.approx(57, abs=0.1)
        assert len(shop.began) == 1

    on(lambda: Computer(tools=[shop]), scenario)


def test_a_call_that_was_turned_away_did_nothing_and_is_made_again_when_it_may() -> None:
    shop = Shop("buy", busy=2)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        await result(syscall.enter(kernel, process, CallTool(tool="buy")))
        gaps = [b - a for a, b in pairwise(shop.began)]
        assert len(gaps) == 2 and all(gap >= 7 for gap in gaps)
        (view,) = external.views(kernel)
        assert view.is_learned and view.rate_s is not None and view.rate_s < 1
        assert kernel.tables.calls.unknown == {}

    on(lambda: Computer(tools=[shop]), scenario)


def test_waiting_holds_no_seat() -> None:
    slow, other = Shop("buy"), Shop("sell")
    other.card = ToolCard(name="sell", effect="pure", concurrency=1)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        limited(kernel, rate="1/min", concurrency=1)
        process = await program(kernel)
        waiting = [
            asyncio.create_task(
                result(syscall.enter(kernel, process, CallTool(tool="buy", arguments={"n": n})))
            )
            for n in range(3)
        ]
        await asyncio.sleep(10)
        assert kernel.scheduler.stations["system:shop"].running == {}
        await asyncio.gather(*waiting)

    on(lambda: Computer(tools=[slow, other]), scenario)


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_no_window_holds_more_calls_than_rate_and_burst_allow(
    rate: float, burst: int, gaps: list[float]
) -> None:
    system, now_s = System("x", rate, burst), 1000.0
    begun: list[float] = []
    for gap in gaps:
        now_s += gap
        begun.append(system.turn(now_s, math.inf))
    for at, first in enumerate(begun):
        for last in range(at, len(begun)):
            allowed = burst + rate * (begun[last] - first) + 1e-6
            assert last - at + 1 <= allowed + 1e-6


def test_a_learned_rate_grows_until_it_is_forgotten() -> None:
    system = System("x")
    for n in range(20):
        system.turn(n * 0.5, 1.0)
    system.complained(10.0, None)
    assert system.rate_s(10.0) == pytest.approx(1.0, rel=0.2)
    assert system.rate_s(70.0) > system.rate_s(10.0)
    assert system.rate_s(10_000.0) == math.inf


@pytest.mark.parametrize("rate", ["often", "10", "10/day", "-1/s", "0/s"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    with pytest.raises(Misconfigured, match="write 10/s"):
        Systems({"shop": SystemConfig(rate=rate)})
