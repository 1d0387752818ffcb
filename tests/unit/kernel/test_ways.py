"""What lies between a call and an engine decides where it runs: a load, a way, a price."""

import asyncio
from dataclasses import replace

from movable_engine import Movable, MovableEngine
from msgspec.structs import replace as replace_call
from small_kernel import Computer, ask, on, program, result

from orlop.abi.cards import ModelCard
from orlop.abi.devices import DeviceName
from orlop.abi.hints import Hints, LatencyClass
from orlop.abi.ids import EngineName, ModelName, ProcessId
from orlop.abi.replies import Completion
from orlop.hardware.configured import DeviceConfig
from orlop.hardware.table import DeviceTable
from orlop.kernel import syscall
from orlop.machine.chance import SeededChance
from orlop.models.residency import State
from orlop.models.residents import Resident
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Work
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import residence, ways

MODEL, CALL_S, LOAD_S = "m", 1.0, 4.0


async def add(here: Computer, kernel: Kernel, name: str, *, is_hot: bool) -> MovableEngine:
    """An engine with one seat."""
    movable = Movable(MODEL, here.clock, size=1, load_s=LOAD_S)
    movable.state = "hot" if is_hot else "disk"
    engine = MovableEngine(
        movable, clock=here.clock, chance=SeededChance(2), call_s=CALL_S, name=name, slots=1
    )
    kernel.registry.add(engine)
    await engine.start()
    kernel.registry.learn(engine.name, await engine.models())
    residence.attend(kernel, engine)
    (row,) = [row for row in kernel.residents if row.engine is engine]
    row.starts.note(State.DISK, LOAD_S)
    row.starts.note(State.HOST, LOAD_S)
    return engine


async def call(
    kernel: Kernel, process: Process, number: int, latency_class: LatencyClass = "standard"
) -> Completion:
    hints = Hints(latency_class=latency_class)
    asked = replace_call(ask(f"number {number}", hints=hints), model=MODEL)
    done = await result(syscall.enter(kernel, process, asked))
    assert isinstance(done, Completion)
    return done


def test_a_model_is_loaded_beside_a_queue_that_takes_longer_and_not_beside_a_short_one() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await add(here, kernel, "near", is_hot=True)
        cold = await add(here, kernel, "other", is_hot=False)
        kernel.tasks.start(residence.run(kernel), "residence")
        process = await program(kernel)
        for number in range(8):  # So long until its pace is known.
            await call(kernel, process, number)
        few = [call(kernel, process, number) for number in range(10, 14)]
        assert {done.facts.engine for done in await asyncio.gather(*few)} == {"near"}
        assert cold.movable.loaded == 0
        many = [asyncio.create_task(call(kernel, process, number)) for number in range(20, 40)]
        await asyncio.sleep(0.5)
        urgent = await call(kernel, process, 50, "interactive")
        assert urgent.facts.engine == "near" and urgent.facts.load_s == 0
        done = await asyncio.gather(*many)
        assert cold.movable.loaded == 1
        waited = [one.facts.engine for one in done if one.facts.load_s > 0]
        assert "other" in waited
        assert "near" in {one.facts.engine for one in done}

    on(Computer, scenario)


def test_a_load_that_fails_costs_no_call_its_answer() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await add(here, kernel, "near", is_hot=True)
        cold = await add(here, kernel, "other", is_hot=False)
        cold.movable.failing = "no such file"
        kernel.tasks.start(residence.run(kernel), "residence")
        process = await program(kernel)
        for number in range(8):
            await call(kernel, process, number)
        done = await asyncio.gather(*(call(kernel, process, number) for number in range(20, 50)))
        assert {one.facts.engine for one in done} == {"near"}

    on(Computer, scenario)


def test_who_would_have_to_leave_for_a_load_counts_with_the_start_that_he_will_need() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        near = await add(here, kernel, "near", is_hot=True)
        other = await add(here, kernel, "other", is_hot=False)
        idle = await add(here, kernel, "idle", is_hot=True)
        rows = {row.engine.name: row for row in kernel.residents}
        kernel.scheduler.attach(near.name, near.capacity())
        station = kernel.scheduler.stations[near.name]
        station.counts.calls, station.call_s = 8, CALL_S
        rows[near.name].running = 1
        await here.clock.sleep(60.0)
        cards = {card.engine: card for card in kernel.registry.cards()}
        ready: list[tuple[Resident | None, ModelCard]] = [(rows[near.name], cards[near.name])]
        cold = [(rows[other.name], cards[other.name])]

        def queue(calls: int) -> None:
            for number in range(calls):
                name = ProcessId(f"p{number}")
                work = Work(process=name, candidates=("near",), arrived_s=here.clock.now_s())
                kernel.scheduler.enter(work, here.clock.now_s())

        def engine() -> str:
            found = ways.worth_loading(kernel, ready, cold, "standard")
            return "" if found is None else found[1].engine

        queue(12)
        assert engine() == "other", "there is no limit"
        kernel.residents.budgets = {rows[near.name].device: 2}
        assert engine() == "", "a load of 4 s, and another 4 s later, for a wait of 12 s"
        queue(12)
        assert engine() == "other"
        rows[idle.name].is_pinned = True
        assert engine() == "", "nobody who idles may leave"

    on(Computer, scenario)


def devices(**config: DeviceConfig) -> DeviceTable:
    table = DeviceTable(config)
    table.see([])
    for name in config:
        table.stand(EngineName(f"on_{name}"), DeviceName(name))
    return table


def test_bytes_that_cost_something_count_as_seconds() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        kernel.devices = devices(
            far=DeviceConfig(
                kind="gpu", round_trip_s={"kernel": 0.08}, egress_dollars_gb={"kernel": 0.09}
            ),
            near=DeviceConfig(kind="gpu"),
        )
        both = {
            EngineName(name): ModelCard(name=ModelName(MODEL), engine=EngineName(name))
            for name in ("on_far", "on_near")
        }
        size, tokens = 10**6 - 400, 100
        found = ways.starts_s(kernel, both, size, tokens)
        assert found == {"on_far": 0.08 + 0.001 * 0.09 * 1000}
        kernel.scheduler = Scheduler(replace(SchedulerConfig(), seconds_per_dollar=10.0))
        assert ways.starts_s(kernel, both, size, tokens) == {"on_far": 0.08 + 0.001 * 0.09 * 10}
        alone = {EngineName("on_far"): both[EngineName("on_far")]}
        assert ways.starts_s(kernel, alone, size, tokens) == {}, "there is no choice to weigh"

    on(Computer, scenario)
