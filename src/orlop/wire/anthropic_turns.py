"""Anthropic's turns and the kernel's messages, both ways.

One of Anthropic's messages may hold tool results beside other blocks; the kernel's messages keep
each tool result apart.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from orlop.abi.messages import Foreign, Message, Part, Text, ToolUse
from orlop.wire.anthropic_parts import (
    Block,
    is_place,
    open_block,
    parts_of,
    place_of,
    read_part,
    write_part,
)
from orlop.wire.json_fields import Fields, Where
from orlop.wire.openai_messages import settle

INVALID_JSON: Final = "INVALID_JSON"
"""The key under which Anthropic's documentation wraps arguments that are not a JSON object."""


def read_messages(turn: object, where: Where) -> list[Message]:
    """The kernel's messages for one of Anthropic's; `turn` is taken apart."""
    fields = Fields(turn, where)
    role = fields.need_text("role")
    content = _take_content(fields)
    if content is None:
        fields.refuse("content", "is required")
    extra, at = fields.rest(), (where, "content")
    match role:
        case "assistant":
            return [_read_assistant(content, extra, at)]
        case "user":
            return _read_user(content, extra, at)
        case "system":
            return [Message("system", read_content(content, at), extra=extra)]
    fields.refuse("role", f"must be user, assistant or system, not {role!r}")


def read_content(content: str | list[object], where: Where) -> str | tuple[Part, ...]:
    if isinstance(content, str):
        return content
    return tuple(read_part(open_block(raw, (where, index))) for index, raw in enumerate(content))


def arguments_of(given: Mapping[str, object]) -> str:
    """A tool's `input` as the JSON text that the model wrote, as far as that can be known."""
    broken = given.get(INVALID_JSON)
    if isinstance(broken, str) and len(given) == 1:
        return broken
    return msgspec.json.encode(given).decode()


def input_of(arguments: str) -> dict[str, object]:
    """The model's JSON text as an object; what is not one is wrapped, never dropped."""
    if not arguments.strip():
        return {}
    try:
        return msgspec.json.decode(arguments, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError):
        return {INVALID_JSON: arguments}


def write_turns(messages: Sequence[Message]) -> list[Block]:
    """Anthropic's messages for the kernel's: neighbouring tool results share one user turn."""
    turns: list[Block] = []
    follows_result = False
    for message in messages:
        is_result = message.role == "tool"
        if follows_result and message.role in ("tool", "user"):
            last = turns[-1]["content"]
            assert isinstance(last, list)
            last.extend(_blocks_of(message))
        else:
            turns.append(_write_turn(message))
        follows_result = is_result or (follows_result and message.role == "user")
    return turns


def write_blocks(message: Message) -> list[Block]:
    """An assistant's blocks, in the order they were said as far as that is known."""
    uses = list(message.tool_uses)
    blocks: list[Block] = []
    if message.reasoning:
        blocks.append({"type": "thinking", "thinking": message.reasoning, "signature": ""})
    for part in parts_of(message):
        if not (place := place_of(part)):
            blocks.append(write_part(part))
        elif use := next((use for use in uses if use.id == place), None):
            uses.remove(use)
            blocks.append(_write_use(use))
    if message.refusal:
        blocks.append({"type": "text", "text": message.refusal})
    return blocks + [_write_use(use) for use in uses]


def _take_content(fields: Fields) -> str | list[object] | None:
    """A string or a list of blocks."""
    if isinstance(fields.raw.get("content"), str):
        return fields.text("content")
    return fields.items("content") if fields.raw.get("content") is not None else None


def _read_assistant(content: str | list[object], extra: Block, where: Where) -> Message:
    if isinstance(content, str):
        return Message("assistant", content, extra=extra)
    parts: list[Part] = []
    uses: list[ToolUse] = []
    reasoning = ""
    for index, raw in enumerate(content):
        block = open_block(raw, (where, index))
        if block.raw["type"] == "tool_use":
            uses.append(_read_use(block))
            parts.append(Foreign("anthropic", {"type": "tool_use", "id": uses[-1].id}))
        elif not parts and _is_unsigned_thinking(block.raw):
            reasoning += block.text("thinking")
        else:
            parts.append(read_part(block))
    said = _simplest(parts, uses)
    return settle(
        Message("assistant", said, tool_uses=tuple(uses), reasoning=reasoning, extra=extra)
    )


def _read_use(block: Fields) -> ToolUse:
    del block.raw["type"]
    given = block.mapping("input")
    if given is None:
        block.refuse("input", "is required and must be an object")
    return ToolUse(
        block.need_text("id"), block.need_text("name"), arguments_of(given), extra=block.rest()
    )


def _simplest(parts: list[Part], uses: list[ToolUse]) -> str | tuple[Part, ...] | None:
    """The content as an engine would have said it: so a resent answer has its recorded name.

    Where the tool calls come last, as they nearly always do, their places need no marks.
    """
    said = len(parts) - len(uses)
    if all(is_place(part) for part in parts[said:]):
        parts = parts[:said]
    match parts:
        case []:
            return None
        case [Text(text, extra)] if not extra:
            return text
    return tuple(parts)


def _is_unsigned_thinking(block: Block) -> bool:
    """Thinking that another engine than Claude did, and that we wrote into the dialect."""
    return (
        block["type"] == "thinking"
        and isinstance(block.get("thinking"), str)
        and not block.get("signature")
    )


def _read_user(content: str | list[object], extra: Block, where: Where) -> list[Message]:
    if isinstance(content, str):
        return [Message("user", content, extra=extra)]
    messages: list[Message] = []
    parts: list[Part] = []
    for index, raw in enumerate(content):
        block = open_block(raw, (where, index))
        if block.raw["type"] != "tool_result":
            parts.append(read_part(block))
            continue
        if parts:
            messages.append(Message("user", tuple(parts), extra=extra))
            parts = []
        messages.append(_read_result(block))
    if parts or not messages:
        messages.append(Message("user", tuple(parts), extra=extra))
    return messages


def _read_result(block: Fields) -> Message:
    del block.raw["type"]
    content = _take_content(block)
    return Message(
        "tool",
        None if content is None else read_content(content, (block.where, "content")),
        tool_use_id=block.need_text("tool_use_id"),
        is_error=bool(block.flag("is_error")),
        extra=block.rest(),
    )


def _write_turn(message: Message) -> Block:
    role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
    content: str | list[Block]
    if isinstance(message.content, str) and not message.tool_uses and message.role != "tool":
        plain = not message.reasoning and not message.refusal
        content = message.content if plain else _blocks_of(message)
    else:
        content = _blocks_of(message)
    extra = {} if message.role == "tool" else message.extra
    return {"role": role, "content": content, **extra}


def _blocks_of(message: Message) -> list[Block]:
    match message.role:
        case "assistant":
            return write_blocks(message)
        case "tool":
            return [_write_result(message)]
    return [write_part(part) for part in parts_of(message)]


def _write_result(message: Message) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": message.tool_use_id}
    if isinstance(message.content, str):
        block["content"] = message.content
    elif message.content is not None:
        block["content"] = [write_part(part) for part in message.content]
    if message.is_error:
        block["is_error"] = True
    return block | message.extra


def _write_use(use: ToolUse) -> Block:
    given = input_of(use.arguments)
    return {"type": "tool_use", "id": use.id, "name": use.name, "input": given, **use.extra}
