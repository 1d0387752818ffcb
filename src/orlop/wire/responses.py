"""OpenAI's Responses dialect without I/O, the server's half.  Streams are in `responses_stream`.

A response is a call and its answer; all that it says follows from those two, so that a stored one
is read back from the journal.  No engine is spoken to in this dialect (`portable` translates).
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import BadCall, KernelError, NotFound
from orlop.abi.hints import Hints
from orlop.abi.ids import CallId
from orlop.abi.limits import MESSAGES_PER_CALL_MAX, TOKEN_MAX
from orlop.abi.messages import Message
from orlop.abi.replies import Choice, Completion, FinishReason
from orlop.wire import json_guard
from orlop.wire.json_fields import TEXT_OR_ARRAY, Fields
from orlop.wire.openai_terms import ReplyHead, head_of, read_tier, write_facts
from orlop.wire.responses_items import read_items, write_input, write_turn
from orlop.wire.responses_parts import Item
from orlop.wire.responses_terms import (
    read_choice,
    read_format,
    read_tool,
    write_choice,
    write_text,
    write_tool,
    write_usage,
)

RESPONSE_ID: Final = "resp_"
_UNSERVED: Final = (
    "background",
    "conversation",
    "prompt",
    "context_management",
    "moderation",
    "access_programs",
)
_LOGPROBS: Final = "message.output_text.logprobs"
_CUT: Final[Mapping[FinishReason, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
_ECHOED: Final = ("prompt_cache_key", "safety_identifier", "user")


class ResponsesRequest(Struct, frozen=True):
    """A call with its own input only; `previous` is the call whose conversation it goes on with."""

    call: Infer
    previous: str | None = None
    """The id of a response, as the caller has it."""


def read_responses_request(body: bytes) -> ResponsesRequest:
    """Raises `BadCall` or `TooLarge`, never anything else."""
    fields = Fields(json_guard.decode(body))
    for name in _UNSERVED:
        if fields.raw.pop(name, None):
            fields.refuse(name, "is not offered by this kernel (`docs/dialects.md`)")
    extra: dict[str, object] = {}
    messages = _read_input(fields, extra)
    previous = fields.text("previous_response_id")
    if previous:
        extra["previous_response_id"] = previous
    if fields.flag("store") is False:
        extra["store"] = False
    _check_truncation(fields)
    tools = fields.items("tools")
    call = Infer(
        model=fields.need_text("model"),
        messages=messages,
        tools=tuple(read_tool(raw, ("tools", at)) for at, raw in enumerate(tools)),
        tool_choice=read_choice(fields),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        response_format=read_format(fields),
        output_tokens_max=fields.integer("max_output_tokens", 1, TOKEN_MAX),
        sampling=_read_sampling(fields),
        hints=Hints(latency_class=read_tier(fields)),
        stream=_read_stream(fields),
        dialect="responses",
        extra=_read_extra(fields) | extra,
    )
    return ResponsesRequest(call, previous or None)


def call_of(response: str) -> CallId:
    """The call whose answer a response is.  Raises `NotFound` for ids that are not ours."""
    if not response.startswith(RESPONSE_ID):
        raise NotFound(f"there is no response {response[:80]!r}; ids begin with {RESPONSE_ID}")
    return CallId("cal_" + response.removeprefix(RESPONSE_ID))


def continued(call: Infer, earlier: Infer, answer: Completion) -> Infer:
    """`call` with the conversation of an earlier response, and its answer, before its own input.

    As in OpenAI's API, the earlier instructions do not carry over.
    """
    check_kept(earlier, str(call.extra.get("previous_response_id")))
    own, rest = _parted(call)
    said = answer.choices[0].message if answer.choices else Message("assistant")
    messages = (*own, *_parted(earlier)[1], said, *rest)
    if len(messages) > MESSAGES_PER_CALL_MAX:
        raise BadCall(f"the conversation has more than {MESSAGES_PER_CALL_MAX} messages")
    return replace(call, messages=messages)


def check_kept(call: Infer, response: str) -> None:
    """Raises `NotFound` where the call is no response, or its maker asked not to store it."""
    if call.dialect != "responses" or call.extra.get("store") is False:
        raise NotFound(f"there is no stored response {response[:80]!r}")


def head_of_answer(call: Infer, answer: Completion) -> ReplyHead:
    """Of a response that is read back."""
    return head_of(answer.facts.call, call.model, call.hints.latency_class)


def write_response(call: Infer, completion: Completion, head: ReplyHead) -> bytes:
    """The `response` object.  Deterministic: a replayed call gives the same bytes."""
    return msgspec.json.encode(finished(call, completion, head))


def finished(
    call: Infer, completion: Completion, head: ReplyHead, output: list[Item] | None = None
) -> Item:
    """output: the items as they were streamed; else they follow from the completion."""
    choice = completion.choices[0] if completion.choices else Choice(Message("assistant"))
    reason = _CUT.get(choice.finish)
    return begun(call, head) | {
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": write_turn(choice, head.id("")) if output is None else output,
        "usage": write_usage(completion.usage),
        "orlop": write_facts(completion),
    }


def failed(call: Infer, error: KernelError, head: ReplyHead, output: list[Item]) -> Item:
    code = "server_error" if error.http_status >= 500 else "invalid_prompt"
    if error.http_status == 429:
        code = "rate_limit_exceeded"
    held = {"code": code, "message": f"{error.message} ({error.code})"}
    return begun(call, head) | {"status": "failed", "error": held, "output": output}


def begun(call: Infer, head: ReplyHead) -> Item:
    """A response of which nothing has been said; what the caller asked for is told back."""
    extra, sampling = call.extra, call.sampling
    instructions, _ = _parted(call)
    return {
        "id": head.id(RESPONSE_ID),
        "object": "response",
        "created_at": head.created_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": instructions[0].text() if instructions else None,
        "max_output_tokens": call.output_tokens_max,
        "metadata": extra.get("metadata", {}),
        "model": head.model,
        "output": [],
        "parallel_tool_calls": call.parallel_tool_calls is not False,
        "previous_response_id": extra.get("previous_response_id"),
        "reasoning": extra.get("reasoning", {"effort": None, "summary": None}),
        "service_tier": head.tier or None,
        "store": extra.get("store", True),
        "temperature": sampling.temperature,
        "text": write_text(call),
        "tool_choice": write_choice(call.tool_choice),
        "tools": [write_tool(tool) for tool in call.tools],
        "top_logprobs": sampling.top_logprobs or 0,
        "top_p": sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        **{name: extra[name] for name in _ECHOED if name in extra},
    }


def input_items(call: Infer, head: ReplyHead) -> list[Item]:
    """All that the model was shown but the instructions, oldest first."""
    return write_input(_parted(call)[1], head.id(""))


def _parted(call: Infer) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The instructions, and the rest."""
    size = 1 if call.extra.get("instructions") else 0
    return call.messages[:size], call.messages[size:]


