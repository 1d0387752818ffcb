"""The items of OpenAI's Responses dialect as messages and parts, both ways.

The dialect keeps a model's turn in pieces (reasoning, message, each function call); the kernel
and all chat templates have one message a turn.  Ids of items follow from the id of their call.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from orlop.abi.messages import Message, Part, Role, Text, ToolUse
from orlop.abi.replies import Choice
from orlop.wire.json_fields import Fields, Where
from orlop.wire.responses_parts import (
    Item,
    call_item,
    message_item,
    parts_of,
    read_part,
    reasoning_item,
    refusal_part,
    status_of,
    text_part,
    write_input_part,
)

_ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "system": "system",
    "developer": "developer",
    "assistant": "assistant",
}


def read_items(items: Sequence[object], where: Where) -> tuple[Message, ...]:
    """The kernel's messages for `input`; the items are taken apart."""
    turns: list[list[Message]] = []
    for at, raw in enumerate(items):
        message = _read_item(Fields(raw, (where, at)))
        if turns and _goes_on(turns[-1][-1], message):
            turns[-1].append(message)
        else:
            turns.append([message])
    return tuple(turn[0] if len(turn) == 1 else _joined(turn) for turn in turns)


def write_input(messages: Sequence[Message], suffix: str) -> list[Item]:
    """Input items, for whoever asks what a response was given.  `suffix` makes their ids."""
    items: list[Item] = []
    for at, message in enumerate(messages):
        if message.role == "tool":
            items.append(_write_output(message, f"fco_{suffix}_{at}"))
        elif message.role == "assistant":
            items.extend(write_turn(Choice(message), f"{suffix}_{at}"))
        else:
            items.append(
                {
                    "id": f"msg_{suffix}_{at}",
                    "type": "message",
                    "status": "completed",
                    "role": message.role,
                    "content": [write_input_part(part) for part in parts_of(message)],
                }
            )
    return items


def write_turn(choice: Choice, suffix: str) -> list[Item]:
    """A model's turn as output items: reasoning, message, refusal, function calls.

    A turn without any of them is a message without words: clients look for one.
    """
    message, text = choice.message, choice.message.text()
    items: list[Item] = []
    if message.reasoning:
        items.append(reasoning_item(f"rs_{suffix}", message.reasoning))
    if text or choice.logprobs or not (message.refusal or message.tool_uses):
        part = text_part(text, choice.logprobs)
        items.append(message_item(f"msg_{suffix}", "completed", [part]))
    if message.refusal:
        part = refusal_part(message.refusal)
        items.append(message_item(f"ref_{suffix}", "completed", [part]))
    items.extend(
        call_item(f"fc_{suffix}_{at}", "completed", use) for at, use in enumerate(message.tool_uses)
    )
    items[-1]["status"] = status_of(choice.finish)
    return items


def _read_item(item: Fields) -> Message:
    kind = item.text("type", "message")
    item.raw.pop("id", None)
    item.raw.pop("status", None)
    match kind:
        case "message":
            return _read_message(item)
        case "function_call":
            use = ToolUse(item.need_text("call_id"), item.need_text("name"), item.text("arguments"))
            return Message("assistant", None, tool_uses=(replace(use, extra=item.rest()),))
        case "function_call_output":
            content = _read_content(item, "output")
            name = item.need_text("call_id")
            return Message("tool", content, tool_use_id=name, extra=item.rest())
        case "reasoning":
            return _read_reasoning(item)
    item.refuse(
        "type",
        f"is {kind!r}; this kernel takes message, function_call, function_call_output and "
        "reasoning items (`docs/dialects.md`)",
    )


def _read_message(item: Fields) -> Message:
    role = _ROLES.get(item.need_text("role"))
    if role is None:
        item.refuse("role", f"must be one of {', '.join(_ROLES)}")
    refusals: list[str] = []
    said = _read_content(item, "content", refusals)
    content = _simplest(said) if role == "assistant" else said
    return Message(role, content, refusal="".join(refusals), extra=item.rest())


def _read_reasoning(item: Fields) -> Message:
    """What an engine can't read (`encrypted_content`) is kept for engines of the dialect."""
    texts: list[str] = []
    for name in ("summary", "content"):
        pieces = item.items(name)
        if pieces:
            texts = [_text_of(raw, ((item.where, name), at)) for at, raw in enumerate(pieces)]
    return Message("assistant", None, reasoning="".join(texts), extra=item.rest())


def _text_of(raw: object, where: Where) -> str:
    return Fields(raw, where).text("text")


def _read_content(
    item: Fields, name: str, refusals: list[str] | None = None
) -> str | tuple[Part, ...]:
    if isinstance(item.raw.get(name), str):
        return item.text(name)
    if item.raw.get(name) is None:
        item.refuse(name, "is required")
    parts: list[Part] = []
    for at, raw in enumerate(item.items(name)):
        part = Fields(raw, ((item.where, name), at))
        if part.raw.get("type") == "refusal" and refusals is not None:
            refusals.append(part.text("refusal"))
        else:
            parts.append(read_part(part))
    return tuple(parts)


def _simplest(content: str | tuple[Part, ...]) -> str | tuple[Part, ...] | None:
    """As an engine would have said it, so that a resent answer has its recorded name."""
    match content:
        case ():
            return None
        case (Text(text, extra),) if not extra:
            return text
    return content


def _goes_on(last: Message, message: Message) -> bool:
    """Whether two items are of one turn of the model: reasoning, message, function calls."""
    if last.role != "assistant" or message.role != "assistant" or message.reasoning:
        return False
    said = last.content is not None or last.refusal or last.tool_uses
    return bool(message.tool_uses) or not said


def _joined(turn: Sequence[Message]) -> Message:
    content = next((piece.content for piece in turn if piece.content is not None), None)
    extra: dict[str, object] = {}
    for piece in turn:
        extra |= piece.extra
    return Message(
        "assistant",
        content,
        tool_uses=tuple(use for piece in turn for use in piece.tool_uses),
        refusal="".join(piece.refusal for piece in turn),
        reasoning="".join(piece.reasoning for piece in turn),
        extra=extra,
    )


def _write_output(message: Message, id: str) -> Item:
    output: object = message.content or ""
    if isinstance(message.content, tuple):
        output = [write_input_part(part) for part in message.content]
    return {
        "id": id,
        "type": "function_call_output",
        "status": "completed",
        "call_id": message.tool_use_id,
        "output": output,
    }
