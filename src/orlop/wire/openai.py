"""OpenAI's chat completions without I/O, both halves.  Streams are in `openai_stream`.

The server's half reads bodies and writes replies (`http/openai.py`); the client's half writes
bodies and reads replies (`devices/openai.py`).  What one half writes the other reads.
"""

from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall, DeviceFailed
from orlop.abi.hints import Hints
from orlop.abi.limits import CHOICES_MAX, MESSAGES_PER_CALL_MAX
from orlop.abi.messages import Message
from orlop.abi.replies import Choice, Completion, Generated
from orlop.wire import json_guard
from orlop.wire.json_fields import Fields, Where, kind
from orlop.wire.openai_messages import (
    read_answer,
    read_message,
    read_tool,
    write_message,
    write_tool,
)
from orlop.wire.openai_sampling import read_limit, read_sampling, read_stream, write_rest
from orlop.wire.openai_terms import (
    ReplyHead,
    read_finish,
    read_logprobs,
    read_tier,
    read_usage,
    write_facts,
    write_logprobs,
    write_usage,
)
from orlop.wire.portable import to_openai

CHAT_ID: Final = "chatcmpl-"
_WITHDRAWN: Final = ("functions", "function_call")
_BODY_FIELDS: Final = frozenset(
    ("id", "object", "created", "service_tier", "orlop", "choices", "obfuscation")
)
"""Of an engine's reply: what is ours to write anew, so never part of `extra`."""


class ChatRequest(Struct, frozen=True):
    """A call, and what is a matter of its transport only."""

    call: Infer
    include_usage: bool = False


def read_chat_request(body: bytes) -> ChatRequest:
    """The server's half.  Raises `BadCall` or `TooLarge`, never anything else."""
    fields = Fields(json_guard.decode(body))
    for name in _WITHDRAWN:
        if fields.raw.pop(name, None) is not None:
            fields.refuse(name, "is of an API that OpenAI has withdrawn; use `tools`")
    messages = fields.items("messages", MESSAGES_PER_CALL_MAX)
    if not messages:
        fields.refuse("messages", "is required and must not be empty")
    choice = read_tool_choice(fields)
    stream, include_usage = read_stream(fields)
    call = Infer(
        model=fields.need_text("model"),
        messages=tuple(read_message(raw, ("messages", at)) for at, raw in enumerate(messages)),
        tools=tuple(read_tool(raw, ("tools", at)) for at, raw in enumerate(fields.items("tools"))),
        tool_choice=choice,
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        response_format=_read_format(fields),
        output_tokens_max=read_limit(fields),
        sampling=read_sampling(fields, _read_chat_logprobs(fields)),
        hints=Hints(latency_class=read_tier(fields)),
        stream=stream,
        dialect="openai",
        extra=fields.rest(),
    )
    return ChatRequest(call, include_usage)


def _read_chat_logprobs(fields: Fields) -> tuple[bool, int | None]:
    wanted = fields.flag("logprobs") or False
    top = fields.integer("top_logprobs", 0, 20)
    if top is not None and not wanted:
        fields.refuse("top_logprobs", "needs `logprobs: true`")
    return wanted, top


def _read_format(fields: Fields) -> dict[str, object] | None:
    form = fields.mapping("response_format")
    if form is not None and not isinstance(form.get("type"), str):
        fields.refuse("response_format", "needs `type`: `text`, `json_object` or `json_schema`")
    if form and form["type"] == "json_schema" and not isinstance(form.get("json_schema"), dict):
        fields.refuse("response_format.json_schema", "is required: a name and a schema")
    return form


