"""Anthropic's Messages dialect: a call and its answer, both halves (API version 2023-06-01)."""

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import BadCall, DeviceFailed
from orlop.abi.hints import Hints
from orlop.abi.limits import MESSAGES_PER_CALL_MAX, STOP_SEQUENCES_MAX, TOKEN_MAX
from orlop.abi.messages import Message
from orlop.abi.replies import Choice, Completion, Generated
from orlop.wire import json_guard
from orlop.wire.anthropic_parts import is_sayable
from orlop.wire.anthropic_terms import (
    read_choice,
    read_finish,
    read_format,
    read_tier,
    read_tool,
    read_usage,
    stop_of,
    write_choice,
    write_format,
    write_tool,
    write_usage,
)
from orlop.wire.anthropic_turns import read_content, read_messages, write_blocks, write_turns
from orlop.wire.json_fields import Fields
from orlop.wire.openai_terms import ReplyHead, write_facts
from orlop.wire.portable import without_extras


def read_messages_request(body: bytes) -> Infer:
    """The server's half.  Raises `BadCall` or `TooLarge`, never anything else."""
    fields = Fields(json_guard.decode(body))
    model = fields.need_text("model")
    limit = fields.integer("max_tokens", 1, TOKEN_MAX)
    if limit is None:
        fields.refuse("max_tokens", "is required")
    messages = _read_conversation(fields)
    tools = fields.items("tools")
    choice, parallel = read_choice(fields)
    return Infer(
        model=model,
        messages=messages,
        tools=tuple(read_tool(tool, ("tools", at)) for at, tool in enumerate(tools)),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=read_format(fields),
        output_tokens_max=limit,
        sampling=Sampling(
            temperature=fields.number("temperature", 0, 1),
            top_p=fields.number("top_p", 0, 1),
            stop=fields.texts("stop_sequences", STOP_SEQUENCES_MAX),
        ),
        stream=bool(fields.flag("stream")),
        hints=Hints(latency_class=read_tier(fields)),
        dialect="anthropic",
        extra=fields.rest(),
    )


def write_messages_response(completion: Completion, head: ReplyHead) -> bytes:
    """The server's half.  Deterministic: a replayed call gives the same bytes."""
    choice = first(completion)
    reason, stop = stop_of(choice)
    return msgspec.json.encode(
        start_of(head)
        | {
            "content": write_blocks(_sayable(choice.message)),
            "stop_reason": reason,
            "stop_sequence": stop,
            "usage": write_usage(completion.usage),
            "orlop": write_facts(completion),
        }
    )


def _sayable(message: Message) -> Message:
    """Without parts that other engines put into an answer and this dialect has no word for."""
    if not isinstance(message.content, tuple):
        return message
    return replace(message, content=tuple(filter(is_sayable, message.content)))


def start_of(head: ReplyHead) -> dict[str, object]:
    """A message of which nothing has been said."""
    return {
        "id": head.id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def first(completion: Completion) -> Choice:
    """The dialect has one answer a call; an engine that gave none said nothing."""
    return completion.choices[0] if completion.choices else Choice(Message("assistant"))


def write_messages_request(
    call: Infer, model: str, *, stream: bool, output_tokens_max: int
) -> bytes:
    """The client's half.  Raises `BadCall` naming what Anthropic's dialect can't say.

    output_tokens_max: the card's, where the call has none, since the dialect requires one.
    """
    if call.dialect != "anthropic":
        call = without_extras(call)
    _check_sayable(call)
    body: dict[str, object] = {
        **call.extra,
        "model": model,
        "max_tokens": call.output_tokens_max or output_tokens_max,
    }
    body |= _write_conversation(call)
    sampling = call.sampling
    optional: dict[str, object] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_sequences": list(sampling.stop) or None,
        "tools": [write_tool(tool) for tool in call.tools] or None,
        "tool_choice": write_choice(call),
        "stream": stream or None,
        "service_tier": "standard_only" if call.hints.latency_class == "standard" else None,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    if call.response_format is not None and call.response_format.get("type") != "text":
        config = body.get("output_config")
        body["output_config"] = (config if isinstance(config, dict) else {}) | {
            "format": write_format(call.response_format)
        }
    return msgspec.json.encode(body)


def read_messages_response(body: bytes, engine: str = "the engine") -> Generated:
    """The client's half.  Raises `DeviceFailed` where it is not what the dialect promises."""
    try:
        raw = json_guard.decode(body)
        if "content" not in raw:
            Fields(raw).refuse("content", "is required")
        return finish_reading(raw)
    except BadCall as error:
        raise DeviceFailed(f"{engine}'s answer can't be read: {error.message}") from error


def finish_reading(raw: dict[str, object]) -> Generated:
    """What an engine's `message` object says, whether it came at once or in pieces."""
    fields = Fields(raw)
    message = read_messages({"role": "assistant", "content": fields.items("content")}, "")[0]
    reason, stop = fields.text("stop_reason"), fields.text("stop_sequence")
    choice = Choice(message, read_finish(reason), stop=stop)
    usage = read_usage(fields.mapping("usage") or {})
    return Generated(choices=(choice,), usage=usage, model=fields.text("model"))


def _read_conversation(fields: Fields) -> tuple[Message, ...]:
    turns = fields.items("messages", MESSAGES_PER_CALL_MAX)
    if not turns:
        fields.refuse("messages", "is required and must not be empty")
    messages: list[Message] = []
    if isinstance(fields.raw.get("system"), list):
        messages.append(Message("system", read_content(fields.items("system"), "system")))
    elif text := fields.text("system"):
        messages.append(Message("system", text))
    for at, turn in enumerate(turns):
        messages.extend(read_messages(turn, ("messages", at)))
    if len(messages) > MESSAGES_PER_CALL_MAX:
        fields.refuse("messages", f"hold more than {MESSAGES_PER_CALL_MAX} turns and tool results")
    return tuple(messages)


def _write_conversation(call: Infer) -> dict[str, object]:
    messages = call.messages
    if not messages or messages[0].role not in ("system", "developer"):
        return {"messages": write_turns(messages)}
    (turn, *turns) = write_turns(messages)
    return {"system": turn["content"], "messages": turns}


def _check_sayable(call: Infer) -> None:
    sampling = call.sampling
    unsayable = {
        "prompt": call.prompt is not None,
        "n": sampling.n != 1,
        "seed": sampling.seed is not None,
        "presence_penalty": bool(sampling.presence_penalty),
        "frequency_penalty": bool(sampling.frequency_penalty),
        "logit_bias": bool(sampling.logit_bias),
        "logprobs": sampling.logprobs,
    }
    for name, is_used in unsayable.items():
        if is_used:
            raise BadCall(f"`{name}`: an engine of Anthropic's dialect has no such thing")
