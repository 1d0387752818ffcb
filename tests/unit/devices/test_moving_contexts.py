"""Contexts that move between slots and files, with a host made of lists and an inline thread."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from orlop.abi.errors import DeviceRefused
from orlop.devices.engine_host import HostSettings, HostState
from orlop.devices.llamacpp_api import Restored, Saved
from orlop.devices.llamacpp_contexts import HostContexts
from orlop.devices.snapshots import Folders, Snapshots
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock
from orlop.machine.offload import InlineOffload

STATE = HostState(
    pid=1,
    started_s=2.0,
    settings=HostSettings(name="m", model="m", slots=2, context_tokens=4096),
    url="http://x",
)
BYTES_A_TOKEN = 10


@dataclass
class ListedHost:
    """Slots that hold names; a saved one is a file with its name and its tokens."""

    folder: Path
    slots: dict[int, tuple[str, int]] = field(default_factory=dict)
    erased: list[int] = field(default_factory=list)
    refuses: bool = False
    saving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a copy has begun."""
    may_save: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: a copy takes until it is set."""

    def __post_init__(self) -> None:
        self.may_save.set()

    async def save(self, slot: int, file: str) -> Saved:
        self.saving.set()
        await self.may_save.wait()
        name, tokens = self.slots.get(slot, ("", 0))
        if self.refuses:
            raise DeviceRefused("no room")
        data = f"{name} {tokens} ".encode().ljust(tokens * BYTES_A_TOKEN)
        (self.folder / file).write_bytes(data)
        return Saved(tokens, len(data))

    async def restore(self, slot: int, file: str) -> Restored:
        data = (self.folder / file).read_bytes()
        if self.refuses:
            raise DeviceRefused("a broken file")
        name, tokens, *_ = data.decode().split(" ")
        self.slots[slot] = (name, int(tokens))
        return Restored(int(tokens), len(data))

    async def erase(self, slot: int) -> None:
        self.erased.append(slot)
        self.slots.pop(slot, None)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Bench:
    contexts: HostContexts
    host: ListedHost

    async def call(self, program: str, blocks: tuple[int, ...], tokens: int) -> int:
        """One call; returns the tokens that its slot held when it began."""
        place = await self.contexts.enter(program, blocks)
        before = self.host.slots.get(place.slot, ("", 0))[1] if place.held.tokens else 0
        assert place.held.tokens == before
        self.host.slots[place.slot] = (program, tokens)
        self.contexts.leave(place, tokens)
        return before


def run(
    tmp_path: Path,
    scenario: Callable[[Bench], Coroutine[object, object, None]],
    *,
    token_s: float = 0.01,
    slots: int = 2,
) -> None:
    async def whole() -> None:
        folder = tmp_path / "ram"
        folder.mkdir(exist_ok=True)
        folders = Folders(ram=folder, disk=tmp_path / "disk", ram_bytes=10**6, disk_bytes=10**6)
        clock = SystemClock()

        def recompute_s(tokens: int) -> float:
            return tokens * token_s

        contexts = HostContexts(
            slots,
            Snapshots(folders, "f", recompute_s, clock),
            recompute_s,
            map_path=folder / "slots.map",
            offload=InlineOffload(),
            clock=clock,
            chance=SeededChance(1),
        )
        contexts.measured.kv_bytes_per_token = BYTES_A_TOKEN
        contexts.measured.restore_bytes_s = 1e9
        host = ListedHost(folder)
        await contexts.attach(STATE, host)
        await scenario(Bench(contexts, host))
        await contexts.close()

    asyncio.run(whole())


def blocks(program: int, count: int) -> tuple[int, ...]:
    return tuple(1000 * program + at for at in range(count))


def test_a_program_finds_its_context_in_its_slot_or_in_a_file(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        for program in range(4):
            assert await bench.call(f"p{program}", blocks(program, 10), 300) == 0
        for program in range(4):
            assert await bench.call(f"p{program}", blocks(program, 12), 350) == 300
        assert bench.contexts.measured.restored == 4

    run(tmp_path, scenario)


def test_what_is_cheap_to_compute_is_neither_saved_nor_restored(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        for program in (1, 2, 3, 1):
            assert await bench.call(f"p{program}", blocks(program, 10), 300) == 0
        assert not list((tmp_path / "ram").glob("*.kv"))

    run(tmp_path, scenario, token_s=1e-9)


def test_a_new_program_begins_with_a_copy_of_what_it_shares(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        shared = blocks(1, 8)
        await bench.call("p", (*shared, 1, 2), 300)
        assert await bench.call("q", (*shared, 3, 4), 310) == 300
        assert await bench.call("p", (*shared, 1, 2, 5), 340) == 300
        assert {name for name, _ in bench.host.slots.values()} == {"p", "q"}

    run(tmp_path, scenario)


def test_two_calls_of_one_program_at_once_have_a_slot_each(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("p", blocks(1, 10), 300)
        await bench.contexts.save("p")
        await bench.call("q", blocks(2, 10), 300)
        await bench.call("r", blocks(3, 10), 300)
        one, other = await asyncio.gather(
            bench.contexts.enter("p", blocks(1, 11)), bench.contexts.enter("p", blocks(1, 12))
        )
        assert one.slot != other.slot
        assert one.held is not other.held
        third = asyncio.create_task(bench.contexts.enter("s", blocks(4, 3)))
        await asyncio.sleep(0.01)
        assert not third.done(), "there are two slots"
        bench.contexts.leave(one, 310)
        assert (await third).slot == one.slot

    run(tmp_path, scenario)


def test_who_is_cancelled_while_a_slot_is_made_ready_gives_it_back(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("p", blocks(1, 10), 300)
        for _ in range(5):
            entering = asyncio.create_task(bench.contexts.enter("q", blocks(2, 10)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            entering.cancel()
            await asyncio.wait([entering])
        assert await bench.call("p", blocks(1, 11), 310) in (0, 300)

    run(tmp_path, scenario, slots=1)


def test_a_host_that_can_t_save_or_restore_only_costs_time(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("p", blocks(1, 10), 300)
        await bench.contexts.save("p")
        bench.host.refuses = True
        for program in (2, 3, 4):
            assert await bench.call(f"p{program}", blocks(program, 10), 300) == 0
        assert await bench.call("p", blocks(1, 11), 310) == 0
        assert bench.host.erased, "what was half restored is wiped out"
        assert await bench.contexts.save("p") == 0

    run(tmp_path, scenario)


def test_a_context_that_is_dropped_while_a_call_runs_on_it_goes_with_that_call(
    tmp_path: Path,
) -> None:
    async def scenario(bench: Bench) -> None:
        place = await bench.contexts.enter("p", blocks(1, 10))
        await bench.contexts.drop("p")
        bench.contexts.leave(place, 300)
        assert await bench.call("p", blocks(1, 10), 300) == 0

    run(tmp_path, scenario)


def test_a_call_that_comes_while_its_context_is_copied_goes_on_in_it(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("p", blocks(1, 10), 300)
        saving = await _being_saved(bench, "p")
        call = asyncio.create_task(bench.call("p", blocks(1, 12), 350))
        await asyncio.sleep(0.01)
        assert not call.done()
        bench.host.may_save.set()
        assert await call == 300, "in the other slot it would have been computed again"
        assert await saving == 300
        assert bench.contexts.measured.restored == 0

    run(tmp_path, scenario)


def test_who_shares_a_context_that_is_copied_just_now_waits_for_the_copy(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        shared = blocks(1, 8)
        await bench.call("p", (*shared, 1, 2), 300)
        saving = await _being_saved(bench, "p")
        call = asyncio.create_task(bench.call("q", (*shared, 3, 4), 310))
        await asyncio.sleep(0.01)
        bench.host.may_save.set()
        assert await call == 300
        assert await saving == 300

    run(tmp_path, scenario)


def test_a_context_that_is_dropped_while_it_is_copied_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("p", blocks(1, 10), 300)
        saving = await _being_saved(bench, "p")
        await bench.contexts.drop("p")
        bench.host.may_save.set()
        await saving
        assert bench.host.erased
        assert not list((tmp_path / "ram").glob("*.kv"))
        assert await bench.call("p", blocks(1, 10), 300) == 0

    run(tmp_path, scenario)


async def _being_saved(bench: Bench, program: str) -> "asyncio.Task[int]":
    bench.host.may_save.clear()
    saving = asyncio.create_task(bench.contexts.save(program))
    await bench.host.saving.wait()
    return saving


def test_the_next_kernel_knows_the_slots_of_a_host_that_still_runs(tmp_path: Path) -> None:
    async def first(bench: Bench) -> None:
        await bench.call("p", blocks(1, 10), 300)

    async def second(bench: Bench) -> None:
        bench.host.slots[0] = ("p", 300)
        assert await bench.call("p", blocks(1, 11), 310) == 300

    run(tmp_path, first)
    run(tmp_path, second)


def test_a_slot_of_which_nobody_knows_whose_it_was_is_wiped_before_it_is_used(
    tmp_path: Path,
) -> None:
    async def first(bench: Bench) -> None:
        bench.contexts.leave(await bench.contexts.enter("p", blocks(1, 10), "one"), 300)

    async def second(bench: Bench) -> None:
        bench.host.slots[0] = ("p", 300)
        bench.contexts.leave(await bench.contexts.enter("q", blocks(2, 10)), 300)
        assert bench.host.erased == [0]
        bench.contexts.leave(await bench.contexts.enter("q", blocks(2, 11)), 310)
        assert bench.host.erased == [0], "from then on it is known"

    run(tmp_path, first)
    (tmp_path / "ram" / "slots.map").unlink()
    run(tmp_path, second)


def test_a_host_that_ended_has_lost_its_slots_and_none_of_the_files(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.call("saved", blocks(1, 10), 300)
        await bench.contexts.save("saved")
        place = await bench.contexts.enter("running", blocks(2, 10))
        await bench.contexts.detach()
        bench.host.slots.clear()
        bench.contexts.leave(place, None)
        other = HostState(pid=9, started_s=9.0, settings=STATE.settings, url="http://y")
        await bench.contexts.attach(other, bench.host)
        assert await bench.call("saved", blocks(1, 11), 310) == 300
        assert await bench.call("running", blocks(2, 11), 310) == 0

    run(tmp_path, scenario)
