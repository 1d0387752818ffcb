"""What a call answers with: deltas while it runs, then exactly one `Done`, or one `KernelError`."""

from typing import Literal

from msgspec import Struct

from orlop.abi.egress import Fetched
from orlop.abi.files import FileReply
from orlop.abi.hints import Facts, Usage
from orlop.abi.ids import Pid, ProcessId
from orlop.abi.memory import MemoryReply
from orlop.abi.messages import Message, TokenLogprob
from orlop.abi.sagas import SagaBegun, SagaOver

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ToolUseDelta(Struct, frozen=True, omit_defaults=True):
    """A piece of a tool call.  `id` and `name` come with its first piece."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    kind: str = "function"
    extra: dict[str, object] = {}
    """As in `ToolUse`; comes with the first piece."""


class Delta(Struct, frozen=True, omit_defaults=True, tag="delta"):
    """A piece of one choice, as the engine gave it.  Provisional until the call is done."""

    choice: int = 0
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_uses: tuple[ToolUseDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class Choice(Struct, frozen=True, omit_defaults=True):
    """One complete answer."""

    message: Message
    finish: FinishReason = "stop"
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    stop: str = ""
    """The stop sequence that ended it, where the engine says so."""


class Completion(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="completion"):
    """The end of an `infer`."""

    choices: tuple[Choice, ...]
    usage: Usage = Usage()
    model: str = ""
    """As the engine names it."""
    created_s: int = 0
    """UTC; recorded, so that a replay gives the same bytes."""
    fingerprint: str = ""
    extra: dict[str, object] = {}
    facts: Facts

    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].message.text() if self.choices else ""


class Generated(Struct, frozen=True, kw_only=True):
    """What an engine made of an `Infer`, before the kernel adds the facts."""

    choices: tuple[Choice, ...]
    usage: Usage = Usage()
    model: str = ""
    fingerprint: str = ""
    extra: dict[str, object] = {}
    prefill_s: float = 0.0
    """To the first token, on the engine; 0 where it doesn't tell.  `decode_s` likewise."""
    decode_s: float = 0.0


class Embedded(Struct, frozen=True, kw_only=True):
    """What an engine made of an `Embed`: one vector an input, in order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
    model: str = ""


class Vectors(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="vectors"):
    """The end of an `embed`: one vector an input, in order, f32."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
    model: str = ""
    facts: Facts


class ToolResult(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="tool_result"):
    """The end of a `call_tool`: what the tool said, as JSON."""

    value: object = None
    edited: dict[str, object] | None = None
    """The arguments that a person has put in the place of the call's."""
    facts: Facts


class Spawned(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="spawned"):
    """The end of a `spawn`: the child runs."""

    process: ProcessId
    pid: Pid
    facts: Facts


class Exited(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="exited"):
    """The end of a `wait`.  `status`: an exit status, or minus the number of the signal."""

    process: ProcessId
    status: int
    facts: Facts


class Patched(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="patched"):
    """The end of a `patch`: whether the program takes its new path."""

    applies: bool
    facts: Facts


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="answer"):
    """The end of an `ask`: what a person said, and who."""

    text: str
    person: str
    question: str
    facts: Facts


class Ok(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ok"):
    """The end of a call that has nothing to say."""

    facts: Facts


Done = (
    Completion
    | Vectors
    | ToolResult
    | Fetched
    | Spawned
    | Exited
    | Patched
    | Answer
    | FileReply
    | MemoryReply
    | SagaBegun
    | SagaOver
    | Ok
)
Reply = Delta | Done
