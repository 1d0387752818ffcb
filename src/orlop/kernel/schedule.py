"""Durable schedules: each run that is due is started exactly once, or skipped for a reason.

A run is decided by one event: the `process.spawned` that names its schedule and due time, or a
`schedule.fired` that says why not.  So a crash between the two leaves nothing to guess.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress

from orlop.abi.admin import ScheduleOrder, ScheduleView
from orlop.abi.calls import Spawn
from orlop.abi.errors import BadCall, Conflict, Exhausted, KernelError, NotFound
from orlop.abi.ids import KERNEL_PROCESS, Nanoseconds, ScheduleId, TenantId
from orlop.abi.limits import MISSED_RUNS_MAX, SCHEDULES_MAX
from orlop.abi.rights import canonical
from orlop.abi.schedules import ScheduleFired, ScheduleRemoved, ScheduleSet
from orlop.kernel.when import When, parse
from orlop.machine.clock import NS_PER_S
from orlop.state.core import Kernel
from orlop.state.process_table import OVER, State
from orlop.state.schedule_table import ScheduleRow
from orlop.subsystems import bounds, lifecycle

log = logging.getLogger(__name__)

LATE_S = 1.0
"""A run due longer than this before the kernel came back was missed, and its rule applies."""

WAKE_S_MAX = 3_600.0
"""The longest single sleep: a wall clock that was set is noticed within the hour."""


class Schedules:
    """The one task that starts what is due; woken when a schedule is set."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._changed = asyncio.Event()
        self._back_ns = kernel.clock.wall_ns()
        """Runs due before this were missed: the kernel, or the machine, was away."""

    async def set(self, tenant: TenantId, order: ScheduleOrder) -> ScheduleId:
        """Durable when it returns.  Raises `BadCall`, `Conflict`, `Exhausted`."""
        kernel = self._kernel
        if not order.command:
            raise BadCall("command: what should be run?")
        bounds.spawn(
            Spawn(
                command=order.command,
                name=order.name,
                cwd=order.cwd,
                env=order.env,
                budget=order.budget,
            )
        )
        allow = None if order.allow is None else canonical(order.allow)
        start_ns = kernel.clock.wall_ns()
        kernel.tables.tenants.require_open(tenant)
        if parse(order.when, order.zone, start_ns).after(start_ns) is None:
            raise BadCall(f"when: {order.when!r} is past: it would never run")
        if order.name and self._called(tenant, order.name):
            raise Conflict(
                f"a schedule is called {order.name!r} already: `orlop schedule remove {order.name}`"
                " first, or choose another name"
            )
        if len(kernel.tables.schedules.rows) >= SCHEDULES_MAX:
            raise Exhausted(f"{SCHEDULES_MAX} schedules exist (SCHEDULES_MAX)")
        id = kernel.new_schedule()
        event = ScheduleSet(
            schedule=id,
            name=order.name or order.command[0].rsplit("/", 1)[-1],
            when=order.when,
            zone=order.zone,
            missed=order.missed,
            overlap=order.overlap,
            command=order.command,
            cwd=order.cwd,
            env=order.env,
            latency_class=order.latency_class,
            budget=order.budget,
            restart=order.restart,
            start_ns=start_ns,
            allow=allow,
        )
        await kernel.journal.durable(kernel.emit(KERNEL_PROCESS, tenant, event).seq)
        self._changed.set()
        return id

    async def remove(self, tenant: TenantId, reference: str) -> None:
        """By id, or by a name that only one has.  Raises `NotFound`, `Conflict`."""
        found = self._called(tenant, reference)
        if not found:
            raise NotFound(f"no schedule {reference!r}; `orlop schedule list` lists all")
        if len(found) > 1:  # Those without a name of their own are called as their command is.
            which = ", ".join(f"{row.set.schedule} ({row.set.when})" for row in found)
            raise Conflict(f"{len(found)} schedules are called {reference!r}: name one of {which}")
        event = ScheduleRemoved(schedule=found[0].set.schedule)
        await self._kernel.journal.durable(self._kernel.emit(KERNEL_PROCESS, tenant, event).seq)

    def _called(self, tenant: TenantId, reference: str) -> list[ScheduleRow]:
        """By id or name."""
        return [
            row
            for id, row in self._kernel.tables.schedules.rows.items()
            if row.tenant == tenant and reference in (id, row.set.name)
        ]

    async def run(self) -> None:
        """Until power off: decide what is due, then sleep until the next."""
        wanted_ns = self._kernel.clock.wall_ns()
        while self._kernel.admitting() is None:
            now_ns = self._kernel.clock.wall_ns()
            if now_ns - wanted_ns > LATE_S * NS_PER_S:
                self._back_ns = now_ns  # The machine slept, or its clock was set.
            self._changed.clear()
            upcoming = [
                due_ns
                for id in tuple(self._kernel.tables.schedules.rows)
                if (due_ns := await self._decide(id)) is not None
            ]
            wait_s = self._wait_s(upcoming)
            wanted_ns = Nanoseconds(self._kernel.clock.wall_ns() + int(wait_s * NS_PER_S))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
                wanted_ns = self._kernel.clock.wall_ns()

    def _wait_s(self, upcoming: list[Nanoseconds]) -> float:
        if not upcoming:
            return WAKE_S_MAX
        left_s = (min(upcoming) - self._kernel.clock.wall_ns()) / NS_PER_S
        return min(max(0.001, left_s), WAKE_S_MAX)

    async def _decide(self, id: ScheduleId) -> Nanoseconds | None:
        """Start or skip every run of one schedule that is due by now; when the next is due."""
        row = self._kernel.tables.schedules.rows.get(id)
        if row is None:
            return None  # Removed while another schedule's run was being started.
        rule = parse(row.set.when, row.set.zone, row.set.start_ns)
        now_ns = self._kernel.clock.wall_ns()
        due, forgotten = due_by(rule, row.decided_ns, now_ns)
        missed = [due_ns for due_ns in due if due_ns < self._back_ns - LATE_S * NS_PER_S]
        keep = {"skip": 0, "once": 1, "all": len(missed)}[row.set.missed]
        skipped = missed[: len(missed) - keep]
        if skipped or forgotten:
            last_ns = skipped[-1] if skipped else Nanoseconds(due[0] - 1)
            self._skip(row, last_ns, "missed while the kernel was away", len(skipped) + forgotten)
        for due_ns in due[len(skipped) :]:
            await self._start(id, due_ns)
        return rule.after(now_ns)

    async def _start(self, id: ScheduleId, due_ns: Nanoseconds) -> None:
        kernel, row = self._kernel, self._kernel.tables.schedules.rows.get(id)
        if row is None:
            return  # Removed while an earlier run was being started.
        if self._is_running(row):
            if row.set.overlap == "forbid":
                self._skip(row, due_ns, "the run before it is not over")
                return
            if row.set.overlap == "replace" and row.process is not None:
                old = kernel.get(row.process)
                await lifecycle.signal(kernel, old, "kill", "replaced by the next run")
        try:
            process = await lifecycle.create(
                kernel, command_of(row.set), row.tenant, schedule=id, due_ns=due_ns
            )
        except KernelError as error:
            log.warning("schedule %s: the run due at %d: %s", row.set.name, due_ns, error)
            if kernel.admitting() is None:
                self._skip(row, due_ns, f"{error.code}: {error.message}")
            return
        # By itself: other schedules are due as well, and should not be late for this one.
        kernel.tasks.start(lifecycle.begin(kernel, process, "first"), f"start {process.row.pid}")

    def _is_running(self, row: ScheduleRow) -> bool:
        """What was cut off, and does not start again by itself, holds no later run up."""
        process = self._kernel.tables.rows.get(row.process) if row.process is not None else None
        if process is None or process.state in OVER:
            return False
        return process.state is not State.INTERRUPTED or process.restart != "never"

    def _skip(self, row: ScheduleRow, due_ns: Nanoseconds, reason: str, runs: int = 1) -> None:
        """Decide that nothing starts for the `runs` that were due up to `due_ns`."""
        fired = ScheduleFired(
            schedule=row.set.schedule, due_ns=due_ns, process=None, reason=reason, runs=runs
        )
        self._kernel.emit(KERNEL_PROCESS, row.tenant, fired)