def read_tool_choice(fields: Fields) -> object:
    """A word, or {"name": …}; what we don't know stays in the fields, and so goes to `extra`."""
    choice = fields.raw.get("tool_choice")
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            fields.refuse("tool_choice", "must be `auto`, `none`, `required` or name a function")
        return fields.text("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"name": fields.inner("tool_choice").inner("function").need_text("name")}
    if choice is not None and not isinstance(choice, dict):
        fields.refuse("tool_choice", f"must be a string or an object, not {kind(choice)}")
    return None


def write_chat_response(completion: Completion, head: ReplyHead) -> bytes:
    """The server's half.  Deterministic: a replayed call gives the same bytes."""
    return msgspec.json.encode(
        {
            **completion.extra,
            "id": head.id(CHAT_ID),
            "object": "chat.completion",
            "created": head.created_s,
            "model": head.model,
            "choices": [_write_choice(choice) for choice in completion.choices],
            "usage": write_usage(completion.usage),
            **({"system_fingerprint": completion.fingerprint} if completion.fingerprint else {}),
            **({"service_tier": head.tier} if head.tier else {}),
            "orlop": write_facts(completion),
        }
    )


def _write_choice(choice: Choice) -> dict[str, object]:
    message = write_message(choice.message, own=True)
    message.setdefault("refusal", None)
    return {
        "index": choice.index,
        "message": message,
        "logprobs": write_logprobs(choice.logprobs),
        "finish_reason": choice.finish,
    }


def write_chat_request(
    call: Infer, model: str, *, stream: bool, limit_field: str = "max_tokens", tiers: bool = False
) -> bytes:
    """The client's half.

    limit_field: `max_tokens`, which every engine knows, or OpenAI's own `max_completion_tokens`.
    tiers: send the latency class as `service_tier`; many engines refuse words they don't know.
    Raises `BadCall` naming what of another dialect would change the answer.
    """
    call = to_openai(call)
    own = call.dialect == "openai"
    wire: dict[str, object] = dict(call.extra) if own and call.extra else {}
    wire["model"] = model
    wire["messages"] = [write_message(message, own=own) for message in call.messages]
    if call.tools:
        wire["tools"] = [write_tool(tool, own=own) for tool in call.tools]
    if isinstance(call.tool_choice, dict):
        named = {"name": call.tool_choice.get("name")}
        wire["tool_choice"] = {"type": "function", "function": named}
    elif call.tool_choice is not None:
        wire["tool_choice"] = call.tool_choice
    if call.parallel_tool_calls is not None:
        wire["parallel_tool_calls"] = call.parallel_tool_calls
    if call.response_format is not None:
        wire["response_format"] = call.response_format
    if call.sampling.logprobs:
        wire["logprobs"] = True
    if call.sampling.top_logprobs is not None:
        wire["top_logprobs"] = call.sampling.top_logprobs
    return write_rest(call, wire, stream=stream, limit_field=limit_field, tiers=tiers)


def read_chat_response(body: bytes, engine: str = "the engine") -> Generated:
    """The client's half, of the old completions too.

    Raises `DeviceFailed` where it is not what the dialect promises.
    """
    try:
        return _read_chat_response(Fields(json_guard.decode(body)))
    except BadCall as error:
        raise DeviceFailed(f"{engine}'s answer can't be read: {error.message}") from error


def _read_chat_response(fields: Fields) -> Generated:
    choices = fields.items("choices", CHOICES_MAX)
    if not choices:
        fields.refuse("choices", "is required and must not be empty")
    return finish_reading(
        fields, tuple(_read_choice(raw, ("choices", at), at) for at, raw in enumerate(choices))
    )


def finish_reading(fields: Fields, choices: tuple[Choice, ...]) -> Generated:
    """All of an engine's reply but its choices."""
    usage = read_usage(fields.raw.pop("usage", None), "usage")
    model = fields.text("model")
    fingerprint = fields.text("system_fingerprint")
    extra = {name: held for name, held in fields.rest().items() if name not in _BODY_FIELDS}
    # llama.cpp says how long it took; where another engine says something else, it is not ours.
    timings = extra.get("timings")
    spans = Fields(dict(timings) if isinstance(timings, dict) else {}, "timings")
    return Generated(
        choices=choices,
        usage=usage,
        model=model,
        fingerprint=fingerprint,
        extra=extra,
        prefill_s=(spans.number("prompt_ms", 0.0, 1e12) or 0.0) / 1e3,
        decode_s=(spans.number("predicted_ms", 0.0, 1e12) or 0.0) / 1e3,
    )


def _read_choice(raw: object, where: Where, at: int) -> Choice:
    fields = Fields(raw, where)
    index = fields.integer("index", 0, CHOICES_MAX)
    stop = fields.raw.get("stop_reason")
    if "text" in fields.raw:  # As the old completions have it.
        message = Message(role="assistant", content=fields.text("text"))
    else:
        message = read_answer(fields.raw.get("message"), (where, "message"))
    return Choice(
        message=message,
        finish=read_finish(fields.text("finish_reason", "stop")),
        index=at if index is None else index,
        logprobs=read_logprobs(fields.raw.get("logprobs"), (where, "logprobs")),
        stop=stop if isinstance(stop, str) else "",
    )
