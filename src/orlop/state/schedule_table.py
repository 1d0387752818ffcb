"""The schedules and how far each is decided: a fold of the journal."""

from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.events import Header
from orlop.abi.ids import Nanoseconds, ProcessId, ScheduleId, TenantId
from orlop.abi.schedules import ScheduleFired, ScheduleRemoved, ScheduleSet


class ScheduleRow(Struct, frozen=True, kw_only=True):
    """A schedule.  `decided_ns`: all runs due up to then are started or skipped."""

    set: ScheduleSet
    tenant: TenantId
    decided_ns: Nanoseconds
    last_ns: Nanoseconds | None = None
    process: ProcessId | None = None
    """Of the newest run."""
    runs: int = 0
    skipped: int = 0


@dataclass(eq=False, slots=True)
class ScheduleTable:
    rows: dict[ScheduleId, ScheduleRow] = field(default_factory=dict)

    def fold(self, header: Header, event: ScheduleSet | ScheduleRemoved | ScheduleFired) -> None:
        match event:
            case ScheduleSet():
                self.rows[event.schedule] = ScheduleRow(
                    set=event, tenant=header.tenant, decided_ns=event.start_ns
                )
            case ScheduleRemoved():
                self.rows.pop(event.schedule, None)
            case ScheduleFired():
                self.fired(event.schedule, event.due_ns, event.process, event.runs)

    def fired(
        self, id: ScheduleId, due_ns: Nanoseconds, process: ProcessId | None, runs: int
    ) -> None:
        """All `runs` up to `due_ns` are decided: started as `process`, or skipped."""
        row = self.rows.get(id)
        if row is None or row.decided_ns >= due_ns:
            return
        started = process is not None
        self.rows[id] = replace(
            row,
            decided_ns=due_ns,
            last_ns=due_ns if started else row.last_ns,
            process=process if started else row.process,
            runs=row.runs + (runs if started else 0),
            skipped=row.skipped + (0 if started else runs),
        )