def due_by(
    rule: When, decided_ns: Nanoseconds, now_ns: Nanoseconds
) -> tuple[list[Nanoseconds], int]:
    """Runs due after `decided_ns` and by `now_ns`, oldest first: the newest MISSED_RUNS_MAX, and
    how many older ones were forgotten."""
    due: deque[Nanoseconds] = deque(maxlen=MISSED_RUNS_MAX)
    forgotten = rule.skippable(decided_ns, now_ns, MISSED_RUNS_MAX)
    next_ns = rule.after(decided_ns if not forgotten else rule.later(decided_ns, forgotten))
    while next_ns is not None and next_ns <= now_ns:
        forgotten += len(due) == MISSED_RUNS_MAX
        due.append(next_ns)
        next_ns = rule.after(next_ns)
    return list(due), forgotten


def command_of(schedule: ScheduleSet) -> Spawn:
    return Spawn(
        command=schedule.command,
        name=schedule.name,
        cwd=schedule.cwd,
        env=schedule.env,
        latency_class=schedule.latency_class,
        budget=schedule.budget,
        restart=schedule.restart,
        allow=schedule.allow,
    )


def view(row: ScheduleRow, now_ns: Nanoseconds) -> ScheduleView:
    rule = parse(row.set.when, row.set.zone, row.set.start_ns)
    return ScheduleView(
        id=row.set.schedule,
        name=row.set.name,
        when=row.set.when,
        zone=row.set.zone,
        missed=row.set.missed,
        overlap=row.set.overlap,
        command=row.set.command,
        next_ns=rule.after(now_ns),
        last_ns=row.last_ns,
        runs=row.runs,
        skipped=row.skipped,
    )
