"""Schedules: which programs start when, and what became of each time."""

from typing import Literal

from msgspec import Struct

from orlop.abi.calls import Budget, RestartRule
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import Nanoseconds, ProcessId, ScheduleId
from orlop.abi.rights import Rights


class ScheduleSet(Struct, frozen=True, kw_only=True, tag_field="kind", tag="schedule.set"):
    schedule: ScheduleId
    name: str
    when: str
    """`cron …`, `every …` or `at …`, as the user wrote it."""
    zone: str
    missed: Literal["skip", "once", "all"]
    overlap: Literal["allow", "forbid", "replace"]
    command: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    latency_class: LatencyClass
    budget: Budget
    restart: RestartRule
    start_ns: Nanoseconds
    allow: Rights | None = None
    """The rights of its runs; None: all."""


class ScheduleRemoved(Struct, frozen=True, kw_only=True, tag_field="kind", tag="schedule.removed"):
    schedule: ScheduleId


class ScheduleFired(Struct, frozen=True, kw_only=True, tag_field="kind", tag="schedule.fired"):
    """The `runs` that were due up to `due_ns` are decided: started, or skipped for a reason."""

    schedule: ScheduleId
    due_ns: Nanoseconds
    process: ProcessId | None
    reason: str = ""
    runs: int = 1
