"""Copies of a program that are not wanted any more."""

import pytest
from small_kernel import Computer, ask, on, program

from orlop.abi.errors import Fenced
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.subsystems import lifecycle


def test_a_call_that_arrived_while_its_process_was_restarted_is_fenced() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        asked_as = process.row.incarnation
        lifecycle.interrupt(kernel, process, "for the test")
        await lifecycle.start(kernel, process, "resume")
        with pytest.raises(Fenced):
            syscall.enter(kernel, process, ask("hello"), incarnation=asked_as)

    on(Computer, scenario)
