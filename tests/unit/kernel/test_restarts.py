"""Programs that fail, and what their restart rule makes of it."""

import asyncio

import pytest
from simulation.programs import Program
from small_kernel import Computer, on, program, state

from orlop.abi.errors import Conflict
from orlop.state.core import Kernel, KernelConfig
from orlop.state.process import Process
from orlop.state.process_table import State
from orlop.subsystems import lifecycle

DAY_S = 86_400.0


async def fails_at_once(program: Program) -> int:
    return 1


async def fails_after_a_day(program: Program) -> int:
    await asyncio.sleep(DAY_S)
    return 1


def failing() -> Computer:
    return Computer(body=fails_at_once, config=KernelConfig(restart_delay_s=100.0))


async def incarnation(process: Process, wanted: int) -> None:
    while process.row.incarnation < wanted:
        await process.changed.wait()


def test_a_program_that_fails_at_once_stays_down_after_some_restarts() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, restart="on-failure")
        await asyncio.sleep(DAY_S)
        assert process.row.state is State.EXITED
        assert process.row.incarnation == kernel.config.restarts_max + 1

    on(failing, scenario)


def test_nobody_is_told_that_a_program_is_over_while_its_restart_is_due() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, restart="on-failure")
        await lifecycle.ended(kernel, process)
        assert process.row.incarnation == kernel.config.restarts_max + 1

    on(failing, scenario)


def test_a_program_that_fails_once_a_day_is_restarted_each_day() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, restart="on-failure")
        await asyncio.sleep(30.5 * DAY_S)
        assert process.row.state is State.RUNNING
        assert process.row.incarnation == 31

    on(lambda: Computer(body=fails_after_a_day), scenario)


def test_a_process_that_is_killed_while_its_restart_is_due_stays_down() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, restart="on-failure")
        await incarnation(process, 2)
        await state(process, "exited")
        with pytest.raises(Conflict):
            await lifecycle.signal(kernel, process, "kill", "for the test")
        await asyncio.sleep(DAY_S)
        assert process.row.incarnation == 2

    on(failing, scenario)


def test_a_lost_process_that_is_killed_while_its_restart_is_due_stays_down() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, restart="always")
        for number in (1, 2):
            await incarnation(process, number)
            await asyncio.sleep(1)
            assert process.row.os_pid is not None
            here.machine.kill_shim(here.machine.programs[process.row.os_pid])
            await state(process, "interrupted")
        await lifecycle.signal(kernel, process, "kill", "for the test")
        await asyncio.sleep(DAY_S)
        assert process.row.state is State.EXITED

    on(lambda: Computer(config=KernelConfig(restart_delay_s=100.0)), scenario)


def test_a_program_that_always_ends_well_at_once_goes_round_no_faster_than_the_delay() -> None:
    async def ends_well(program: Program) -> int:
        return 0

    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, restart="always")
        await asyncio.sleep(DAY_S)
        longest_s = 100.0 * 2 ** (kernel.config.restarts_max - 1)
        assert DAY_S / longest_s / 2 < process.row.incarnation < DAY_S / longest_s + 10

    on(lambda: Computer(body=ends_well, config=KernelConfig(restart_delay_s=100.0)), scenario)
