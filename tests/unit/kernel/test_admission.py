"""What the kernel refuses before anything has happened."""

import pytest
from small_kernel import Computer, ask, on, program, result

from orlop.abi.errors import NotReady
from orlop.kernel import syscall
from orlop.state.core import Kernel


def test_a_disk_that_is_nearly_full_refuses_new_calls_until_there_is_room() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await program(kernel)
        here.tape.faults.is_space_low = True
        for number in range(20):
            try:
                await result(syscall.enter(kernel, process, ask(str(number))))
            except NotReady as refused:
                assert "FREE_BYTES_MIN" in refused.message
                break
        with pytest.raises(NotReady):
            syscall.enter(kernel, process, ask("hello"))
        here.tape.faults.is_space_low = False
        await result(syscall.enter(kernel, process, ask("hello")))

    on(Computer, scenario)
