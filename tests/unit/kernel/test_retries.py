"""A client's own retries, and parked calls that are made again."""

import asyncio

from small_kernel import Computer, ask, on, program, result

from orlop.abi.calls import Sleep
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.subsystems import lifecycle

PATIENCE_S = 3600.0


def test_two_retries_of_equal_calls_do_not_wait_for_each_other() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        calls = [syscall.enter(kernel, process, ask("hello"), retry=True) for _ in range(3)]
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*(result(call) for call in calls))
        assert len(answers) == 3
        assert here.engine.computed == 1

    on(lambda: Computer(engine_config=FakeConfig(decode_s=0.1)), scenario)


def test_equal_sleeps_that_were_cut_off_are_slept_again_side_by_side() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        for _ in range(2):
            syscall.enter(kernel, process, Sleep(seconds=50.0))
        await asyncio.sleep(1)
        await lifecycle.signal(kernel, process, "kill", "test")
        await lifecycle.ended(kernel, process)
        await lifecycle.start(kernel, process, "resume")
        calls = [syscall.enter(kernel, process, Sleep(seconds=50.0)) for _ in range(2)]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(result(call) for call in calls))

    on(Computer, scenario)


def test_a_sleep_goes_on_where_it_was_when_its_process_is_resumed() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel, restart="on-failure")
        syscall.enter(kernel, process, Sleep(seconds=50.0))
        await asyncio.sleep(30)
        here.machine.kill_shim(here.machine.programs[process.row.os_pid or 0])
        while process.row.incarnation == 1:
            await process.changed.wait()
        began_s = kernel.clock.now_s()
        await result(syscall.enter(kernel, process, Sleep(seconds=50.0)))
        assert kernel.clock.now_s() - began_s < 21

    on(Computer, scenario)


def test_a_sleep_that_is_joined_is_known_by_the_id_of_the_one_that_goes_on() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        first = syscall.enter(kernel, process, Sleep(seconds=50.0))
        again = syscall.enter(kernel, process, Sleep(seconds=50.0), retry=True)
        await asyncio.sleep(1)
        assert again.reply_id == first.id
        done = await result(again)
        assert done.facts.call == first.id

    on(Computer, scenario)
