"""The tables are a fold of the journal, whatever happens, and from whichever snapshot."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from recorded import header, spawned

from orlop.abi.calls import Infer, Sleep
from orlop.abi.errors import Conflict, Interrupted
from orlop.abi.events import CallEntered, CallFailed, Event, Header
from orlop.abi.ids import CallId, ProcessId
from orlop.abi.processes import (
    ProcessChanged,
    ProcessEnded,
    ProcessLaunched,
    ProcessStarted,
)
from orlop.state.process_table import TRANSITIONS, State, check
from orlop.state.snapshot import restored, taken
from orlop.state.tables import Tables

STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["start", "launch", "stop", "cont", "interrupt", "end", "call", "sleep"]),
    ),
    max_size=60,
)


def event_of(what: str, tables: Tables, process: ProcessId) -> Event:
    row = tables.rows[process]
    match what:
        case "start":
            return ProcessStarted(incarnation=row.incarnation + 1, mode="first")
        case "launch":
            return ProcessLaunched(incarnation=row.incarnation, os_pid=7, os_started=1.0)
        case "end":
            return ProcessEnded(incarnation=row.incarnation, status=row.pid % 2)
        case "call":
            return CallEntered(incarnation=row.incarnation, body=Infer(model="m"), held=5)
        case "sleep":
            return CallEntered(incarnation=row.incarnation, body=Sleep(seconds=1.0))
        case _:
            return ProcessChanged(event=what)


class Story:
    """Events as a kernel records them: none that can't be folded."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.events: list[tuple[Header, Event]] = []
        for number in range(4):
            self.record(ProcessId(f"prc_{number}"), spawned(number + 2, f"p{number}"))

    def record(self, process: ProcessId, event: Event, call: CallId | None = None) -> None:
        told = header(len(self.events) + 1, process, call=call or "", now_ns=0)
        self.events.append((told, event))
        self.tables.apply(told, event)

    def step(self, number: int, what: str) -> None:
        process = ProcessId(f"prc_{number}")
        event = event_of(what, self.tables, process)
        try:
            check(self.tables.rows[process].state, event)
        except Conflict:
            return
        call = CallId(f"cal_{len(self.events)}") if isinstance(event, CallEntered) else None
        self.record(process, event, call)
        if call is not None and number % 2:
            self.record(process, CallFailed(code=Interrupted.code, message="", booked=5), call)


def told(tables: Tables) -> bytes:
    """All of a table, in its order."""
    return msgspec.json.encode(
        [
            tables.next_pid,
            list(tables.rows.values()),
            list(tables.calls.open.values()),
            list(tables.exited),
        ]
    )


@given(STEPS)
def test_the_tables_are_a_fold_of_the_journal(steps: list[tuple[int, str]]) -> None:
    story = Story()
    for number, what in steps:
        story.step(number, what)
    again = Tables()
    for one, event in story.events:
        again.apply(one, event)
    assert told(again) == told(story.tables)


@given(STEPS, st.integers(0, 100))
def test_a_snapshot_anywhere_changes_nothing(steps: list[tuple[int, str]], at: int) -> None:
    story = Story()
    for number, what in steps:
        story.step(number, what)
    at = min(at, len(story.events))
    early = Tables()
    for one, event in story.events[:at]:
        early.apply(one, event)
    later = restored(taken(early))
    assert later is not None
    for one, event in story.events[at:]:
        later.apply(one, event)
    assert told(later) == told(story.tables)


@given(STEPS)
def test_a_process_is_never_in_a_state_that_the_machine_does_not_know(
    steps: list[tuple[int, str]],
) -> None:
    story = Story()
    for number, what in steps:
        before = story.tables.rows[ProcessId(f"prc_{number}")].state
        story.step(number, what)
        after = story.tables.rows[ProcessId(f"prc_{number}")].state
        assert after is before or (before, what) in TRANSITIONS
        if what == "start":
            assert after is State.RUNNING or before is State.STOPPED
