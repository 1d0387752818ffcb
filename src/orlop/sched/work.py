"""One call as the scheduler sees it: who asks, what it will take, who can serve it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from msgspec import Struct

from orlop.abi.hints import LatencyClass
from orlop.abi.ids import ProcessId

NOTHING: Final[Mapping[str, float]] = {}


class Phase(Enum):
    NEW = "new"
    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"


class Grant(Struct, frozen=True, kw_only=True):
    """Leave to run."""

    engine: str
    why: str
    """In words, for the call's facts."""
    cached_tokens: int = 0
    """Of its input, those believed to lie on the engine."""
    urgency: int = 0
    """For the engine's own short queue: lower is sooner."""


class Used(Struct, frozen=True, kw_only=True):
    """What a call turned out to take, as its engine counted it."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    tool: str = ""
    """That the answer asks for, so that the program is away with it next; empty: a human's turn."""
    preempted: bool = False
    """It gave its seat back and comes again."""
    lost: bool = False
    """The engine failed under it, so its context is nowhere."""


UNKNOWN: Final = Used()
"""Of a call that failed or was cancelled, a tool, or an embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What becomes of a context on an engine that `moves_contexts`."""

    engine: str
    context: str
    action: Literal["keep", "save", "drop"]
    why: str


@dataclass(eq=False, slots=True, kw_only=True)
class Work:
    """`arrived_s`, `deadline_s`: on the driver's monotonic clock."""

    process: ProcessId
    candidates: tuple[str, ...]
    """Names of attached engines that can serve it, in a fixed order for equal sets."""
    arrived_s: float
    latency_class: LatencyClass = "standard"
    program: str = ""
    """The task that it serves, the unit of scheduling; the process's own if empty."""
    context: str = ""
    """Whose conversation it goes on with, the unit of residency; the process's own if empty."""
    tenant: str = "default"
    agent: str = ""
    """The kind of program: name and version.  Equal kinds take about as much work."""
    priority: int = 0
    """Under the policy `priority`: lower is sooner."""
    deadline_s: float = math.inf
    is_hard: bool = False
    """The caller named the deadline: refuse at once what can't meet it."""
    input_tokens: int = 0
    """Expected; 0 with `output_tokens` 0: no model runs (a tool, an embedding)."""
    output_tokens: int = 0
    least_tokens: int = 0
    """Of its answer: what its caller has said, else what few answers stay below."""
    head: int = 0
    """Names the beginning of its input that other programs may have too (a system prompt, a list of
    tools): equal numbers, equal beginnings; 0: nothing is known of one."""
    head_tokens: int = 0
    tool_gap_s: float | None = None
    """The caller's own word on how long the program will be away afterwards."""
    start_s: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    """Seconds before an engine could begin: a model to load or wake, a round trip."""
    preemptions: int = 0
    goes_on: bool = True
    """Stopped in its answer, it can be gone on with, where its engine `continues`; if not, it can
    be stopped only while its prompt is being read."""
    phase: Phase = Phase.NEW
    grant: Grant | None = None
    granted_s: float = 0.0
    order: int = 0
    """Of its arrival, among all."""
    isolated_s: float = 0.0
    """What it would take alone on its engine, as estimated when it entered."""
    path_s: float = 0.0
    """Engine seconds of its program's critical path before it."""
    is_promoted: bool = False

    @property
    def tokens(self) -> int:
        """Room that it takes at the end."""
        return self.input_tokens + self.output_tokens

    @property
    def is_model_call(self) -> bool:
        return self.input_tokens + self.output_tokens > 0
