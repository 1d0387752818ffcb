"""From a command to a running process, and from there to its end, its restart and its resume."""

import logging
import signal as signals
from typing import Final, Literal

from orlop.abi.calls import Budget, DivergenceRule, SignalName, Spawn
from orlop.abi.errors import (
    Conflict,
    Denied,
    DeviceFailed,
    Exhausted,
    Interrupted,
    Killed,
    NotFound,
    NotReady,
)
from orlop.abi.ids import KeyId, Nanoseconds, ScheduleId, TenantId
from orlop.abi.limits import CHILDREN_DEPTH_MAX, KILL_GRACE_S
from orlop.abi.processes import (
    ProcessChanged,
    ProcessEnded,
    ProcessLaunched,
    ProcessSpawned,
    ProcessStarted,
)
from orlop.abi.rights import EVERYTHING, Rights, narrowed
from orlop.access.rights import Narrowing
from orlop.state import accounts
from orlop.state.core import Kernel
from orlop.state.key_table import KeyRow
from orlop.state.process import Process
from orlop.state.process_table import ALIVE, NAMELESS, OVER, Row, State
from orlop.state.record import Record
from orlop.subsystems import bounds, history, token_budgets
from orlop.subsystems.confinement import sandbox_of
from orlop.subsystems.rights import effective

log = logging.getLogger(__name__)

Mode = Literal["first", "resume", "replay"]

LAUNCH_FAILED: Final = 126
"""The status of a process whose shim could not be started, as a shell's for 'can't execute'."""


async def create(
    kernel: Kernel,
    call: Spawn,
    tenant: TenantId,
    *,
    parent: Process | None = None,
    narrowing: Narrowing | None = None,
    key_id: KeyId | None = None,
    schedule: ScheduleId | None = None,
    due_ns: Nanoseconds | None = None,
) -> Process:
    """A row in the table; nothing runs yet.  Raises `BadCall`, `Exhausted`, `Denied`, `NotReady`,
    and `Conflict` where the tenant was removed.

    As everywhere, a child has its parent's folder and environment, but for what the call changes.
    """
    require_spawnable(kernel, call, tenant, parent)
    sandbox = await sandbox_of(kernel, parent, call, tenant)
    id = kernel.new_process()
    key = kernel.tables.keys.rows.get(key_id) if key_id is not None else None
    program = call.program or (parent.row.program if parent is not None else kernel.new_task())
    event = ProcessSpawned(
        pid=kernel.next_pid(),
        name=call.name or (call.command[0].rsplit("/", 1)[-1] if call.command else NAMELESS),
        parent=parent.id if parent is not None else None,
        command=call.command,
        cwd=call.cwd or (parent.row.cwd if parent is not None else ""),
        env={**(parent.row.env if parent is not None else {}), **call.env},
        latency_class=call.latency_class,
        budget=call.budget,
        restart=call.restart,
        on_divergence=call.on_divergence,
        program=program,
        version=call.version,
        key_id=key_id,
        schedule=schedule,
        due_ns=due_ns,
        team=call.team or (parent.row.team if parent else "") or (key.team if key else ""),
        normalize=call.normalize,
        rights=rights_of(parent, narrowing, key, call),
        sandbox=sandbox,
        token=token_budgets.known(kernel, parent, narrowing) if parent is not None else "",
    )
    return kernel.spawn(id, tenant, event)


def require_spawnable(
    kernel: Kernel, call: Spawn, tenant: TenantId, parent: Process | None
) -> None:
    """Raises what `create` does."""
    bounds.spawn(call)
    kernel.tables.tenants.require_open(tenant)
    if parent is not None and accounts.depth(parent.row.accounts) >= CHILDREN_DEPTH_MAX:
        raise Exhausted(f"processes are nested {CHILDREN_DEPTH_MAX} deep (CHILDREN_DEPTH_MAX)")
    if parent is not None and call.team not in ("", parent.row.team):
        raise Denied(f"team: a process of team {parent.row.team!r} can't spend what others have")


def rights_of(
    parent: Process | None, narrowing: Narrowing | None, key: KeyRow | None, call: Spawn
) -> Rights:
    """What the call asks for, of what its parent (or the key it came with) holds; else all of that.

    Raises `Denied`.
    """
    held, whose = EVERYTHING, "an operator"
    if parent is not None:
        held, whose = effective(parent, narrowing), f"process {parent.row.pid}"
    elif key is not None:
        held, whose = key.rights, f"key {key.id}"
    return held if call.allow is None else narrowed(held, call.allow, whose)


