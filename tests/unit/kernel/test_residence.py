"""Models that come and go under a kernel in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from movable_engine import Movable, MovableEngine
from simulation_loop import simulate
from small_kernel import Computer, ask, on, program, result

from orlop.abi.calls import Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import (
    BadCall,
    Conflict,
    DeadlineMissed,
    DeviceFailed,
    DoesNotFit,
    Exhausted,
    NotFound,
)
from orlop.abi.hints import Hints
from orlop.abi.ids import ModelName, Seq
from orlop.abi.messages import Message
from orlop.abi.replies import Completion
from orlop.abi.residency import ModelLeft, ModelLoaded, ModelOrder
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.models.residency import State, Terms
from orlop.models.residents import Residents
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import engines, models, residence

DEVICE = "arithmetic"


@dataclass(eq=False)
class House:
    """A kernel, its movable engines, and a process that calls."""

    here: Computer
    kernel: Kernel
    process: Process
    engines: dict[str, MovableEngine] = field(default_factory=dict)

    async def furnish(self, *, budget: int, **sizes: int) -> None:
        """Engines with one model each, of these sizes; what fits is loaded."""
        self.kernel.residents.budgets = {DEVICE: budget}
        for name, size in sizes.items():
            await self.add(Movable(name, self.here.clock, size=size, load_s=4.0))
        self.begin()

    async def add(self, movable: Movable, call_s: float = 0.1) -> MovableEngine:
        engine = MovableEngine(
            movable, clock=self.here.clock, chance=SeededChance(2), call_s=call_s
        )
        self.engines[movable.model] = engine
        self.kernel.registry.add(engine)
        await engine.start()
        self.kernel.registry.learn(engine.name, await engine.models())
        residence.attend(self.kernel, engine)
        return engine

    def begin(self) -> None:
        residence.begin(self.kernel, self.engines.values())
        self.kernel.tasks.start(residence.run(self.kernel), "residence")

    def state(self, model: str) -> State:
        (row,) = [row for row in self.kernel.residents if row.model == model]
        return row.state

    async def call(self, model: str, deadline_s: float | None = None) -> float:
        """Seconds that it took."""
        began_s = self.here.clock.now_s()
        call = Infer(
            model=model,
            messages=(Message("user", f"{model} {began_s}"),),
            hints=Hints(deadline_s=deadline_s),
        )
        await result(syscall.enter(self.kernel, self.process, call))
        return self.here.clock.now_s() - began_s

    def check(self) -> None:
        self.kernel.residents.check()
        held = self.kernel.residents.held_bytes(DEVICE)
        assert held <= self.kernel.residents.budgets.get(DEVICE, held)
        assert not any(engine.asked_cold for engine in self.engines.values())


def living(scenario: Callable[[House], Coroutine[object, object, None]], seed: int = 1) -> None:
    async def whole(here: Computer, kernel: Kernel) -> None:
        house = House(here, kernel, await program(kernel))
        await scenario(house)
        house.check()

    on(Computer, whole, seed)


def test_a_boot_loads_what_fits_and_leaves_the_rest_on_the_disk() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10, small=2, middle=5, large=9)
        await house.here.clock.sleep(10.0)
        states = {name: house.state(name) for name in house.engines}
        assert states == {"small": State.HOT, "middle": State.HOT, "large": State.DISK}

    living(scenario)


def test_a_call_for_a_cold_model_waits_for_it_and_is_answered() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10, a=6, b=6)
        await house.here.clock.sleep(10.0)
        assert house.state("b") is State.DISK
        took_s = await house.call("b")
        assert 4.0 <= took_s < 6.0
        assert house.state("a") is State.DISK
        assert await house.call("b") < 1.0

    living(scenario)


def test_the_facts_say_how_long_a_call_waited_for_its_model() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=4, a=4, b=4)
        await house.here.clock.sleep(10.0)
        for expected_s in (4.0, 0.0):
            call = Infer(model="b", messages=(Message("user", str(expected_s)),))
            done = await result(syscall.enter(house.kernel, house.process, call))
            assert isinstance(done, Completion)
            assert done.facts.load_s == pytest.approx(expected_s, abs=1.0)
            assert done.facts.queue_s == 0.0

    living(scenario)


def test_a_load_keeps_no_call_of_another_model() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10, a=4)
        await house.here.clock.sleep(10.0)
        await house.add(Movable("slow", house.here.clock, size=4, load_s=100.0))
        waiting = asyncio.ensure_future(house.call("slow"))
        took = [await house.call("a") for _ in range(20)]
        assert max(took) < 0.5
        assert not waiting.done()
        assert await waiting >= 100.0

    living(scenario)


def test_calls_that_wait_for_one_load_share_it() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=4, a=4, b=4)
        await house.here.clock.sleep(10.0)
        await asyncio.gather(*(house.call("b") for _ in range(8)))
        assert house.engines["b"].movable.loaded == 1

    living(scenario)


def test_a_waiting_call_keeps_its_deadline() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10, a=4)
        await house.add(Movable("slow", house.here.clock, size=4, load_s=100.0))
        began_s = house.here.clock.now_s()
        with pytest.raises(DeadlineMissed):
            await house.call("slow", deadline_s=3.0)
        assert house.here.clock.now_s() - began_s == pytest.approx(3.0)

    living(scenario)


def test_a_load_that_fails_is_told_to_all_that_wait_and_tried_again_for_the_next() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=4, a=4, b=4)
        await house.here.clock.sleep(10.0)
        broken = house.engines["b"].movable
        broken.failing = "the weights are damaged"
        ends = await asyncio.gather(*(house.call("b") for _ in range(3)), return_exceptions=True)
        assert all(isinstance(end, DeviceFailed) and "damaged" in end.message for end in ends)
        broken.failing = ""
        await house.call("b")

    living(scenario)


def test_a_model_larger_than_the_device_is_refused_at_once_with_both_sizes() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=1_000, a=400, giant=123_456)
        began_s = house.here.clock.now_s()
        with pytest.raises(DoesNotFit, match=r"123,456 bytes.*1,000"):
            await house.call("giant")
        assert house.here.clock.now_s() == began_s
        rates = {str(view.name): view.rate for view in models.view(house.kernel).models}
        assert rates["giant"] == 0.0  # What can't come drives nobody out.

    living(scenario)


def test_a_model_that_pins_keep_out_is_refused_with_their_names() -> None:
    async def scenario(house: House) -> None:
        house.kernel.residents.pinned = frozenset({"a"})
        await house.furnish(budget=10, a=6, b=6)
        await house.here.clock.sleep(10.0)
        with pytest.raises(Exhausted, match="pinned"):
            await house.call("b")
        assert house.state("a") is State.HOT

    living(scenario)


def test_two_models_that_are_both_asked_for_without_end_share_one_place() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=6, a=6, b=6)
        served = {"a": 0, "b": 0}
        ends_s = house.here.clock.now_s() + 200.0

        async def customer(model: str) -> None:
            while house.here.clock.now_s() < ends_s:
                await house.call(model)
                served[model] += 1

        await asyncio.gather(*(customer(model) for model in "aabb"))
        assert min(served.values()) > 100
        loads = sum(engine.movable.loaded for engine in house.engines.values())
        # A turn is two cold starts long, so at most every third of the time is spent on loading.
        assert loads <= 200.0 / 12.0 + 2

    for seed in range(1, 6):
        living(scenario, seed)


def test_an_idle_model_goes_to_sleep_and_wakes_for_its_next_call() -> None:
    async def scenario(house: House) -> None:
        house.kernel.residents.terms = Terms(memory_price=1 << 30)  # A byte is worth a second.
        engine = await house.add(Movable("a", house.here.clock, size=1, load_s=4.0, sleeps=True))
        house.begin()
        await house.here.clock.sleep(60.0)
        assert house.state("a") is State.ASLEEP
        assert await house.call("a") == pytest.approx(0.5, abs=0.2)
        assert engine.movable.loaded == 2

    living(scenario)


def test_a_model_that_is_asked_for_each_minute_is_hot_before_the_next_call() -> None:
    async def scenario(house: House) -> None:
        house.kernel.residents.terms = Terms(memory_price=float(1 << 30))
        await house.add(Movable("a", house.here.clock, size=1, load_s=4.0))
        house.begin()
        took = []
        for minute in range(1, 13):
            await house.here.clock.sleep(60.0 * minute - house.here.clock.now_s())
            took.append(await house.call("a"))
        assert took[1] >= 4.0
        assert max(took[-4:]) < 1.0

    living(scenario)


def test_an_engine_that_lost_its_model_has_it_loaded_by_the_next_call() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=4, a=4)
        await house.here.clock.sleep(10.0)
        house.engines["a"].movable.state = "disk"
        await house.here.clock.sleep(20.0)
        assert house.state("a") is State.DISK
        assert await house.call("a") >= 4.0

    living(scenario)


def test_a_model_that_its_engine_lists_only_while_it_is_loaded_is_brought_back_by_a_call() -> None:
    async def scenario(house: House) -> None:
        engine = await house.add(Movable("a", house.here.clock, size=4, load_s=4.0))
        listed = engine.models

        async def models_now() -> Sequence[ModelCard]:
            return await listed() if engine.movable.state == "hot" else []

        engine.models = models_now  # type: ignore[method-assign]
        house.begin()
        house.kernel.tasks.start(engines.keep(house.kernel, engine, paid=False), "keep")
        await house.here.clock.sleep(20.0)
        await models.obey(house.kernel, ModelOrder(order="unload", model="a"))
        await house.here.clock.sleep(40.0)
        assert house.state("a") is State.DISK
        assert await house.call("a") >= 4.0

    living(scenario)


def test_loads_are_journaled_and_their_times_outlive_the_kernel() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        house = House(here, kernel, await program(kernel))
        await house.furnish(budget=6, a=6, b=6)
        await here.clock.sleep(10.0)
        await house.call("b")
        await kernel.journal.flush()
        events = [codec.decode(stored) for stored in await kernel.journal.read(Seq(1))]
        loaded = [event for event in events if isinstance(event, ModelLoaded)]
        left = [event for event in events if isinstance(event, ModelLeft)]
        assert [(event.model, event.origin, event.seconds) for event in loaded] == [
            ("a", "disk", 4.0),
            ("b", "disk", 4.0),
        ]
        assert [(event.model, event.to) for event in left] == [("a", "disk")]
        kernel.snapshot()
        await kernel.journal.flush()
        await here.crash(kernel)
        second = await here.boot()
        again = House(here, second, second.get(house.process.id))
        await again.add(house.engines["b"].movable)
        (row,) = second.residents
        assert row.starts.median_s("disk") == 4.0
        await here.close(second)

    async def alone() -> None:
        here = Computer()
        await scenario(here, await here.boot())

    simulate(1, alone())


def test_a_kernel_without_movable_models_holds_nothing_and_asks_nothing() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        assert isinstance(kernel.residents, Residents)
        assert not kernel.residents.rows
        await result(syscall.enter(kernel, await program(kernel), ask("hello")))

    on(Computer, scenario)


def test_of_a_model_that_nobody_moves_the_size_of_its_file_is_told(tmp_path: Path) -> None:
    weights = tmp_path / "model.onnx"
    weights.write_bytes(b"x" * 1_234)

    async def scenario(here: Computer, kernel: Kernel) -> None:
        name = here.engine.name
        there = ModelCard(name=ModelName("micro"), engine=name, path=str(weights))
        gone = ModelCard(name=ModelName("moved"), engine=name, path=str(tmp_path / "none"))
        kernel.registry.learn(name, [there, gone, ModelCard(name=ModelName("far"), engine=name)])
        seen = {str(view.name): view.bytes for view in models.view(kernel).models}
        assert seen == {"micro": 1_234, "moved": 0, "far": 0}

    on(Computer, scenario)


def test_an_operator_loads_unloads_and_pins() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10, a=6, b=6)
        await house.here.clock.sleep(10.0)
        await models.obey(house.kernel, ModelOrder(order="load", model="b"))
        assert (house.state("a"), house.state("b")) == (State.DISK, State.HOT)
        await models.obey(house.kernel, ModelOrder(order="pin", model="b"))
        with pytest.raises(Conflict, match="pinned"):
            await models.obey(house.kernel, ModelOrder(order="unload", model="b"))
        with pytest.raises(Exhausted, match="pinned"):
            await models.obey(house.kernel, ModelOrder(order="load", model="a"))
        await models.obey(house.kernel, ModelOrder(order="unpin", model="b"))
        await models.obey(house.kernel, ModelOrder(order="unload", model="b"))
        assert house.state("b") is State.DISK

    living(scenario)


def test_a_model_that_is_being_loaded_is_unloaded_when_it_is_there() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10, a=6)
        await house.here.clock.sleep(1.0)
        assert house.state("a") is State.LOADING
        await models.obey(house.kernel, ModelOrder(order="unload", model="a"))
        assert house.state("a") is State.DISK

    living(scenario)


def test_a_model_that_calls_use_is_not_unloaded() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10)
        await house.add(Movable("a", house.here.clock, size=6, load_s=4.0), call_s=20.0)
        house.begin()
        calling = asyncio.ensure_future(house.call("a"))
        await house.here.clock.sleep(10.0)
        with pytest.raises(Conflict, match="1 calls use a"):
            await models.obey(house.kernel, ModelOrder(order="unload", model="a"))
        await calling

    living(scenario)


def test_an_order_for_an_engine_that_has_what_it_has_says_so() -> None:
    async def scenario(house: House) -> None:
        with pytest.raises(BadCall, match="can't move"):
            await models.obey(house.kernel, ModelOrder(order="load", model="fake"))
        with pytest.raises(NotFound, match="there is: fake"):
            await models.obey(house.kernel, ModelOrder(order="load", model="nix"))

    living(scenario)


def test_the_view_tells_states_bytes_rates_and_measured_cold_starts() -> None:
    async def scenario(house: House) -> None:
        await house.furnish(budget=10, a=6, b=6)
        await house.here.clock.sleep(10.0)
        for _ in range(3):
            await house.call("a")
        seen = {str(view.name): view for view in models.view(house.kernel).models}
        a, b, fake = seen["a"], seen["b"], seen["fake"]
        assert (a.state, a.bytes, a.moved, a.loads) == ("hot", 6, True, 1)
        assert a.rate > 0 == b.rate
        assert [(start.origin, start.seconds, start.count) for start in a.cold_starts] == [
            ("disk", 4.0, 1)
        ]
        assert (b.state, b.cold_starts) == ("disk", ())
        assert (fake.state, fake.moved) == ("hot", False)
        (pool,) = models.view(house.kernel).pools
        assert (pool.held_bytes, pool.budget_bytes) == (6, 10)

    living(scenario)
