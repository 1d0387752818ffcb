"""The kernel and its devices: what is journaled, where calls go, who holds what."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import pytest
from movable_engine import Movable, MovableEngine
from msgspec.structs import replace
from simulation_loop import simulate
from small_kernel import Computer, ask, on, program, result

from orlop.abi.devices import (
    ClaimOrder,
    DeviceCard,
    DeviceChanged,
    DeviceClaimed,
    DeviceErased,
    DeviceName,
    DeviceReleased,
    DrainOrder,
    Reading,
    Value,
)
from orlop.abi.errors import (
    BadCall,
    Conflict,
    DeviceFailed,
    Exhausted,
    NoSuchDevice,
)
from orlop.abi.events import Event
from orlop.abi.hints import Hints
from orlop.abi.ids import EngineName, Seq, TenantId
from orlop.abi.replies import Completion
from orlop.devices.device import Capacity
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.devices.speed import Linear
from orlop.hardware.configured import DeviceConfig
from orlop.kernel import recovery, syscall
from orlop.machine.offload import InlineOffload
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.subsystems import claims, devices, lifecycle, residence

P = ParamSpec("P")
R = TypeVar("R")

HOT = Reading(clock_share=0.25, throttled=("heat",))


def gpu(index: int, reading: Reading = Reading(), **attributes: Value) -> DeviceCard:  # noqa: B008
    return DeviceCard(
        name=DeviceName(f"nvidia{index}"),
        kind="gpu",
        attributes={"uuid": f"GPU-{index}", "hbm_gb": 80.0, **attributes},
        reading=reading,
    )


@dataclass
class Machine:
    """Hardware that tests plug in and out."""

    cards: list[DeviceCard] = field(default_factory=list)
    pids: tuple[int, ...] | None = None

    def look(self) -> list[DeviceCard]:
        return list(self.cards)

    def computing(self, card: DeviceCard) -> tuple[int, ...] | None:
        return self.pids


class Forgetful(FakeEngine):
    """Can be erased."""

    async def erase(self) -> str:
        return "its arithmetic is forgotten"


async def look(kernel: Kernel, machine: Machine) -> None:
    """One look, and what it begins."""
    await devices.look(kernel, machine, InlineOffload())
    await kernel.clock.sleep(0.01)


async def two_engines(computer: Computer, kernel: Kernel, machine: Machine) -> None:
    """The computer's engine stands on nvidia0, another one on nvidia1."""
    other = Forgetful(
        EngineName("other"), FakeConfig(), clock=computer.clock, chance=computer.chance
    )
    kernel.registry.add(other)
    await other.start()
    kernel.registry.learn(other.name, await other.models())
    devices.stand(kernel, computer.engine, "nvidia0")
    devices.stand(kernel, other, "nvidia1")
    await look(kernel, machine)


async def events(kernel: Kernel) -> list[Event]:
    """Those about devices, in order."""
    await kernel.journal.flush()
    found = [codec.decode(stored) for stored in await kernel.journal.read(Seq(1))]
    kinds = DeviceChanged | DeviceClaimed | DeviceReleased | DeviceErased
    return [event for event in found if isinstance(event, kinds)]


Scenario = Callable[[Computer, Kernel], Coroutine[object, object, None]]


def run(scenario: Scenario) -> None:
    on(Computer, scenario)


async def asked(kernel: Kernel, **hints: object) -> Completion:
    process = await program(kernel)
    call = ask("hello", hints=Hints(**hints))  # type: ignore[arg-type]
    done = await result(syscall.enter(kernel, process, call))
    assert isinstance(done, Completion)
    return done


def test_a_call_goes_to_a_device_that_meets_its_claim_and_its_facts_name_it() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        machine = Machine([gpu(0, region="us"), gpu(1, region="eu")])
        await two_engines(computer, kernel, machine)
        for _ in range(3):
            done = await asked(kernel, device='device.class == "gpu" && hbm_gb >= 40', region="eu")
            assert (done.facts.engine, done.facts.device) == ("other", "nvidia1")

    run(scenario)


def test_a_claim_that_no_device_meets_is_refused_with_the_nearest_and_nothing_begins() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        with pytest.raises(NoSuchDevice, match=r"hbm_gb >= 200` fails \(hbm_gb is 80\)"):
            await asked(kernel, device="hbm_gb >= 200")
        with pytest.raises(BadCall, match="character 10"):
            await asked(kernel, device="hbm_gb >=")
        with pytest.raises(NoSuchDevice, match="region is not known"):
            await asked(kernel, region="eu")
        assert not kernel.tables.calls.open

    run(scenario)


