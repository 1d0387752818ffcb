"""Calls of an earlier boot that wait still: at the door again, where they were."""

from orlop.abi.calls import Call
from orlop.abi.questions import Parked
from orlop.kernel import syscall
from orlop.kernel.admit import Admitted
from orlop.state.call_table import OpenCall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems.described import describe


def rearm(kernel: Kernel, process: Process, open_call: OpenCall, call: Call) -> None:
    """Let a parked call of an earlier boot go on where it was."""
    described = describe(kernel, process, call)
    running = Running(
        id=open_call.call,
        process=process.id,
        call=call,
        digest=described.digest,
        started_s=kernel.clock.now_s(),
        incarnation=open_call.incarnation,
        nonce=open_call.nonce,
        keep=True,
        seq=open_call.seq,
    )
    running.let_be()  # Its client asks again, if it is there still.
    work = syscall.live(kernel, process, running, described, Admitted(call=call))
    syscall.start(kernel, process, running, work)


def wait_again(kernel: Kernel, process: Process, waiting: Parked) -> None:
    """Let a call of an earlier boot wait on for a person: its client was told to come back."""
    call = waiting.parked.body
    described = describe(kernel, process, call)
    running = Running(
        id=waiting.call,
        process=process.id,
        call=call,
        digest=described.digest,
        started_s=kernel.clock.now_s(),
        incarnation=waiting.parked.incarnation,
        nonce=waiting.parked.nonce,
        token=waiting.parked.token,
        keep=True,
        detached=True,
        promised=True,
    )
    syscall.start(kernel, process, running, syscall.begun(kernel, process, running, described))
