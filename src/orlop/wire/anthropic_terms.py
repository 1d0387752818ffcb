"""The small words of Anthropic's dialect, both ways: tools, choices, stop reasons, usage, tiers."""

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall
from orlop.abi.hints import LatencyClass, Usage
from orlop.abi.messages import ToolSpec
from orlop.abi.replies import Choice, FinishReason
from orlop.wire.anthropic_parts import Block
from orlop.wire.json_fields import Fields, Where

_TIERS: Final[Mapping[str, LatencyClass | None]] = {
    "": None,
    "auto": None,
    "standard_only": "standard",
}
_STOP_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_FINISHES: Final[Mapping[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def stop_of(choice: Choice) -> tuple[str, str | None]:
    """`stop_reason` and `stop_sequence`.  Some engines end a tool call with a plain stop."""
    if choice.finish == "stop" and choice.message.tool_uses:
        return "tool_use", None
    if choice.finish == "stop" and choice.message.refusal:
        return "refusal", None
    if choice.finish == "stop" and choice.stop:
        return "stop_sequence", choice.stop
    return _STOP_REASONS[choice.finish], None


def read_finish(reason: str) -> FinishReason:
    """`end_turn`, `stop_sequence`, `pause_turn` and what is yet to come are plain stops."""
    return _FINISHES.get(reason, "stop")


def write_usage(usage: Usage) -> dict[str, object]:
    """Anthropic counts cached input tokens apart from the others."""
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }


def read_usage(raw: dict[str, object]) -> Usage:
    fields = Fields(raw, "usage")
    fresh, cached, created = (
        fields.integer(name, 0) or 0
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return Usage(fresh + cached + created, cached, fields.integer("output_tokens", 0) or 0)


def read_tool(raw: object, where: Where) -> ToolSpec:
    """A tool that Anthropic defines (`bash_20250124`, `web_search_…`) has its type as its kind."""
    fields = Fields(raw, where)
    kind = fields.text("type", "custom")
    name = fields.need_text("name")
    if kind != "custom":
        return ToolSpec(name, kind=kind, extra=fields.rest())
    schema = fields.mapping("input_schema")
    if schema is None:
        fields.refuse("input_schema", "is required")
    text, strict = fields.text("description"), fields.flag("strict")
    return ToolSpec(name, text, schema, strict, extra=fields.rest())


def write_tool(tool: ToolSpec) -> Block:
    if tool.kind != "function":
        return {"type": tool.kind, "name": tool.name, **tool.extra}
    schema = {"type": "object"} if tool.parameters is UNSET else tool.parameters
    block: Block = {"name": tool.name, "input_schema": schema, **tool.extra}
    if tool.description:
        block["description"] = tool.description
    if tool.strict is not None:
        block["strict"] = tool.strict
    return block


def read_choice(fields: Fields) -> tuple[object, bool | None]:
    """The choice, and whether tools may be called in parallel where the caller says so."""
    raw = fields.mapping("tool_choice")
    if raw is None:
        return None, None
    choice = Fields(raw, "tool_choice")
    kind = choice.need_text("type")
    alone = choice.flag("disable_parallel_tool_use")
    parallel = None if alone is None else not alone
    if kind == "tool":
        return {"name": choice.need_text("name")}, parallel
    if kind not in _CHOICES:
        choice.refuse("type", f"must be auto, any, tool or none, not {kind!r}")
    return _CHOICES[kind], parallel


def write_choice(call: Infer) -> Block | None:
    kind = {choice: kind for kind, choice in _CHOICES.items()}
    choice: Block
    match call.tool_choice:
        case None if call.parallel_tool_calls is None or not call.tools:
            return None
        case None:
            choice = {"type": "auto"}
        case {"name": str(name)}:
            choice = {"type": "tool", "name": name}
        case str(word) if word in kind:
            choice = {"type": kind[word]}
        case _:
            raise BadCall(f"`tool_choice`: Anthropic's dialect can't say {call.tool_choice!r}")
    if call.parallel_tool_calls is not None and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = not call.parallel_tool_calls
    return choice


def read_format(fields: Fields) -> dict[str, object] | None:
    """`output_config.format` as OpenAI's `response_format`; the rest of it stays in `extra`."""
    config = fields.mapping("output_config")
    if config is None:
        return None
    inner = Fields(config, "output_config")
    form = inner.mapping("format")
    if left := inner.rest():
        fields.raw["output_config"] = left
    if form is None:
        return None
    wanted = Fields(form, ("output_config", "format"))
    if wanted.need_text("type") != "json_schema":
        wanted.refuse("type", "must be json_schema")
    schema = wanted.mapping("schema")
    if schema is None:
        wanted.refuse("schema", "is required")
    inside = {"name": "output", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": inside}


def write_format(given: Mapping[str, object]) -> Block:
    match given:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return {"type": "json_schema", "schema": schema}
    raise BadCall("`response_format`: Anthropic's dialect has `json_schema` with a schema only")


def read_tier(fields: Fields) -> LatencyClass | None:
    tier = fields.text("service_tier")
    if tier not in _TIERS:
        fields.refuse("service_tier", "must be auto or standard_only")
    return _TIERS[tier]