def test_work_leaves_a_lost_device_and_comes_back_with_it() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        machine = Machine([gpu(0), gpu(1)])
        await two_engines(computer, kernel, machine)
        machine.cards = [gpu(0)]
        await look(kernel, machine)
        assert {(await asked(kernel)).facts.engine for _ in range(4)} == {"engine"}
        with pytest.raises(DeviceFailed, match="nvidia1 is lost"):
            await asked(kernel, device='name == "nvidia1"')
        machine.cards = []
        await look(kernel, machine)
        with pytest.raises(DeviceFailed, match="nvidia0 is lost: it is not there any more"):
            await asked(kernel)
        machine.cards = [gpu(0), gpu(1)]
        await look(kernel, machine)
        assert (await asked(kernel)).facts.device
        changes = [event for event in await events(kernel) if isinstance(event, DeviceChanged)]
        assert [(change.device, change.health) for change in changes] == [
            ("nvidia0", "ready"),
            ("nvidia1", "ready"),
            ("nvidia1", "lost"),
            ("nvidia0", "lost"),
            ("nvidia0", "ready"),
            ("nvidia1", "ready"),
        ]

    run(scenario)


def test_calls_that_wait_for_a_drained_device_go_where_they_can() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        clock, chance = computer.clock, computer.chance
        config = FakeConfig(models=("busy",), slots=1, decode_s=1.0, tokens=10)
        for number, place in enumerate(("nvidia0", "nvidia1")):
            engine = FakeEngine(EngineName(f"e{number}"), config, clock=clock, chance=chance)
            kernel.registry.add(engine)
            await engine.start()
            kernel.registry.learn(engine.name, await engine.models())
            devices.stand(kernel, engine, place)
        await look(kernel, Machine([gpu(0), gpu(1)]))
        process = await program(kernel)
        calls = [
            syscall.enter(kernel, process, replace(ask(f"case {number}"), model="busy"))
            for number in range(4)
        ]
        await kernel.clock.sleep(1)
        await devices.drain(kernel, "nvidia1", DrainOrder())
        done = [await result(call) for call in calls]
        places = [one.facts.device for one in done if isinstance(one, Completion)]
        assert sorted(places) == ["nvidia0", "nvidia0", "nvidia0", "nvidia1"]

    run(scenario)


def test_a_throttled_device_has_fewer_slots() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        machine = Machine([gpu(0, HOT), gpu(1)])
        await two_engines(computer, kernel, machine)
        await look(kernel, machine)
        seen = devices.as_usable(kernel, computer.engine.card())
        assert (computer.engine.slots, seen.slots) == (8, 2)
        (change,) = [event for event in await events(kernel) if "throttled" in str(event)]
        assert isinstance(change, DeviceChanged)
        assert (change.health, change.share) == ("degraded", 0.25)

    run(scenario)


def test_running_out_of_memory_lowers_the_device_and_is_looked_into() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        kernel.device_look.clear()
        devices.failed(kernel, computer.engine, DeviceFailed("engine: CUDA out of memory."))
        assert kernel.devices.card("nvidia0").share == 0.5
        assert kernel.device_look.is_set()
        devices.failed(kernel, computer.engine, DeviceFailed("engine: connection refused"))
        assert kernel.devices.card("nvidia0").share == 0.5

    run(scenario)


def test_an_engine_far_below_its_calibrated_speed_takes_less() -> None:
    class Calibrated(FakeEngine):
        def capacity(self) -> Capacity:
            return Capacity(slots=8, speed=Linear(decode_a_s=0.01, prefill_b_s=0.001))

    async def scenario(computer: Computer, kernel: Kernel) -> None:
        config = FakeConfig(models=("slow",), decode_s=0.04, tokens=20)
        slow = Calibrated(EngineName("slow"), config, clock=computer.clock, chance=computer.chance)
        kernel.registry.add(slow)
        await slow.start()
        kernel.registry.learn(slow.name, await slow.models())
        devices.stand(kernel, slow, "nvidia0")
        await look(kernel, Machine([gpu(0)]))
        process = await program(kernel)
        for number in range(8):
            assert kernel.devices.card("nvidia0").share == 1.0
            call = replace(ask(f"case {number}"), model="slow")
            await result(syscall.enter(kernel, process, call))
        card = kernel.devices.card("nvidia0")
        assert (card.health, round(card.share, 2)) == ("degraded", 0.25)
        assert card.reason == "it runs at 25% of its calibrated speed"

    run(scenario)


