"""Schedules in virtual time: each run that is due is decided once, whatever happened meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from simulation.programs import Program
from simulation_loop import simulate
from small_kernel import Computer

from orlop.abi.admin import Missed, Overlap, ScheduleOrder, ScheduleView
from orlop.abi.errors import BadCall, Conflict
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.schedules import ScheduleFired
from orlop.kernel.schedule import Schedules, view
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process_table import ALIVE, State

Scenario = Callable[[Computer, Kernel, Schedules], Coroutine[object, object, None]]


async def errand(program: Program) -> int:
    """`run SECONDS`"""
    await asyncio.sleep(float(program.command[1]))
    return 0


def with_schedules(scenario: Scenario) -> None:
    async def whole() -> None:
        here = Computer(body=errand)
        kernel, schedules = await booted(here)
        await scenario(here, kernel, schedules)

    simulate(1, whole())


async def booted(here: Computer) -> tuple[Kernel, Schedules]:
    kernel = await here.boot()
    schedules = Schedules(kernel)
    kernel.tasks.start(schedules.run(), "schedules")
    return kernel, schedules


def order(
    when: str, seconds: float = 1.0, *, missed: Missed = "once", overlap: Overlap = "forbid"
) -> ScheduleOrder:
    return ScheduleOrder(
        when=when, command=("run", str(seconds)), missed=missed, overlap=overlap, name="s"
    )


def seen(kernel: Kernel) -> ScheduleView:
    (row,) = kernel.tables.schedules.rows.values()
    return view(row, kernel.clock.wall_ns())


def test_each_run_is_started_once() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s"))
        await asyncio.sleep(101)
        assert seen(kernel).runs == 10 and seen(kernel).skipped == 0
        assert sum(row.schedule is not None for row in kernel.tables.rows.values()) == 10
        await here.close(kernel)

    with_schedules(scenario)


@pytest.mark.parametrize(
    ("overlap", "runs", "skipped", "alive"),
    [("forbid", 3, 6, 1), ("allow", 9, 0, 3), ("replace", 9, 0, 1)],
)
def test_a_run_that_is_not_over_meets_the_next_one_as_the_rule_says(
    overlap: Overlap, runs: int, skipped: int, alive: int
) -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s", 25.0, overlap=overlap))
        await asyncio.sleep(94)
        assert (seen(kernel).runs, seen(kernel).skipped) == (runs, skipped)
        running = [row for row in kernel.tables.rows.values() if row.state in ALIVE]
        assert len(running) == alive
        await here.close(kernel)

    with_schedules(scenario)


@pytest.mark.parametrize(
    ("missed", "runs", "skipped"), [("skip", 3, 5), ("once", 4, 4), ("all", 8, 0)]
)
def test_runs_that_were_missed_are_made_up_for_as_the_rule_says(
    missed: Missed, runs: int, skipped: int
) -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s", missed=missed, overlap="allow"))
        await asyncio.sleep(25)
        await here.crash(kernel)
        await asyncio.sleep(50)
        later, _ = await booted(here)
        await asyncio.sleep(7)
        assert (seen(later).runs, seen(later).skipped) == (runs, skipped)
        await here.close(later)

    with_schedules(scenario)


def test_a_kernel_that_is_back_within_the_second_has_missed_nothing() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s", missed="skip"))
        await asyncio.sleep(9.7)
        await here.crash(kernel)
        await asyncio.sleep(0.6)
        later, _ = await booted(here)
        await asyncio.sleep(1)
        assert (seen(later).runs, seen(later).skipped) == (1, 0)
        await here.close(later)

    with_schedules(scenario)


def test_a_run_that_was_cut_off_for_good_holds_no_later_one_up() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s", 25.0, missed="skip"))
        await asyncio.sleep(15)
        await here.close(kernel)
        later, _ = await booted(here)
        (row,) = (row for row in later.tables.rows.values() if row.schedule is not None)
        assert row.state is State.INTERRUPTED
        await asyncio.sleep(30)
        assert (seen(later).runs, seen(later).skipped) == (2, 2)
        await here.close(later)

    with_schedules(scenario)


def test_a_wall_clock_that_jumps_ahead_means_missed_runs() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s", missed="once", overlap="allow"))
        await asyncio.sleep(5)
        here.clock.wall_offset_ns += 45 * 1_000_000_000
        await asyncio.sleep(6)
        assert (seen(kernel).runs, seen(kernel).skipped) == (1, 4)
        await here.close(kernel)

    with_schedules(scenario)


def test_a_thousand_missed_runs_are_made_up_for_and_older_ones_counted() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 1s", missed="once", overlap="allow"))
        await asyncio.sleep(0.5)
        await here.crash(kernel)
        await asyncio.sleep(5_000)
        later, _ = await booted(here)
        await asyncio.sleep(0.2)
        assert seen(later).runs + seen(later).skipped == 5_000
        assert seen(later).runs <= 2
        await here.close(later)

    with_schedules(scenario)


def test_schedules_that_are_due_together_are_not_late_for_each_other() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        for number in range(100):
            when = ScheduleOrder(
                when="every 10s", command=("run", "1"), missed="skip", name=f"s{number}"
            )
            await schedules.set(DEFAULT_TENANT, when)
        await asyncio.sleep(19)
        rows = kernel.tables.schedules.rows.values()
        assert [(row.runs, row.skipped) for row in rows] == [(1, 0)] * 100
        await here.close(kernel)

    with_schedules(scenario)


def test_a_removed_schedule_starts_nothing_more() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s"))
        await asyncio.sleep(15)
        await schedules.remove(DEFAULT_TENANT, "s")
        await asyncio.sleep(100)
        assert len(kernel.tables.rows) == 1
        await here.close(kernel)

    with_schedules(scenario)


def test_a_name_is_given_once_and_what_has_the_same_is_told_apart() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s"))
        with pytest.raises(Conflict, match="a schedule is called 's' already"):
            await schedules.set(DEFAULT_TENANT, order("every 20s"))
        nameless = ScheduleOrder(when="every 30s", command=("/bin/run",))
        one = await schedules.set(DEFAULT_TENANT, nameless)
        other = await schedules.set(DEFAULT_TENANT, nameless)
        with pytest.raises(Conflict, match=f"2 schedules are called 'run': .*{one}.*{other}"):
            await schedules.remove(DEFAULT_TENANT, "run")
        await schedules.remove(DEFAULT_TENANT, one)
        await schedules.remove(DEFAULT_TENANT, "run")
        await schedules.remove(DEFAULT_TENANT, "s")
        assert not kernel.tables.schedules.rows
        await here.close(kernel)

    with_schedules(scenario)


def test_a_moment_that_is_past_is_refused() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        with pytest.raises(BadCall, match="it would never run"):
            await schedules.set(DEFAULT_TENANT, order("at 1970-01-01T00:00"))
        with pytest.raises(BadCall, match="names no program"):
            wrong = ScheduleOrder(when="every 10s", command=("", "x"))
            await schedules.set(DEFAULT_TENANT, wrong)
        await here.close(kernel)

    with_schedules(scenario)


def test_a_moment_comes_once() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("at 2026-01-01T00:01"))
        await asyncio.sleep(300)
        assert seen(kernel).runs == 1 and seen(kernel).next_ns is None
        await here.close(kernel)

    with_schedules(scenario)


def test_why_a_run_was_skipped_is_in_the_journal() -> None:
    async def scenario(here: Computer, kernel: Kernel, schedules: Schedules) -> None:
        await schedules.set(DEFAULT_TENANT, order("every 10s", 100.0))
        await asyncio.sleep(21)
        await kernel.journal.flush()
        stored = await kernel.journal.latest("schedule.fired")
        assert stored is not None
        fired = codec.decode(stored)
        assert isinstance(fired, ScheduleFired) and "not over" in fired.reason
        await here.close(kernel)

    with_schedules(scenario)
