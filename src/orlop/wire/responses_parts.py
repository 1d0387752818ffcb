"""What items of the Responses dialect are made of: their shapes, and their content parts."""

from collections.abc import Sequence

from orlop.abi.errors import BadCall
from orlop.abi.messages import File, Foreign, Image, Message, Part, Text, TokenLogprob, ToolUse
from orlop.abi.replies import FinishReason
from orlop.wire.json_fields import Fields

Item = dict[str, object]


def reasoning_item(id: str, text: str) -> Item:
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {"id": id, "type": "reasoning", "summary": [], "content": content}


def message_item(id: str, status: str, content: list[Item]) -> Item:
    return {
        "id": id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def call_item(id: str, status: str, use: ToolUse) -> Item:
    return {
        "id": id,
        "type": "function_call",
        "status": status,
        "call_id": use.id,
        "name": use.name,
        "arguments": use.arguments,
    }


def status_of(finish: FinishReason) -> str:
    return "incomplete" if finish in ("length", "content_filter") else "completed"


def text_part(text: str, logprobs: Sequence[TokenLogprob]) -> Item:
    held = [write_logprob(entry) for entry in logprobs]
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": held}


def refusal_part(text: str) -> Item:
    return {"type": "refusal", "refusal": text}


def write_logprob(entry: TokenLogprob) -> Item:
    return {
        "token": entry.token,
        "logprob": entry.logprob,
        "bytes": list(entry.token.encode() if entry.bytes is None else entry.bytes),
        "top_logprobs": [write_logprob(top) for top in entry.top],
    }


def read_part(part: Fields) -> Part:
    match part.text("type"):
        case "input_text" | "output_text" | "text":
            text = part.raw.pop("text", None)
            if not isinstance(text, str):
                part.refuse("text", "is required and must be a string")
            # Of an answer sent back: it is not told to the model again.
            for name in ("annotations", "logprobs"):
                part.raw.pop(name, None)
            return Text(text, part.rest())
        case "input_image":
            if part.raw.get("file_id"):
                part.refuse("file_id", "names a file kept elsewhere; send `image_url`")
            return Image(part.need_text("image_url"), part.text("detail"), part.rest())
        case "input_file":
            if part.raw.get("file_url"):
                part.refuse("file_url", "is not fetched by this kernel; send `file_data`")
            return File(
                part.text("file_data"), part.text("file_id"), part.text("filename"), part.rest()
            )
        case kind:
            part.refuse("type", f"is {kind!r}, which this kernel does not know")


def write_input_part(part: Part) -> Item:
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Image(source, detail):
            return {"type": "input_image", "image_url": source, "detail": detail or "auto"}
        case File(data, file_id, filename):
            named = {"file_data": data, "file_id": file_id, "filename": filename}
            given: Item = {name: held for name, held in named.items() if held}
            return {"type": "input_file"} | given
        case Foreign(_, value):
            return value
    raise BadCall(f"a part of kind {type(part).__name__.lower()} has no place among input items")


def parts_of(message: Message) -> tuple[Part, ...]:
    if isinstance(message.content, str):
        return (Text(message.content),)
    return message.content or ()