def test_the_watch_looks_again_after_its_interval_and_at_once_when_it_is_asked_to() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        looks = list[float]()

        class Counting(Machine):
            def look(self) -> list[DeviceCard]:
                looks.append(kernel.clock.now_s())
                return []

        kernel.tasks.start(devices.watch(kernel, Counting(), InlineOffload()), "devices")
        await kernel.clock.sleep(20)
        kernel.device_look.set()
        await kernel.clock.sleep(1)
        start = looks[0]
        assert [round(moment - start, 1) for moment in looks] == [0.0, 15.5, 20.0]

    run(scenario)


def test_a_call_that_comes_right_after_a_boot_waits_for_the_first_look() -> None:
    class Slow(InlineOffload):
        """A library that takes a second to load."""

        async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
            await asyncio.sleep(1.0)
            return work(*args, **kwargs)

    async def scenario(computer: Computer, kernel: Kernel) -> None:
        devices.begin(kernel, Machine([gpu(0)]), Slow())
        devices.stand(kernel, computer.engine, "nvidia0")
        arrived_s = kernel.clock.now_s()
        done = await asked(kernel, device="hbm_gb > 40")
        assert done.facts.device == "nvidia0"
        assert 0.9 < kernel.clock.now_s() - arrived_s < 1.1

    run(scenario)


def test_a_library_that_hangs_changes_nothing_and_keeps_no_call_for_ever() -> None:
    class Hanging(InlineOffload):
        async def __call__(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
            await asyncio.Event().wait()
            return work(*args, **kwargs)

    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        devices.begin(kernel, Machine(), Hanging())
        arrived_s = kernel.clock.now_s()
        assert (await asked(kernel, device='name == "nvidia1"')).facts.device == "nvidia1"
        assert kernel.clock.now_s() - arrived_s < 11

    run(scenario)


def test_what_was_drained_stays_so_after_a_crash() -> None:
    async def whole() -> None:
        computer = Computer()
        kernel = await computer.boot()
        machine = Machine([gpu(0), gpu(1)])
        await two_engines(computer, kernel, machine)
        await devices.drain(kernel, "nvidia0", DrainOrder(reason="its fan is changed"))
        await computer.crash(kernel)
        again = await computer.boot()
        devices.recall(again)
        before = len(await events(again))
        await look(again, machine)
        assert len(await events(again)) == before
        card = again.devices.card("nvidia0")
        assert (card.health, card.reason) == ("drained", "its fan is changed")
        await devices.restore(again, "nvidia0")
        assert again.devices.card("nvidia0").health == "ready"
        await computer.close(again)

    simulate(1, whole())


def test_a_claim_is_journaled_and_ends_with_its_process() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        holder = await program(kernel)
        claim = await claims.claim(kernel, holder, ClaimOrder(where="hbm_gb > 40", share=0.5))
        assert kernel.devices.card(claim.device).share_claimed == 0.5
        assert list(kernel.tables.claims.held) == [claim.id]
        await lifecycle.signal(kernel, holder, "kill", "enough")
        await lifecycle.ended(kernel, holder)
        await kernel.clock.sleep(0.1)
        assert kernel.devices.card(claim.device).share_claimed == 0
        assert not kernel.tables.claims.held
        with pytest.raises(Conflict):
            await claims.claim(kernel, holder, ClaimOrder())

    run(scenario)


def test_a_holder_saves_its_state_before_its_device_is_taken() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        holder, saved = await program(kernel), list[str]()

        async def checkpoint(why: str, within_s: float) -> None:
            await kernel.clock.sleep(within_s / 2)
            saved.append(why)

        claim = await claims.claim(kernel, holder, ClaimOrder(), checkpoint)
        order = DrainOrder(reason="the spot market", within_s=10.0)
        await devices.drain(kernel, claim.device, order)
        await kernel.clock.sleep(4)
        assert not saved
        assert kernel.tables.claims.held
        await kernel.clock.sleep(2)
        assert saved == [f"{claim.device} is drained: the spot market"]
        assert not kernel.tables.claims.held

    run(scenario)


@pytest.mark.parametrize(
    ("told_s", "needs_s", "waits_s"), [(30.0, 7.0, 30.0), (None, 7.0, 7.0), (None, 0.0, 5.0)]
)
def test_a_holder_has_the_notice_of_its_device_where_the_operator_names_none(
    told_s: float | None, needs_s: float, waits_s: float
) -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        cards = [gpu(0), gpu(1)]
        if told_s is not None:
            for card in cards:
                card.attributes["notice_s"] = told_s
        await two_engines(computer, kernel, Machine(cards))
        told = list[float]()

        async def checkpoint(why: str, within_s: float) -> None:
            told.append(within_s)

        order = ClaimOrder(notice_s=needs_s)
        claim = await claims.claim(kernel, await program(kernel), order, checkpoint)
        await devices.drain(kernel, claim.device, DrainOrder())
        await kernel.clock.sleep(0.1)
        assert told == [waits_s]

    run(scenario)


def test_a_holder_of_a_lost_device_saves_what_it_has_elsewhere() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        machine = Machine([gpu(0), gpu(1)])
        await two_engines(computer, kernel, machine)
        told = list[str]()

        async def checkpoint(why: str, within_s: float) -> None:
            told.append(why)

        claim = await claims.claim(kernel, await program(kernel), ClaimOrder(), checkpoint)
        machine.cards = [card for card in machine.cards if card.name != claim.device]
        await look(kernel, machine)
        assert told == [f"{claim.device} is lost: it is not there any more"]
        assert not kernel.tables.claims.held

    run(scenario)


def test_a_device_that_went_while_no_kernel_ran_is_told_of_and_the_watch_goes_on() -> None:
    async def whole() -> None:
        computer = Computer()
        kernel = await computer.boot()
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        await kernel.journal.flush()
        await computer.crash(kernel)
        again = await computer.boot()
        devices.begin(again, Machine([gpu(0)]), InlineOffload())
        await devices.seen(again)
        (*_, gone) = await events(again)
        assert isinstance(gone, DeviceChanged)
        assert (gone.device, gone.was, gone.health) == ("nvidia1", "ready", "lost")
        await computer.close(again)

    simulate(1, whole())


def test_a_holder_that_saves_too_slowly_loses_its_device_all_the_same() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        holder = await program(kernel)

        async def checkpoint(why: str, within_s: float) -> None:
            await asyncio.Event().wait()

        claim = await claims.claim(kernel, holder, ClaimOrder(notice_s=3), checkpoint)
        await devices.drain(kernel, claim.device, DrainOrder(within_s=3))
        await kernel.clock.sleep(3.5)
        (released,) = [one for one in await events(kernel) if isinstance(one, DeviceReleased)]
        assert "not done after 3 s" in released.reason

    run(scenario)


def test_a_program_without_a_hook_gets_sigterm_and_then_its_device_is_taken() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0), gpu(1)]))
        holder = await program(kernel)
        claim = await claims.claim(kernel, holder, ClaimOrder())
        await devices.drain(kernel, claim.device, DrainOrder(within_s=5))
        await lifecycle.ended(kernel, holder)
        await kernel.clock.sleep(0.1)
        assert not kernel.tables.claims.held

    run(scenario)


