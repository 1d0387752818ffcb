"""A workload: tasks that call a model, go away to use a tool, and call again.

What is replayed are the gaps between a task's calls, not the recorded times of the calls: a faster
fleet gets the next call sooner, as a real agent would send it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orlop.abi.hints import LatencyClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a task.  Counts are tokens."""

    prompt: int
    """> 0."""
    output: int
    """> 0."""
    prefix: int = 0
    """Of the prompt, what repeats this task's context so far; of a first call, nothing."""
    gap_s: float = 0.0
    """From the end of the call before, or from the task's arrival."""
    tool: str = ""
    """What the task went away for, where known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One program: what a user waits for.  `steps` has at least one."""

    name: str
    steps: tuple[Step, ...]
    shared: str = ""
    """The name of a beginning that it has in common with others (a system prompt)."""
    shared_tokens: int = 0
    tier: int = 2
    """The smallest class of models that does: 0 micro, 1 small, 2 large."""
    kind: str = "agent"
    latency_class: LatencyClass = "standard"

    @property
    def context_tokens_max(self) -> int:
        return max(step.prompt + step.output for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    at_s: float
    task: Task


def scaled(task: Task, factor: float) -> Task:
    """The same task with contexts of `factor` the length, for a model with a shorter window."""
    shared_tokens = int(task.shared_tokens * factor)
    steps = []
    held = 0
    for step in task.steps:
        prompt = max(int(step.prompt * factor), shared_tokens + 1, 2)
        prefix = min(int(step.prefix * factor), prompt - 1, held)
        steps.append(replace(step, prompt=prompt, prefix=prefix))
        held = prompt + step.output
    return replace(task, steps=tuple(steps), shared_tokens=shared_tokens)


def fitting(tasks: Sequence[Task], window_tokens: int) -> list[Task]:
    """Those whose longest context the model can take."""
    return [task for task in tasks if task.context_tokens_max <= window_tokens]
