"""System calls about processes and time."""

from orlop.abi.calls import Exit, Outcome, Signal, Sleep, Spawn, Wait
from orlop.abi.errors import BadCall, Denied
from orlop.abi.hints import Facts
from orlop.abi.limits import PARKED_S_MAX
from orlop.abi.processes import OutcomeStated
from orlop.abi.replies import Exited, Ok, Patched, Spawned
from orlop.machine.clock import NS_PER_S
from orlop.state import accounts
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import ALIVE
from orlop.state.running import Running
from orlop.subsystems import lifecycle


async def spawn(kernel: Kernel, process: Process, running: Running, call: Spawn) -> Spawned:
    """The child is in the table when this returns, and starts by itself.

    Nothing is waited for in between, so child and outcome are in one commit: a parent that is
    resumed never starts a second one.
    """
    child = await lifecycle.create(
        kernel, call, process.row.tenant, parent=process, narrowing=running.narrowing
    )
    kernel.tasks.start(lifecycle.begin(kernel, child, "first"), f"start {child.row.pid}")
    return Spawned(process=child.id, pid=child.row.pid, facts=Facts(call=running.id))


async def wait(kernel: Kernel, process: Process, running: Running, call: Wait) -> Exited:
    """Return when the process has ended; at once if it has already."""
    target = kernel.find(call.process, process.row.tenant)
    require_kin(process, target)
    if target is process:
        raise BadCall("process: nobody can wait for his own end")
    await lifecycle.ended(kernel, target)
    status = target.row.status if target.row.status is not None else 0
    return Exited(process=target.id, status=status, facts=Facts(call=running.id))


async def sleep(kernel: Kernel, running: Running, call: Sleep) -> Ok:
    """Until the intent's own time plus `seconds`, so that a restart of the kernel does not add."""
    if not 0 <= call.seconds <= PARKED_S_MAX:
        raise BadCall(f"seconds: from 0 to {PARKED_S_MAX:g}, not {call.seconds:g}")
    entered = kernel.tables.calls.open.get(running.id)
    began_ns = entered.wall_ns if entered is not None else kernel.clock.wall_ns()
    left_s = (began_ns - kernel.clock.wall_ns()) / NS_PER_S + call.seconds
    # A wall clock that was set back must not make anybody sleep longer than he asked.
    await kernel.clock.sleep(min(max(0.0, left_s), call.seconds))
    return Ok(facts=Facts(call=running.id))


async def exit(kernel: Kernel, process: Process, running: Running, call: Exit) -> Ok:
    """A program of ours is ended by its own exit; a client that came with a key ends here."""
    if process.row.is_client:
        kernel.tasks.start(leave(kernel, process, running, call.status))
    return Ok(facts=Facts(call=running.id))


async def signal(kernel: Kernel, process: Process, running: Running, call: Signal) -> Ok:
    target = kernel.find(call.process, process.row.tenant)
    require_kin(process, target)
    await lifecycle.signal(kernel, target, call.signal, f"signalled by process {process.row.pid}")
    return Ok(facts=Facts(call=running.id))


async def patch(running: Running) -> Patched:
    """A run that gets here is not on its old path any more: from now on the record says so."""
    return Patched(applies=True, facts=Facts(call=running.id))


async def progress(running: Running) -> Ok:
    """Its intent, in the journal, is all there is to it."""
    return Ok(facts=Facts(call=running.id))


async def outcome(kernel: Kernel, process: Process, running: Running, call: Outcome) -> Ok:
    kernel.emit(
        process.id,
        process.row.tenant,
        OutcomeStated(status=call.status, note=call.note),
        call=running.id,
    )
    return Ok(facts=Facts(call=running.id))


def require_kin(process: Process, target: Process) -> None:
    """A process may wait for and signal itself and its descendants.  Raises `Denied`."""
    own = accounts.of_process(process.id)
    if target.row.tenant != process.row.tenant or own not in target.row.accounts:
        raise Denied(f"process {process.row.pid} is no ancestor of process {target.row.pid}")


async def leave(kernel: Kernel, process: Process, running: Running, status: int) -> None:
    """End a client's process once its `exit` has been answered."""
    await running.ended.wait()
    if process.row.state in ALIVE:
        lifecycle.end(kernel, process, status, "it said exit")