def test_a_device_held_alone_serves_only_its_holder_and_is_erased_after() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        machine = Machine([gpu(0), gpu(1)])
        await two_engines(computer, kernel, machine)
        holder = await program(kernel)
        claim = await claims.claim(kernel, holder, ClaimOrder(exclusive=True))
        assert claim.device == "nvidia1"  # The engine on the other can't be erased.
        stranger = TenantId("stranger")
        card = kernel.registry.engines[EngineName("other")].card()
        assert devices.as_usable(kernel, card, stranger).health == "failing"
        assert devices.as_usable(kernel, card, holder.row.tenant).health == "ready"
        claims.release(kernel, claim.id, "done")
        assert devices.as_usable(kernel, card, stranger).health == "failing"
        with pytest.raises(Exhausted, match="not yet erased"):
            await claims.claim(kernel, holder, ClaimOrder(where='name == "nvidia1"'))
        await look(kernel, machine)
        assert devices.as_usable(kernel, card, stranger).health == "ready"
        (erased,) = [one for one in await events(kernel) if isinstance(one, DeviceErased)]
        assert erased.how == (
            "other: its arithmetic is forgotten; "
            "its holder has left; what else computes on it nobody tells"
        )

    run(scenario)


def test_a_model_whose_engine_ended_to_forget_is_known_to_be_gone() -> None:
    class Ending(MovableEngine):
        async def erase(self) -> str:
            self.movable.state = "disk"
            return "its host has ended"

    async def scenario(computer: Computer, kernel: Kernel) -> None:
        movable = Movable("m", computer.clock, size=100, load_s=4.0)
        engine = Ending(movable, clock=computer.clock, chance=computer.chance, call_s=0.1)
        kernel.registry.add(engine)
        await engine.start()
        kernel.registry.learn(engine.name, await engine.models())
        devices.stand(kernel, engine, "nvidia0")
        movable.state = "hot"
        residence.attend(kernel, engine)
        machine = Machine([gpu(0)])
        await look(kernel, machine)
        claim = await claims.claim(kernel, await program(kernel), ClaimOrder(exclusive=True))
        claims.release(kernel, claim.id, "done")
        await look(kernel, machine)
        (row,) = kernel.residents
        assert row.state == "disk"

    run(scenario)


