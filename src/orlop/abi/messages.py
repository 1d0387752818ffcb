"""What models read and write: messages of parts, tool calls, tools."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Text(Struct, frozen=True, tag="text", omit_defaults=True):
    """`extra` holds what a dialect says beside the text (annotations, cache marks)."""

    text: str
    extra: dict[str, object] = {}


class Image(Struct, frozen=True, tag="image", omit_defaults=True):
    """`source`: a URL, or a `data:` URL with the bytes in base 64; as the caller wrote it."""

    source: str
    detail: str = ""
    extra: dict[str, object] = {}


class Audio(Struct, frozen=True, tag="audio", omit_defaults=True):
    """`data`: base 64; `format`: wav, mp3, …"""

    data: str
    format: str = "wav"
    extra: dict[str, object] = {}


class File(Struct, frozen=True, tag="file", omit_defaults=True):
    """`data`: a `data:` URL; or `file_id`, a name that the engine knows."""

    data: str = ""
    file_id: str = ""
    filename: str = ""
    extra: dict[str, object] = {}


class Foreign(Struct, frozen=True, tag="foreign", omit_defaults=True):
    """A part of a kind that only engines of the same dialect understand (thinking, search results).

    `value` is passed on as it came.
    """

    dialect: str
    value: dict[str, object]


Part = Text | Image | Audio | File | Foreign


class ToolUse(Struct, frozen=True, omit_defaults=True):
    """A model's wish to call a tool.  `arguments`: JSON text as the model wrote it, or broken."""

    id: str
    name: str
    arguments: str = "{}"
    kind: str = "function"
    extra: dict[str, object] = {}
    """What a dialect says beside it (a signature that must come back with the next call)."""


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn.  `content` keeps the shape the caller gave: a string, parts, or nothing."""

    role: Role
    content: str | tuple[Part, ...] | None = None
    name: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    tool_use_id: str = ""
    """Of the `ToolUse` that a message of role `tool` answers."""
    is_error: bool = False
    """The tool failed (Anthropic's `is_error`)."""
    refusal: str = ""
    reasoning: str = ""
    extra: dict[str, object] = {}
    """Fields of the dialect that we do not know; sent on to engines of the same dialect."""

    def text(self) -> str:
        """The message's text parts, joined."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(part.text for part in self.content if isinstance(part, Text))


class ToolSpec(Struct, frozen=True, omit_defaults=True):
    """A tool as a model sees it.  `parameters`: a JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, object] | UnsetType = UNSET
    strict: bool | None = None
    kind: str = "function"
    extra: dict[str, object] = {}


class TokenLogprob(Struct, frozen=True, omit_defaults=True):
    """One output token.  `logprob` <= 0, natural logarithm; `top` holds (token, logprob)."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple["TokenLogprob", ...] = ()
