"""What people are asked: questions of agents, and calls that need their word."""

from typing import Literal

from msgspec import Struct

from orlop.abi.calls import CallTool
from orlop.abi.grants import GrantTerms
from orlop.abi.ids import CallId, NanoDollars, Nanoseconds, Pid, ProcessId, TenantId

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
    "agreed",
    "disagreed",
    "covered",
]
"""It is `pending` until somebody speaks, `expired` where nobody does; `answered`, or `agreed` or
`disagreed` with what was judged.  What was `approved` is `executing` while its call runs, and then
`done`, `failed`, or `unknown` where the kernel was lost; `covered`: a grant has let it through."""

Form = Literal["question", "approval", "suggestion", "observation", "elicitation"]
"""An agent asks; a call waits; a person acts in an agent's place; a call that is not made, to be
judged; an MCP server asks in the middle of a call."""

Verdict = Literal["approve", "deny", "answer", "take", "agree", "disagree"]
"""`take`: the person has done it himself, and says what came of it."""

Proof = Literal["operator", "token", "webhook", "chain"]
"""How it is known who spoke: he holds the operator's token and the name is as he gave it; his own
token; a signed webhook vouches for him; nobody did, and the escalation's end says what follows."""

Touch = Literal[
    "approval",
    "denial",
    "edit",
    "answer",
    "takeover",
    "judgement",
    "grant",
    "incident",
    "setting",
    "note",
]
"""What a person has done."""


def asked_in(call: CallId) -> str:
    """The name of the question that a call of `ask` puts: one, however often the kernel starts."""
    return f"qst_{call.removeprefix('cal_')}"


class Change(Struct, frozen=True, omit_defaults=True):
    """Where two sets of arguments differ.  `was`, `now`: JSON; empty where there is nothing."""

    path: str
    """A JSON pointer (RFC 6901)."""
    was: str = ""
    now: str = ""


class QuestionAsked(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.asked", omit_defaults=True
):
    """An agent asks, or the kernel asks for it whether a call may be made.

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
    form: Form | None = None
    """None, in journals of earlier releases: an approval if it names a tool, else a question."""
    lasting: bool = False
    """It waits for its answer also after its process has ended."""
    asked_by: str = ""
    """Which rules want a person's word: the tool's card, a policy, an autonomy level."""
    cost: NanoDollars = NanoDollars(0)
    """Of the call, at most."""
    compared: CallId | None = None
    """The agent's previous call of the same tool; `changes` are against it."""
    changes: tuple[Change, ...] = ()
    preview: str = ""
    """What the tool's own `preview` says that the call would change."""
    chain: str = ""
    """The escalation that it follows."""
    task: str = ""
    """The type of the task, and `level` the autonomy that the call was asked about at."""
    level: str = ""
    schema: dict[str, object] = {}
    """Of an elicitation: what its answer must be."""


class QuestionAnswered(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.answered", omit_defaults=True
):
    """A person has touched this: who, what was said, and how long it took him."""

    question: str
    verdict: Verdict
    person: str
    answer: str = ""
    """To a question; to an approval, a note for the agent."""
    minutes: float = 0.0
    """As the person says; 0: not said."""
    touch: Touch | None = None
    """None, in journals of earlier releases: as the verdict says."""
    proof: Proof = "operator"
    cost: NanoDollars = NanoDollars(0)
    """Of those minutes."""
    arguments: dict[str, object] | None = None
    """The person's, in the place of the agent's."""
    result: object = None
    """Of a `take`: what came of it."""
    delivery: str = ""
    """The webhook's own id, if it came by one."""


class QuestionExpired(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.expired"):
    question: str
    reason: str = ""


class QuestionCovered(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.covered"):
    """A grant has been given that lets the call through: nobody needs to answer any more."""

    question: str
    grant: str


class QuestionEscalated(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.escalated"):
    """The next people of the chain are asked as well.  step: from 1."""

    question: str
    step: int
    to: tuple[str, ...]


class QuestionNotified(Struct, frozen=True, kw_only=True, tag_field="kind", tag="human.notified"):
    """The outgoing webhook has told of the question up to and with `step`, or has been given up."""

    question: str
    step: int
    failed: str = ""


class CallParked(Struct, frozen=True, kw_only=True, tag_field="kind", tag="call.parked"):
    """A call waits for a person, and its client was told to come back: it outlives the kernel."""

    question: str
    body: CallTool
    nonce: str
    incarnation: int
    token: str = ""
    """The narrowed token with a budget that it came with."""


class CallRefused(Struct, frozen=True, kw_only=True, tag_field="kind", tag="call.refused"):
    """A parked call has ended without having begun."""

    code: str
    message: str


class Parked(Struct, frozen=True, kw_only=True):
    """A row: a parked call."""

    call: CallId
    process: ProcessId
    parked: CallParked


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
    form: Form = "question"
    lasting: bool = False
    asked_by: str = ""
    cost: NanoDollars = NanoDollars(0)
    compared: CallId | None = None
    changes: tuple[Change, ...] = ()
    preview: str = ""
    chain: str = ""
    step: int = 0
    """Of its chain: how many steps were taken."""
    asked_of: tuple[str, ...] = ()
    """Whom the chain has reached; empty: everybody."""
    notified: int = -1
    """The step that the outgoing webhook has told of; -1: of nothing yet."""
    task: str = ""
    level: str = ""
    schema: dict[str, object] = {}
    proof: Proof = "operator"
    edited: dict[str, object] | None = None
    """A person's arguments, in the place of the agent's."""
    taken: bool = False
    """A person has done it himself, with this result."""
    result: object = None
    delivery: str = ""

    @property
    def is_override(self) -> bool:
        """The person wanted something else than the agent did."""
        return self.state in ("denied", "disagreed") or self.edited is not None


class AnswerOrder(Struct, frozen=True, kw_only=True):
    """`orlop approve`, `orlop deny`, `orlop answer`, `orlop take`."""

    verdict: Verdict
    person: str = ""
    """Who says so; one who comes with a token of his own need not."""
    answer: str = ""
    minutes: float = 0.0
    arguments: dict[str, object] | None = None
    """With `approve`: call the tool with these instead; with `take`: what was really done."""
    result: object = None
    """With `take`: what came of it, as the tool would have said it."""
    grant: GrantTerms | None = None
    """With `approve`: let the agent call this tool from now on, within these terms."""


class BatchOrder(Struct, frozen=True, kw_only=True):
    """The same word on many: each is answered by itself, whatever becomes of the others."""

    ids: tuple[str, ...]
    order: AnswerOrder


class BatchLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    state: str = ""
    """Of the question now; empty where it could not be answered."""
    code: str = ""
    message: str = ""


class SignedAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a signed webhook that brings a person's word."""

    question: str
    verdict: Verdict
    person: str
    answer: str = ""
    minutes: float = 0.0
    arguments: dict[str, object] | None = None
    result: object = None
