"""The small words of the Responses dialect, both ways: tools, choices, formats, usage."""

import msgspec

from orlop.abi.calls import Infer
from orlop.abi.hints import Usage
from orlop.abi.messages import ToolSpec
from orlop.wire.json_fields import Fields, Where
from orlop.wire.responses_parts import Item


def read_tool(raw: object, where: Where) -> ToolSpec:
    tool = Fields(raw, where)
    kind = tool.need_text("type")
    if kind != "function":
        tool.refuse(
            "type", f"is {kind!r}: this kernel offers `function` tools, which your program runs"
        )
    name, text = tool.need_text("name"), tool.text("description")
    schema, strict = tool.mapping("parameters"), tool.flag("strict")
    parameters = msgspec.UNSET if schema is None else schema
    return ToolSpec(name, text, parameters, strict, extra=tool.rest())


def write_tool(tool: ToolSpec) -> Item:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": None if tool.parameters is msgspec.UNSET else tool.parameters,
        "strict": tool.strict,
    }


def read_choice(fields: Fields) -> object:
    choice = fields.raw.get("tool_choice")
    if choice is None:
        fields.raw.pop("tool_choice", None)
        return None
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            fields.refuse("tool_choice", "must be `auto`, `none`, `required` or name a function")
        return fields.text("tool_choice")
    inner = fields.inner("tool_choice")
    if (kind := inner.need_text("type")) != "function":
        inner.refuse("type", f"is {kind!r}; a choice names a `function`")
    return {"name": inner.need_text("name")}


def write_choice(choice: object) -> object:
    match choice:
        case {"name": str(name)}:
            return {"type": "function", "name": name}
    return choice or "auto"


def read_format(fields: Fields) -> dict[str, object] | None:
    """`text.format` as the chat dialect's `response_format`; the rest of `text` stays."""
    text = fields.mapping("text")
    if text is None:
        return None
    inner = Fields(text, "text")
    form = inner.mapping("format")
    if left := inner.rest():
        fields.raw["text"] = left
    if form is None:
        return None
    wanted = Fields(form, ("text", "format"))
    match kind := wanted.need_text("type"):
        case "text":
            return None
        case "json_object":
            return {"type": kind}
        case "json_schema":
            if not isinstance(form.get("schema"), dict):
                wanted.refuse("schema", "is required and must be an object")
            wanted.raw.setdefault("name", "output")
            return {"type": kind, "json_schema": wanted.rest()}
    wanted.refuse("type", f"must be text, json_object or json_schema, not {kind!r}")


def write_text(call: Infer) -> Item:
    form: object = {"type": "text"}
    match call.response_format:
        case {"type": "json_schema", "json_schema": dict(held)}:
            form = {"type": "json_schema", **held}
        case {"type": "json_object"}:
            form = {"type": "json_object"}
    rest = call.extra.get("text")
    return {"format": form} | (rest if isinstance(rest, dict) else {})


def write_usage(usage: Usage) -> Item:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
