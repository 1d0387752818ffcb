"""What people are asked: questions of agents, and calls of tools that need their approval."""

from typing import Literal

from msgspec import Struct

from orlop.abi.ids import Nanoseconds, Pid, ProcessId, TenantId

QuestionState = Literal[
    "pending",
    "answered",
    "approved",
    "denied",
    "expired",
    "executing",
    "done",
    "failed",
    "unknown",
]
Verdict = Literal["approve", "deny", "answer"]


class QuestionAsked(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.asked"):
    """An agent asks, or the kernel asks for it whether a tool may be called with these arguments.

    The header's `args_digest` is the call's: an approval is for this process and these arguments.
    """

    question: str
    text: str
    choices: tuple[str, ...] = ()
    tool: str = ""
    """Of an approval; likewise `arguments`, exactly as the tool will get them."""
    arguments: dict[str, object] = {}
    effect: str = ""
    """What a second execution would do."""
    expires_ns: Nanoseconds


class QuestionAnswered(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.answered"):
    """A person has touched this: who, what was said, and how long it took him."""

    question: str
    verdict: Verdict
    person: str
    answer: str = ""
    """To a question; to an approval, a note for the agent."""
    minutes: float = 0.0
    """As the person says; 0: not said."""


class QuestionExpired(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.expired"):
    question: str
    reason: str = ""


class Question(Struct, frozen=True, kw_only=True):
    """A row of the table, and what `orlop approvals` shows."""

    id: str
    process: ProcessId
    pid: Pid
    name: str
    """Of the process."""
    tenant: TenantId
    state: QuestionState
    text: str
    choices: tuple[str, ...] = ()
    tool: str = ""
    arguments: dict[str, object] = {}
    effect: str = ""
    digest: str = ""
    """Of the call, hexadecimal."""
    asked_ns: Nanoseconds
    expires_ns: Nanoseconds
    answered_ns: Nanoseconds | None = None
    person: str = ""
    answer: str = ""
    minutes: float = 0.0
    call: str = ""
    """That an approval was used for."""


class AnswerOrder(Struct, frozen=True, kw_only=True):
    """`orlop approve`, `orlop deny`, `orlop answer`."""

    verdict: Verdict
    person: str
    answer: str = ""
    minutes: float = 0.0