def test_a_snapshot_has_all_that_the_events_say() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        machine = Machine([gpu(0), gpu(1)], pids=(4242,))
        await two_engines(computer, kernel, machine)
        holder = await program(kernel)
        await claims.claim(kernel, holder, ClaimOrder(where='name == "nvidia0"', share=0.25))
        alone = await claims.claim(kernel, holder, ClaimOrder(exclusive=True))
        claims.release(kernel, alone.id, "done")
        await devices.drain(kernel, "nvidia1", DrainOrder(reason="a new fan"))
        by_events = (await recovery.read_tables(kernel.journal))[0]
        kernel.snapshot()
        await kernel.journal.flush()
        by_snapshot, seq = await recovery.read_tables(kernel.journal)
        assert seq == kernel.journal.head_seq
        for tables in (by_events, by_snapshot):
            assert tables.claims.devices == kernel.tables.claims.devices
            assert tables.claims.held == kernel.tables.claims.held
            assert (
                tables.claims.unerased
                == kernel.tables.claims.unerased
                == {"nvidia1": holder.row.tenant}
            )
        assert len(by_snapshot.claims.held) == 1

    run(scenario)


def test_a_device_on_which_somebody_computes_is_not_erased_yet() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        machine = Machine([gpu(0), gpu(1)], pids=(4242,))
        await two_engines(computer, kernel, machine)
        claim = await claims.claim(kernel, await program(kernel), ClaimOrder(exclusive=True))
        claims.release(kernel, claim.id, "done")
        await look(kernel, machine)
        assert kernel.devices.card(claim.device).erasing
        machine.pids = ()
        await look(kernel, machine)
        assert not kernel.devices.card(claim.device).erasing

    run(scenario)


def test_nothing_that_can_not_be_erased_is_lent_alone() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        devices.stand(kernel, computer.engine, "nvidia0")
        await look(kernel, Machine([gpu(0)]))
        with pytest.raises(NoSuchDevice, match="can't be told to forget"):
            await claims.claim(kernel, await program(kernel), ClaimOrder(exclusive=True))

    run(scenario)


def test_a_device_that_would_do_and_can_not_be_erased_is_named_and_not_one_that_would_not() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        await two_engines(computer, kernel, Machine([gpu(0, region="eu"), gpu(1)]))
        order = ClaimOrder(where='region == "eu"', exclusive=True)
        with pytest.raises(
            NoSuchDevice, match=r"can be lent alone: nvidia0: engine \(fake\) keeps"
        ):
            await claims.claim(kernel, await program(kernel), order)
        with pytest.raises(NoSuchDevice, match="region is not known"):
            wrong = ClaimOrder(where='region == "us"', exclusive=True)
            await claims.claim(kernel, await program(kernel), wrong)

    run(scenario)


def test_calls_of_others_do_not_reach_a_tenants_own_device() -> None:
    async def scenario(computer: Computer, kernel: Kernel) -> None:
        kernel.devices.config = {"nvidia0": DeviceConfig(tenant="acme")}
        devices.stand(kernel, computer.engine, "nvidia0")
        await look(kernel, Machine([gpu(0)]))
        with pytest.raises(DeviceFailed, match="another tenant's alone"):
            await asked(kernel)

    run(scenario)


def test_claims_of_programs_that_outlive_the_kernel_go_on() -> None:
    async def whole() -> None:
        computer = Computer()
        kernel = await computer.boot()
        machine = Machine([gpu(0), gpu(1)])
        await two_engines(computer, kernel, machine)
        holder = await program(kernel)
        claim = await claims.claim(kernel, holder, ClaimOrder(share=0.5))
        await computer.crash(kernel)
        again = await computer.boot()
        devices.recall(again)
        claims.recover(again)
        await look(again, machine)
        assert again.devices.card(claim.device).share_claimed == 0.5
        again.devices.ledger.check(again.devices.cards())
        await computer.close(again)

    simulate(1, whole())