async def start(
    kernel: Kernel,
    process: Process,
    mode: Mode,
    *,
    strict: bool = False,
    budget: Budget | None = None,
    on_divergence: DivergenceRule | None = None,
) -> None:
    """Begin a new incarnation.  Raises `Conflict` while one lives, `NotReady` at power off, and
    `NotFound` where it should be answered from what is no longer kept.

    Tokens of earlier incarnations are fenced from here on, and what may survive of them is ended
    before the command starts a second time.
    """
    row = process.row
    require_ended(row)
    kernel.tables.tenants.require_open(row.tenant)
    if row.is_client and mode == "replay":
        raise Conflict(f"process {row.pid} has no command that could be run again")
    if mode != "first":
        history.require_bounded(process)
    if mode != "first" and kernel.tables.is_pruned:
        await history.read_past(kernel, process)  # Raises `NotFound`: there is a gap in it.
    kernel.launcher.signal(row, "kill")
    await quiet(kernel, process)
    if (reason := kernel.admitting()) is not None:
        raise reason
    if process.row.state is not row.state or process.row.incarnation != row.incarnation:
        raise Conflict(f"process {row.pid} was started or ended by somebody else meanwhile")
    # From here on only devices can fail.
    event = ProcessStarted(
        incarnation=row.incarnation + 1,
        mode=mode,
        strict=strict,
        budget=budget,
        on_divergence=on_divergence,
    )
    if mode == "first":
        process.record = Record(mode, False, row.incarnation + 1, [])
    else:
        process.record = None
    process.calls_replayed, process.unwanted = 0, False
    header = kernel.emit(process.id, row.tenant, event)
    await kernel.journal.durable(header.seq)
    if not row.is_client:
        await launch(kernel, process)


async def begin(kernel: Kernel, process: Process, mode: Mode) -> None:
    """`start`, unless somebody else was faster: an operator, or a restart of his own."""
    try:
        await start(kernel, process, mode)
    except (Conflict, NotReady, NotFound) as faster:
        log.info("process %d is not started: %s", process.row.pid, faster.message)


def require_ended(row: Row) -> None:
    """Raises `Conflict` while an incarnation lives, here or elsewhere."""
    if row.state is State.ELSEWHERE:
        raise Conflict(f"process {row.pid} lives at {row.home}: ask there")
    if row.state in ALIVE:
        raise Conflict(f"process {row.pid} is {row.state} already; `orlop kill {row.pid}` first")


async def launch(kernel: Kernel, process: Process) -> None:
    """Start the command; its shim is in the journal before the command can call."""
    row = process.row
    try:
        if kernel.cells is not None:
            await kernel.cells.require(row.sandbox)
        os_pid, os_started = await kernel.launcher.launch(row)
    except (DeviceFailed, NotReady) as error:
        log.warning("process %d could not be started: %s", row.pid, error)
        await over(kernel, process, row.incarnation, LAUNCH_FAILED, error.message)
        return
    header = kernel.emit(
        process.id,
        row.tenant,
        ProcessLaunched(incarnation=row.incarnation, os_pid=os_pid, os_started=os_started),
    )
    await kernel.journal.durable(header.seq)
    if process.unwanted or kernel.closing:
        kernel.launcher.signal(process.row, "kill")
    else:
        kernel.launcher.go(process.row)
    kernel.tasks.start(supervise(kernel, process), f"supervise {row.pid}")


async def supervise(kernel: Kernel, process: Process) -> None:
    """Wait for the shim to end, however it ends; then end, interrupt or restart the process."""
    incarnation = process.row.incarnation
    await kernel.launcher.watch(process.row)
    if kernel.closing:
        return
    found = kernel.launcher.ended(process.row)
    if found is None:
        await lost(kernel, process, incarnation, "its shim was killed")
    else:
        await over(kernel, process, incarnation, *found)


async def over(
    kernel: Kernel, process: Process, incarnation: int, status: int, reason: str
) -> None:
    """The command has ended by itself or by a signal."""
    if process.row.incarnation != incarnation or process.row.state not in ALIVE:
        return
    rule = process.row.restart
    process.restarting = rule == "always" or (rule == "on-failure" and status != 0)
    end(kernel, process, status, reason)
    if process.restarting:
        try:
            await restart(kernel, process, incarnation)
        finally:
            process.restarting = False
            process.moved()


