"""OpenAI's chat messages, parts, tool calls and tools, both ways.

What we don't know is kept (`extra`, `Foreign`) and goes on to engines of the same dialect only.
"""

from collections.abc import Callable, Mapping
from typing import Final, assert_never

import msgspec
from msgspec import UNSET

from orlop.abi.errors import BadCall
from orlop.abi.messages import (
    Audio,
    File,
    Foreign,
    Image,
    Message,
    Part,
    Role,
    Text,
    ToolSpec,
    ToolUse,
)
from orlop.wire.json_fields import Fields, Where, kind

_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_TOOL_KINDS: Final = ("function", "custom")


def read_message(raw: object, where: Where) -> Message:
    fields = Fields(raw, where)
    role = _ROLES.get(fields.text("role"))
    if role is None:
        fields.refuse("role", f"must be one of {', '.join(_ROLES)}")
    content = _read_content(fields)
    if not fields.raw:
        return Message(role, content)
    if fields.raw.pop("function_call", None) is not None:
        fields.refuse("function_call", "is of an API that OpenAI has withdrawn; use `tool_calls`")
    uses = fields.items("tool_calls")
    return Message(
        role=role,
        content=content,
        name=fields.text("name"),
        tool_uses=tuple(
            _read_tool_use(use, ((where, "tool_calls"), at)) for at, use in enumerate(uses)
        ),
        tool_use_id=fields.text("tool_call_id"),
        refusal=fields.text("refusal"),
        reasoning=fields.text("reasoning_content"),
        extra=fields.rest(),
    )


def read_answer(raw: object, where: Where) -> Message:
    """An engine's message: as the above, with what engines leave out put in its place."""
    fields = Fields(raw, where)
    if fields.raw.get("role") is None:
        fields.raw["role"] = "assistant"
    if fields.raw.get("reasoning_content") is None and isinstance(fields.raw.get("reasoning"), str):
        fields.raw["reasoning_content"] = fields.raw.pop("reasoning")
    uses = fields.raw.get("tool_calls")
    for at, use in enumerate(uses if isinstance(uses, list) else ()):
        if isinstance(use, dict):
            _complete_tool_use(use, at)
    return settle(read_message(fields.raw, where))


def settle(answer: Message) -> Message:
    """Engines say "" or null where there is no text; so that a stream and a whole answer are one,
    it is null beside a tool call or a refusal, and "" else."""
    if answer.content:
        return answer
    content = None if answer.tool_uses or answer.refusal else ""
    return answer if answer.content == content else msgspec.structs.replace(answer, content=content)


def _complete_tool_use(use: dict[str, object], at: int) -> None:
    """Some engines give no id, or the arguments as an object; the dialect wants both as text."""
    if not use.get("id"):
        use["id"] = f"call_{at}"
    held = use.get("function")
    if isinstance(held, dict) and isinstance(held.get("arguments"), dict):
        held["arguments"] = msgspec.json.encode(held["arguments"]).decode()


def write_message(message: Message, *, own: bool) -> dict[str, object]:
    """own: the call's dialect is OpenAI's, so that `extra` may go along."""
    wire: dict[str, object] = dict(message.extra) if own and message.extra else {}
    wire["role"] = message.role
    if isinstance(message.content, tuple):
        wire["content"] = [write_part(part, own=own) for part in message.content]
    else:
        wire["content"] = message.content
    if message.name:
        wire["name"] = message.name
    if message.tool_uses:
        wire["tool_calls"] = [write_tool_use(use, own=own) for use in message.tool_uses]
    if message.tool_use_id:
        wire["tool_call_id"] = message.tool_use_id
    if message.refusal:
        wire["refusal"] = message.refusal
    if message.reasoning:
        wire["reasoning_content"] = message.reasoning
    return wire


def _read_content(fields: Fields) -> str | tuple[Part, ...] | None:
    content = fields.raw.pop("content", None)
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        fields.refuse("content", f"must be a string or an array of parts, not {kind(content)}")
    inside = (fields.where, "content")
    return tuple(_read_part(part, (inside, at)) for at, part in enumerate(content))


def _read_part(raw: object, where: Where) -> Part:
    fields = Fields(raw, where)
    name = fields.raw.get("type")
    if not isinstance(name, str):
        fields.refuse("type", "is required: `text`, `image_url`, `input_audio` or `file`")
    if name == "text":
        return _read_text(fields)
    if name not in _NESTED:
        return Foreign("openai", fields.raw)
    known, reader = _NESTED[name]
    held = fields.raw.get(name)
    if isinstance(held, dict) and not known.issuperset(held):
        return Foreign("openai", fields.raw)
    del fields.raw["type"]
    return reader(fields.inner(name), fields)


