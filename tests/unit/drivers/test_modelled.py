"""The engine model behind a driver's face, in virtual time."""

import asyncio

import pytest
from simulation.power import LoopClock
from simulation_loop import simulate

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.hints import Hints
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Delta
from orlop.devices.device import Capacity, Preempted, Turn
from orlop.devices.speed import Linear
from orlop.drivers.modelled import ModelledEngine

MODEL = ModelName("modelled")
SPEED = Linear(decode_a_s=0.02, prefill_b_s=0.001)


def engine(kv_tokens: int = 50_000) -> ModelledEngine:
    capacity = Capacity(slots=8, kv_tokens=kv_tokens, speed=SPEED, continues=True)
    return ModelledEngine(EngineName("m"), capacity, clock=LoopClock())


def ask(chars: int, tokens: int = 50) -> Infer:
    hints = Hints(output_tokens=tokens)
    return Infer(model="modelled", messages=(Message("user", "x" * chars),), hints=hints)


def test_an_answer_takes_as_long_as_the_model_says_and_comes_in_pieces() -> None:
    async def story() -> None:
        driver = engine()
        await driver.start()
        came: list[float] = []
        clock = LoopClock()
        began_s = clock.now_s()
        answer = await driver.infer(
            ask(4_000), MODEL, lambda delta: came.append(clock.now_s()), 60.0
        )
        took_s = clock.now_s() - began_s
        assert answer.usage.output_tokens == 50
        assert took_s == pytest.approx(1.0 + 49 * 0.02, rel=0.05)
        assert answer.prefill_s + answer.decode_s == pytest.approx(took_s, rel=0.01)
        assert len(came) == 50
        await driver.close()

    simulate(1, story())


def test_a_program_that_goes_on_is_found_in_the_cache() -> None:
    async def story() -> None:
        driver = engine()
        await driver.start()
        turn = Turn(program="p")
        await driver.infer(ask(4_000), MODEL, None, 60.0, turn)
        again = await driver.infer(ask(4_400), MODEL, None, 60.0, turn)
        assert again.usage.cached_tokens > 950
        other = await driver.infer(ask(4_400), MODEL, None, 60.0, Turn(program="q"))
        assert other.usage.cached_tokens == 0
        await driver.close()

    simulate(1, story())


def test_a_call_that_yields_goes_on_where_it_was_and_says_nothing_twice() -> None:
    async def story() -> None:
        driver = engine()
        await driver.start()
        whole = await driver.infer(ask(400), MODEL, None, 60.0)
        pieces: list[str] = []

        def note(delta: Delta) -> None:
            pieces.append(delta.text)

        stop = asyncio.Event()
        turn = Turn(program="p", yield_now=stop)
        first = asyncio.ensure_future(driver.infer(ask(400), MODEL, note, 60.0, turn))
        await asyncio.sleep(0.5)
        stop.set()
        with pytest.raises(Preempted) as cut:
            await first
        assert 5 < cut.value.partial.deltas < 45
        rest = Turn(program="p", so_far=cut.value.partial)
        await driver.infer(ask(400), MODEL, note, 60.0, rest)
        assert "".join(pieces) == whole.choices[0].message.text()
        await driver.close()

    simulate(1, story())


def test_a_caller_who_leaves_frees_the_engine() -> None:
    async def story() -> None:
        driver = engine()
        await driver.start()
        running = asyncio.ensure_future(driver.infer(ask(400, 10_000), MODEL, None, 600.0))
        await asyncio.sleep(1.0)
        assert driver.load().running == 1
        running.cancel()
        await asyncio.sleep(0.1)
        assert driver.load().running == 0
        await driver.close()

    simulate(1, story())


def test_what_never_fits_is_refused_and_what_was_lost_is_told() -> None:
    async def story() -> None:
        driver = engine(kv_tokens=2_000)
        with pytest.raises(DeviceFailed, match="starting"):
            await driver.infer(ask(40), MODEL, None, 60.0)
        await driver.start()
        with pytest.raises(DeviceRefused, match="holds 2000 tokens"):
            await driver.infer(ask(40_000), MODEL, None, 60.0)
        with pytest.raises(DeviceRefused, match="no chat model"):
            await driver.infer(ask(40), ModelName("other"), None, 60.0)
        running = asyncio.ensure_future(driver.infer(ask(400, 1_000), MODEL, None, 60.0))
        await asyncio.sleep(1.0)
        driver.fail()
        with pytest.raises(DeviceFailed, match="lost"):
            await running
        await driver.close()

    simulate(1, story())
