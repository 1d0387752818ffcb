"""OpenAI's small words, both ways: service tiers, finish reasons, usage, logprobs."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from orlop.abi.hints import LatencyClass, Usage
from orlop.abi.ids import CallId, minted_s
from orlop.abi.messages import TokenLogprob
from orlop.abi.replies import Completion, FinishReason
from orlop.wire.json_fields import Fields, Where

TIER_CLASS: Final[Mapping[str, LatencyClass | None]] = {
    "": None,
    "auto": None,
    "default": "standard",
    "scale": "standard",
    "flex": "batch",
    "priority": "interactive",
    "fast": "interactive",
}
CLASS_TIER: Final[Mapping[LatencyClass | None, str]] = {
    None: "",
    "standard": "default",
    "batch": "flex",
    "interactive": "priority",
}

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class ReplyHead(Struct, frozen=True, kw_only=True):
    """What every body and chunk of one reply begins with; known before the first token.

    model: as the caller asked for it; the engine's own name is in the field `orlop`.
    tier: OpenAI's word for the latency class that the caller asked for, or empty.
    """

    call: CallId
    created_s: int
    model: str
    tier: str = ""

    def id(self, prefix: str) -> str:
        return prefix + self.call.removeprefix("cal_")


def head_of(call: CallId, model: str, latency_class: LatencyClass | None) -> ReplyHead:
    """The head of a reply to `call`, created when its id was minted."""
    return ReplyHead(
        call=call, created_s=minted_s(call), model=model, tier=CLASS_TIER[latency_class]
    )


def read_tier(fields: Fields) -> LatencyClass | None:
    """`service_tier` as a latency class; None is the process's own."""
    tier = fields.text("service_tier")
    if tier not in TIER_CLASS:
        fields.refuse("service_tier", f"must be one of {', '.join(filter(None, TIER_CLASS))}")
    return TIER_CLASS[tier]


def read_finish(reason: str) -> FinishReason:
    """Engines invent reasons (`eos`, `end_turn`); each of those means that it had said all."""
    return _FINISH.get(reason, "stop")


def read_usage(raw: object, where: Where) -> Usage:
    """Null and absent counts are 0."""
    if raw is None:
        return Usage()
    fields = Fields(raw, where)
    before = Fields(fields.mapping("prompt_tokens_details") or {}, (where, "prompt_tokens_details"))
    after = fields.mapping("completion_tokens_details") or {}
    return Usage(
        input_tokens=fields.integer("prompt_tokens", 0) or 0,
        cached_tokens=before.integer("cached_tokens", 0) or 0,
        output_tokens=fields.integer("completion_tokens", 0) or 0,
        reasoning_tokens=Fields(after, (where, "completion_tokens_details")).integer(
            "reasoning_tokens", 0
        )
        or 0,
    )


def write_usage(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def add_usage(parts: Sequence[Usage]) -> Usage:
    """Of several calls that answer one body."""
    return Usage(
        input_tokens=sum(part.input_tokens for part in parts),
        cached_tokens=sum(part.cached_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        reasoning_tokens=sum(part.reasoning_tokens for part in parts),
    )


def read_logprobs(raw: object, where: Where) -> tuple[TokenLogprob, ...]:
    """Of the chat API: {"content": [{token, logprob, bytes, top_logprobs}]}, or the old columns."""
    if raw is None:
        return ()
    fields = Fields(raw, where)
    if "tokens" in fields.raw:
        return _read_columns(fields)
    entries = fields.items("content")
    inside = (where, "content")
    return tuple(_read_logprob(entry, (inside, at)) for at, entry in enumerate(entries))


def _read_logprob(raw: object, where: Where) -> TokenLogprob:
    fields = Fields(raw, where)
    data = fields.raw.get("bytes")
    numbers = None
    if data is not None:
        numbers = tuple(value for value in fields.items("bytes") if type(value) is int)
    tops = fields.items("top_logprobs")
    return TokenLogprob(
        token=fields.text("token"),
        logprob=fields.number("logprob", float("-inf"), float("inf")) or 0.0,
        bytes=numbers,
        top=tuple(_read_logprob(top, ((where, "top_logprobs"), at)) for at, top in enumerate(tops)),
    )


def _read_columns(fields: Fields) -> tuple[TokenLogprob, ...]:
    """Of the old completions: `tokens`, `token_logprobs` and `top_logprobs`, one entry a token."""
    tokens = fields.items("tokens")
    values = fields.items("token_logprobs")
    tops = fields.items("top_logprobs") or [None] * len(tokens)
    if not len(tokens) == len(values) == len(tops):
        fields.refuse("tokens", "is not as long as `token_logprobs` and `top_logprobs`")
    return tuple(
        TokenLogprob(token=str(token), logprob=_number(value), top=_read_tops(top))
        for token, value, top in zip(tokens, values, tops, strict=True)
    )


def _read_tops(raw: object) -> tuple[TokenLogprob, ...]:
    if not isinstance(raw, dict):
        return ()
    return tuple(TokenLogprob(token=token, logprob=_number(value)) for token, value in raw.items())


def _number(value: object) -> float:
    """The first token of an echoed prompt has null."""
    return float(value) if type(value) is float or type(value) is int else 0.0


def write_columns(logprobs: Sequence[TokenLogprob], offset: int) -> dict[str, object] | None:
    """As the old completions have them.  offset: characters of text before the first token."""
    if not logprobs:
        return None
    offsets = []
    for entry in logprobs:
        offsets.append(offset)
        offset += len(entry.token)
    return {
        "tokens": [entry.token for entry in logprobs],
        "token_logprobs": [entry.logprob for entry in logprobs],
        "top_logprobs": [{top.token: top.logprob for top in entry.top} for entry in logprobs],
        "text_offset": offsets,
    }


def write_logprobs(logprobs: Sequence[TokenLogprob]) -> dict[str, object] | None:
    if not logprobs:
        return None
    return {"content": [_write_logprob(entry) for entry in logprobs], "refusal": None}


def _write_logprob(entry: TokenLogprob) -> dict[str, object]:
    return {
        "token": entry.token,
        "logprob": entry.logprob,
        "bytes": entry.bytes,
        "top_logprobs": [
            {"token": top.token, "logprob": top.logprob, "bytes": top.bytes} for top in entry.top
        ],
    }


def write_facts(completion: Completion) -> dict[str, object]:
    """The field `orlop` of a reply.  What a replay may not know, such as times, is in headers."""
    facts = completion.facts
    told: dict[str, object] = {
        "call": facts.call,
        "seq": facts.seq,
        "engine": facts.engine,
        "model": completion.model or facts.model,
    }
    if facts.form:  # Of a model that comes in several.
        told["form"] = facts.form
    return told