def _read_text(fields: Fields) -> Text:
    del fields.raw["type"]
    if fields.raw.get("text") is None:
        fields.refuse("text", "is required")
    return Text(fields.text("text"), fields.rest())


def _read_image(held: Fields, fields: Fields) -> Part:
    return Image(held.need_text("url"), held.text("detail"), fields.rest())


def _read_audio(held: Fields, fields: Fields) -> Part:
    return Audio(held.need_text("data"), held.text("format", "wav"), fields.rest())


def _read_file(held: Fields, fields: Fields) -> Part:
    return File(
        data=held.text("file_data"),
        file_id=held.text("file_id"),
        filename=held.text("filename"),
        extra=fields.rest(),
    )


_NESTED: Final[Mapping[str, tuple[frozenset[str], Callable[[Fields, Fields], Part]]]] = {
    "image_url": (frozenset(("url", "detail")), _read_image),
    "input_audio": (frozenset(("data", "format")), _read_audio),
    "file": (frozenset(("file_data", "file_id", "filename")), _read_file),
}


def write_part(part: Part, *, own: bool) -> dict[str, object]:
    if isinstance(part, Foreign):
        if part.dialect != "openai":
            raise BadCall(
                f"a part of type `{part.value.get('type')}` is in {part.dialect}'s dialect; "
                "this engine speaks OpenAI's: leave the part out, or route the call elsewhere"
            )
        return part.value
    wire: dict[str, object] = dict(part.extra) if own and part.extra else {}
    match part:
        case Text():
            wire |= {"type": "text", "text": part.text}
        case Image():
            image = {"url": part.source} | ({"detail": part.detail} if part.detail else {})
            wire |= {"type": "image_url", "image_url": image}
        case Audio():
            audio = {"data": part.data, "format": part.format}
            wire |= {"type": "input_audio", "input_audio": audio}
        case File():
            held = {"file_data": part.data, "file_id": part.file_id, "filename": part.filename}
            wire |= {"type": "file", "file": {name: text for name, text in held.items() if text}}
        case _:
            assert_never(part)
    return wire


def _read_tool_use(raw: object, where: Where) -> ToolUse:
    fields = Fields(raw, where)
    use = fields.text("type", "function")
    held = fields.inner(use)
    body = "arguments" if use == "function" else "input"
    return ToolUse(
        id=fields.need_text("id"),
        name=held.need_text("name"),
        arguments=held.text(body),
        kind=use,
        extra=fields.rest(),
    )


def write_tool_use(use: ToolUse, *, own: bool) -> dict[str, object]:
    wire: dict[str, object] = dict(use.extra) if own and use.extra else {}
    body = "arguments" if use.kind == "function" else "input"
    held = {"name": use.name, body: use.arguments}
    return wire | {"id": use.id, "type": use.kind, use.kind: held}


def read_tool(raw: object, where: Where) -> ToolSpec:
    """A hosted tool (neither function nor custom) is kept whole."""
    fields = Fields(raw, where)
    use = fields.need_text("type")
    if use not in _TOOL_KINDS:
        return ToolSpec(name=use, kind=use, extra=fields.rest())
    held = fields.inner(use)
    name = held.need_text("name")
    description = held.text("description")
    parameters = held.mapping("parameters") if use == "function" else None
    strict = held.flag("strict") if use == "function" else None
    extra = fields.rest()
    if left := held.rest():
        extra[use] = left
    return ToolSpec(
        name=name,
        description=description,
        parameters=UNSET if parameters is None else parameters,
        strict=strict,
        kind=use,
        extra=extra,
    )


def write_tool(tool: ToolSpec, *, own: bool) -> dict[str, object]:
    wire: dict[str, object] = dict(tool.extra) if own and tool.extra else {}
    if tool.kind not in _TOOL_KINDS:
        return wire | {"type": tool.kind}
    left = wire.get(tool.kind)
    held: dict[str, object] = dict(left) if isinstance(left, dict) else {}
    held["name"] = tool.name
    if tool.description:
        held["description"] = tool.description
    if tool.parameters is not UNSET:
        held["parameters"] = tool.parameters
    if tool.strict is not None:
        held["strict"] = tool.strict
    return wire | {"type": tool.kind, tool.kind: held}
