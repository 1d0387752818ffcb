"""A process while the kernel runs: its row, and what lies beside that in RAM only.

Invariant: at most one incarnation of a process may call; tokens of earlier ones are fenced.
"""

import asyncio
from dataclasses import dataclass, field

from orlop.abi.ids import CallId, ProcessId
from orlop.access.taint import Tracker
from orlop.context.conversation import Contexts
from orlop.machine.latch import Latch
from orlop.state.process_table import Row, State
from orlop.state.record import Record
from orlop.state.refusals import Refusals
from orlop.state.running import Running


@dataclass(eq=False, slots=True)
class Process:
    """One process: its row, and what is gone when the kernel is."""

    row: Row
    running: dict[CallId, Running] = field(default_factory=dict)
    contexts: Contexts = field(default_factory=Contexts)
    record: Record | None = None
    """What it did before; None until the journal has been asked (after a boot, on a resume)."""
    reading: asyncio.Lock | None = None
    """Held by whoever asks the journal for it."""
    tracker: Tracker | None = None
    """Where its data came from; None until it is asked."""
    calls_replayed: int = 0
    parked: int = 0
    """Calls that wait at the door for a person: they are not in flight."""
    restarting: bool = False
    """It has ended, but its restart rule has not had its say: nobody is told that it is over."""
    unwanted: bool = False
    """Somebody has asked it to end, so its restart rule does not apply."""
    refused: int = 0
    """Calls refused for want of a right, or by a rule."""
    refusals: Refusals = field(default_factory=Refusals)
    """Of those, what the journal has been told."""
    awake: Latch = field(default_factory=Latch)
    """Set while it is not stopped: calls wait for it at the door."""
    changed: Latch = field(default_factory=Latch)
    """Set and replaced at each step of its state, for those who wait for it."""

    @property
    def id(self) -> ProcessId:
        return self.row.id

    def moved(self) -> None:
        """Its state has changed: let calls through or hold them, and tell who waits."""
        if self.row.state is State.STOPPED:
            self.awake.clear()
        else:
            self.awake.set()
        self.changed.set()
        self.changed = Latch()
