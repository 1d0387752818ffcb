"""A call of one dialect made fit for an engine of OpenAI's chat dialect.

What carries no meaning for another engine is left out; what would change the answer's meaning is
refused by name, so that nobody gets an answer to a question that was not asked.
"""

from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall
from orlop.abi.messages import File, Foreign, Message, Part, Text
from orlop.wire.anthropic_parts import is_place

_ANTHROPIC_WISHES: Final = frozenset(
    ("metadata", "thinking", "output_config", "cache_control", "speed", "diagnostics")
)
"""How to compute, cache or bill: an answer without them answers the same question."""

_RESPONSES_OWN: Final = frozenset(
    (
        "instructions",
        "previous_response_id",
        "store",
        "metadata",
        "include",
        "truncation",
        "max_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "safety_identifier",
        "user",
        "reasoning",
        "text",
    )
)
"""Kept by us, or said otherwise in the chat dialect."""


def to_openai(call: Infer) -> Infer:
    """`call` in the chat dialect's words.  Raises `BadCall` naming what they can't say."""
    match call.dialect:
        case "anthropic":
            return _from_anthropic(call)
        case "responses":
            return _from_responses(call)
    return call


def without_extras(call: Infer) -> Infer:
    """Only what the kernel itself has words for: all that an engine of another dialect may get."""
    return replace(
        call,
        messages=tuple(_plain(message, message.content) for message in call.messages),
        tools=tuple(replace(tool, extra={}) if tool.extra else tool for tool in call.tools),
        extra={},
        dialect="",
    )


def _from_anthropic(call: Infer) -> Infer:
    for name, value in call.extra.items():
        if name != "top_k" and not _is_wish(name, value):
            raise _untranslatable(name, call.dialect)
    if call.messages and call.messages[-1].role == "assistant":
        raise BadCall("`messages`: an answer begun for the model (a prefill) needs Claude itself")
    for tool in call.tools:
        if tool.kind != "function":
            raise _untranslatable(f"tools: {tool.kind}", call.dialect)
    messages = tuple(_plain(message, _translate(message)) for message in call.messages)
    # llama.cpp, vLLM and SGLang know `top_k`; an engine that doesn't will say so itself.
    extra = {"top_k": call.extra["top_k"]} if "top_k" in call.extra else {}
    return replace(without_extras(replace(call, messages=messages)), extra=extra, dialect="openai")


def _is_wish(name: str, value: object) -> bool:
    """Whether the same question is answered without it.  Empty lists and objects ask nothing."""
    match value:
        case {"edits": list(edits)} if name == "context_management":
            # The thinking of earlier turns is left out in any case.
            return all(
                isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking")
                for edit in edits
            )
    return name in _ANTHROPIC_WISHES or not value


def _from_responses(call: Infer) -> Infer:
    extra = {name: held for name, held in call.extra.items() if name not in _RESPONSES_OWN}
    match call.extra.get("reasoning"):
        case {"effort": str(effort)}:
            extra["reasoning_effort"] = effort
    match call.extra.get("text"):
        case {"verbosity": str(verbosity)}:
            extra["verbosity"] = verbosity
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        if name in call.extra:
            extra[name] = call.extra[name]
    return replace(without_extras(call), extra=extra, dialect="openai")


def _translate(message: Message) -> str | tuple[Part, ...] | None:
    if isinstance(message.content, tuple):
        kept = (part for part in message.content if not is_place(part))
        if content := tuple(inner for part in kept for inner in _translate_part(part)):
            return content
    elif message.content:
        return message.content
    # Chat engines take no message without content, unless it calls a tool.
    if message.role == "tool" and message.is_error:
        return "the tool failed"
    return None if message.tool_uses else ""


def _translate_part(part: Part) -> list[Part]:
    match part:
        case Foreign("anthropic", {"type": "thinking" | "redacted_thinking"}):
            return []  # Claude itself is not shown the thinking of earlier turns.
        case Foreign("anthropic", {"type": "document", "source": dict(source), **more}):
            _check_citations(more.get("citations"))
            return _translate_document(source, more)
        case Foreign(dialect, value):
            raise _untranslatable(f"a content block of type {value.get('type')}", dialect)
        case File(extra=extra):
            _check_citations(extra.get("citations"))
            return [part]
    return [part]


def _translate_document(source: dict[str, object], more: dict[str, object]) -> list[Part]:
    heading = [str(more[name]) for name in ("title", "context") if more.get(name)]
    match source:
        case {"type": "text", "data": str(data)}:
            return [Text("\n".join([*heading, data]))]
        case {"type": "content", "content": str(data)}:
            return [Text("\n".join([*heading, data]))]
    raise _untranslatable(f"a document whose source is {source.get('type')}", "anthropic")


def _check_citations(citations: object) -> None:
    if isinstance(citations, dict) and citations.get("enabled"):
        raise _untranslatable("citations", "anthropic")


def _plain(message: Message, content: str | tuple[Part, ...] | None) -> Message:
    """Without what only the caller's dialect says; most messages are that already."""
    if isinstance(content, tuple):
        content = tuple(
            part if isinstance(part, Foreign) or not part.extra else replace(part, extra={})
            for part in content
        )
    uses = tuple(replace(use, extra={}) if use.extra else use for use in message.tool_uses)
    return replace(message, content=content, tool_uses=uses, extra={})


def _untranslatable(name: str, dialect: str) -> BadCall:
    return BadCall(
        f"`{name}` is in {dialect}'s dialect and would change the answer; the engine that runs "
        "this model speaks OpenAI's: leave it out, or ask for a model of the same dialect"
    )