async def lost(kernel: Kernel, process: Process, incarnation: int, reason: str) -> None:
    """The command is gone without a word: it may be resumed."""
    if process.row.incarnation != incarnation or process.row.state not in ALIVE:
        return
    kernel.launcher.signal(process.row, "kill")
    if process.unwanted:
        end(kernel, process, -int(signals.SIGKILL), reason)
        return
    interrupt(kernel, process, reason)
    if process.row.restart != "never":
        await restart(kernel, process, incarnation)


async def restart(kernel: Kernel, process: Process, incarnation: int) -> None:
    """As the process's rule says, within bounds; the first time at once, then ever later."""
    row, config = process.row, kernel.config
    diverged = process.record is not None and bool(process.record.diverged)
    if process.unwanted or diverged or kernel.closing or row.mode == "replay":
        return
    if row.restarts >= config.restarts_max and row.status != 0:
        log.warning("process %d failed %d times in a row and stays down", row.pid, row.restarts)
        return
    if row.restarts:
        doublings = min(row.restarts, config.restarts_max) - 1
        await kernel.clock.sleep(config.restart_delay_s * 2.0**doublings)
    same = process.row.incarnation == incarnation and process.row.state not in ALIVE
    if same and not process.unwanted:
        await begin(kernel, process, "resume")


def end(kernel: Kernel, process: Process, status: int, reason: str) -> None:
    """The process is over: its calls end, parked ones too."""
    for running in tuple(process.running.values()):
        running.cancel(Killed(f"process {process.row.pid} ended: {reason or f'status {status}'}"))
    kernel.emit(
        process.id,
        process.row.tenant,
        ProcessEnded(incarnation=process.row.incarnation, status=status, reason=reason),
    )
    if process.row.parent is None and process.row.program.startswith("tsk_"):
        kernel.scheduler.end(process.row.program, kernel.clock.now_s())  # Nobody else serves it.
    kernel.forget()


def interrupt(kernel: Kernel, process: Process, reason: str) -> None:
    """The process may be resumed: its parked calls go on, the others are cut off."""
    for running in tuple(process.running.values()):
        if not running.is_parked:
            running.cancel(Interrupted(f"process {process.row.pid} was interrupted: {reason}"))
    changed = ProcessChanged(event="interrupt", reason=reason)
    kernel.emit(process.id, process.row.tenant, changed)


async def quiet(kernel: Kernel, process: Process) -> None:
    """Wait until no call of the past incarnation is still being concluded."""
    while running := next((r for r in process.running.values() if not r.is_parked), None):
        running.cancel(Interrupted(f"process {process.row.pid} starts again"))
        await running.ended.wait()
    await kernel.journal.flush()


async def ended(kernel: Kernel, process: Process) -> None:
    """Return when the process has exited, and no restart is due."""
    while True:
        changed = process.changed
        if kernel.is_over(process.id) and not process.restarting:
            return
        await changed.wait()


async def signal(kernel: Kernel, process: Process, name: SignalName, reason: str) -> None:
    """Deliver a signal to a process; `kill` and `term` reach its descendants too.

    Raises `Conflict` where the process's state has no such step.
    """
    row = process.row
    if name in ("stop", "cont"):
        kernel.emit(row.id, row.tenant, ProcessChanged(event=name, reason=reason))
        kernel.launcher.signal(row, name)
        return
    process.unwanted = True  # Also of one that has ended: its restart may be due.
    if row.state in OVER:
        why = f": {row.reason}" if row.reason else ""
        raise Conflict(f"process {row.pid} has ended already, or lives elsewhere{why}")
    for child in kernel.children(row.id):
        if child.state not in OVER:
            await signal(kernel, kernel.get(child.id), name, reason)
    if row.state not in ALIVE or row.is_client:
        number = signals.SIGKILL if name == "kill" else signals.SIGTERM
        end(kernel, process, -int(number), reason)
        return
    kernel.launcher.signal(row, "int" if name == "int" else "term")
    if row.state is State.STOPPED:
        kernel.launcher.signal(row, "cont")
    if name == "kill":
        kernel.tasks.start(finish_off(kernel, process, row.incarnation), f"kill {row.pid}")


async def finish_off(kernel: Kernel, process: Process, incarnation: int) -> None:
    """SIGKILL for what has not ended within the grace."""
    await kernel.clock.sleep(KILL_GRACE_S)
    if process.row.incarnation == incarnation and process.row.state in ALIVE:
        kernel.launcher.signal(process.row, "kill")
