"""Anthropic's content blocks that are neither a tool's call nor its result, as parts, both ways.

Blocks that only Claude understands travel as `Foreign`, byte for byte.
"""

from orlop.abi.errors import BadCall
from orlop.abi.messages import File, Foreign, Image, Message, Part, Text
from orlop.wire.json_fields import Fields, Where

Block = dict[str, object]


def open_block(raw: object, where: Where) -> Fields:
    block = Fields(raw, where)
    if not isinstance(block.raw.get("type"), str):
        block.refuse("type", "is required: what kind of content block this is")
    return block


def read_part(block: Fields) -> Part:
    """One block that is neither a tool's call nor its result."""
    match block.raw["type"]:
        case "text":
            return _read_text(block)
        case "image" | "document":
            return _read_media(block)
    return Foreign("anthropic", block.raw)


def write_part(part: Part) -> Block:
    """One part as a block.  Raises `BadCall` where Anthropic has no such thing."""
    match part:
        case Text(text, extra):
            return {"type": "text", "text": text, **extra}
        case Image(source, _, extra):
            return {"type": "image", "source": _write_source(source), **extra}
        case File(data, "", filename, extra) if data:
            title: Block = {"title": filename} if filename else {}
            return {"type": "document", "source": _write_source(data), **title, **extra}
        case Foreign("anthropic", value):
            return value
    kind = part.value.get("type") if isinstance(part, Foreign) else type(part).__name__.lower()
    raise BadCall(f"an engine of Anthropic's dialect can't be given a part of kind {kind}")


def parts_of(message: Message) -> tuple[Part, ...]:
    if isinstance(message.content, str):
        return (Text(message.content),) if message.content else ()
    return message.content or ()


def place_of(part: Part) -> str:
    """The id of the tool call that stood here among other blocks; empty for any other part."""
    if isinstance(part, Foreign) and part.dialect == "anthropic":
        value = part.value
        if value.get("type") == "tool_use" and value.keys() == {"type", "id"}:
            return str(value["id"])
    return ""


def is_place(part: Part) -> bool:
    return bool(place_of(part))


def is_sayable(part: Part) -> bool:
    """Whether an answer in this dialect may hold it."""
    return isinstance(part, Text) or (isinstance(part, Foreign) and part.dialect == "anthropic")


def _read_text(block: Fields) -> Text:
    text = block.raw.pop("text", None)
    if not isinstance(text, str):
        block.refuse("text", "is required and must be a string")
    del block.raw["type"]
    return Text(text, block.rest())


def _read_media(block: Fields) -> Part:
    """What is not plainly a URL or base 64 (a file's id, a citable text) stays as it came."""
    source = block.raw.get("source")
    if not isinstance(source, dict):
        block.refuse("source", "is required and must be an object")
    kind, title = block.raw["type"], block.raw.get("title")
    match source:
        case {"type": "base64", "media_type": str(media), "data": str(data), **more} if not more:
            url = f"data:{media};base64,{data}"
        case {"type": "url", "url": str(url), **more} if kind == "image" and not more:
            pass
        case _:
            return Foreign("anthropic", block.raw)
    extra = {name: held for name, held in block.rest().items() if name not in ("type", "source")}
    if kind == "image":
        return Image(url, extra=extra)
    extra.pop("title", None)
    return File(url, filename=title if isinstance(title, str) else "", extra=extra)


def _write_source(source: str) -> Block:
    if not source.startswith("data:"):
        return {"type": "url", "url": source}
    head, _, data = source.removeprefix("data:").partition(",")
    media_type, _, encoding = head.partition(";")
    if encoding != "base64":
        raise BadCall("a data: URL must hold base 64 here")
    return {"type": "base64", "media_type": media_type, "data": data}