def _read_input(fields: Fields, extra: dict[str, object]) -> tuple[Message, ...]:
    """`instructions` are the first message, and `extra` marks that they are there."""
    instructions: tuple[Message, ...] = ()
    if text := fields.text("instructions"):
        instructions = (Message("system", text),)
        extra["instructions"] = True
    if isinstance(fields.raw.get("input"), str):
        return (*instructions, Message("user", fields.text("input")))
    items = fields.items("input", MESSAGES_PER_CALL_MAX, wanted=TEXT_OR_ARRAY)
    if not items:
        fields.refuse("input", "is required and must not be empty")
    return instructions + read_items(items, "input")


def _read_sampling(fields: Fields) -> Sampling:
    include = fields.texts("include", 64)
    top = fields.integer("top_logprobs", 0, 20)
    return Sampling(
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        logprobs=_LOGPROBS in include or bool(top),
        top_logprobs=top or None,
    )


def _read_stream(fields: Fields) -> bool:
    fields.mapping("stream_options")
    return fields.flag("stream") or False


def _read_extra(fields: Fields) -> dict[str, object]:
    for name in ("metadata", "reasoning"):
        value = fields.mapping(name)
        if value:
            fields.raw[name] = value
    fields.raw.pop("max_tool_calls", None)  # Counts calls of hosted tools; there are none.
    return fields.rest()


def _check_truncation(fields: Fields) -> None:
    if fields.text("truncation", "disabled") != "disabled":
        fields.refuse("truncation", "must be `disabled`: this kernel leaves no message out unasked")
