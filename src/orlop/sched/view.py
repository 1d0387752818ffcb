"""What the scheduler knows at one moment, for `orlop top` and for metrics.

It reads what the core keeps anyway; nothing is counted for its sake but what `station.Counts` has.
"""

from orlop.abi.admin import EngineLoadView, ProgramView, SchedulerView
from orlop.abi.limits import PROGRAMS_SHOWN_MAX
from orlop.sched.program import Program, State
from orlop.sched.scheduler import Scheduler
from orlop.sched.station import Station


def view(scheduler: Scheduler, now_s: float) -> SchedulerView:
    shown = scheduler.programs.newest(PROGRAMS_SHOWN_MAX)
    states = dict.fromkeys((state.value for state in State), 0)
    for state, count in scheduler.programs.states().items():
        states[state.value] = count
    return SchedulerView(
        policy=scheduler.config.policy,
        engines=engines(scheduler, now_s),
        programs=tuple(_program(scheduler, program, now_s) for program in shown),
        waiting=scheduler.waiting.counts(),
        states=states,
        programs_known=len(scheduler.programs),
        grants=scheduler.books.grants,
        refused=scheduler.forecasts.refused,
        preempted=scheduler.preemption.count,
        promoted=scheduler.admission.promoted,
        paused=scheduler.places.paused,
        rank_quality=scheduler.history.quality,
    )


def engines(scheduler: Scheduler, now_s: float) -> tuple[EngineLoadView, ...]:
    """One row an engine or tool; cheap enough for each scrape of the metrics."""
    return tuple(_engine(station, now_s) for station in scheduler.stations.values())


def _engine(station: Station, now_s: float) -> EngineLoadView:
    gate, shelf, counts = station.gate, station.shelf, station.counts
    return EngineLoadView(
        name=station.name,
        attached=station.attached,
        seats=gate.seats,
        slots=station.capacity.slots,
        running=gate.running,
        waiting=station.waiting,
        kv_used=gate.kv_used,
        kv_tokens=station.capacity.kv_tokens,
        retained=round(shelf.retained(now_s)),
        budget=shelf.budget,
        resident=shelf.device_tokens,
        host=shelf.host_tokens,
        call_s=station.call_s,
        input_tokens=counts.input_tokens,
        cached_tokens=counts.cached_tokens,
        output_tokens=counts.output_tokens,
        wasted_tokens=counts.wasted_tokens,
        preempted=counts.preempted,
        calls=counts.calls,
    )


def _program(scheduler: Scheduler, program: Program, now_s: float) -> ProgramView:
    largest, state = program.largest, program.state
    gap_s = 0.0
    if largest is not None and state is State.ACTING:
        gap = scheduler.gaps.of(largest.tool)
        hint_s = largest.gap_hint_s
        gap_s = hint_s if hint_s is not None else gap.expected_s(now_s - largest.rested_s)
    return ProgramView(
        program=program.name,
        tenant=program.tenant,
        agent=program.agent,
        state=state.value,
        running=program.running,
        waiting=program.waiting,
        attained_s=program.attained_s,
        remaining_s=scheduler.history.remaining_s(program.agent, program.work_s, program.head),
        waited_s=program.waited_s,
        context_tokens=sum(context.tokens for context in program.contexts.values()),
        engine=largest.engine if largest is not None else "",
        since_s=now_s - largest.since_s if largest is not None else 0.0,
        gap_s=gap_s,
    )
