"""The `grant` and `revoke` system calls."""

from orlop.abi.calls import Grant, Revoke
from orlop.abi.errors import BadCall
from orlop.abi.hints import Facts
from orlop.abi.replies import Ok
from orlop.kernel import sys_process
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import rights


async def grant(kernel: Kernel, process: Process, running: Running, call: Grant) -> Ok:
    """Give what the caller holds."""
    target = _other(kernel, process, call)
    held = rights.effective(process, running.narrowing)
    rights.give(kernel, target, call.right, held, f"process {process.row.pid}")
    return Ok(facts=Facts(call=running.id))


async def revoke(kernel: Kernel, process: Process, running: Running, call: Revoke) -> Ok:
    """Take back; who gave it does not matter, as with everything else of a descendant."""
    target = _other(kernel, process, call)
    rights.take(kernel, target, call.right, f"process {process.row.pid}")
    return Ok(facts=Facts(call=running.id))


def _other(kernel: Kernel, process: Process, call: Grant | Revoke) -> Process:
    """The descendant that the call names.  Raises `NotFound`, `BadCall`, `Denied`."""
    target = kernel.find(call.process, process.row.tenant)
    if target is process:
        raise BadCall("process: nobody can give himself a right, nor take one from himself")
    sys_process.require_kin(process, target)
    return target
