"""What OpenAI's chat and its old completions say alike about sampling and streaming, both ways."""

from typing import Final

import msgspec

from orlop.abi.calls import Infer, Sampling
from orlop.abi.limits import CHOICES_MAX, STOP_SEQUENCES_MAX, TOKEN_MAX
from orlop.wire.json_fields import Fields
from orlop.wire.openai_terms import CLASS_TIER

_PLAIN: Final = Sampling()


def read_stream(fields: Fields) -> tuple[bool, bool]:
    """`stream`, and `stream_options.include_usage`."""
    stream = fields.flag("stream") or False
    options = fields.mapping("stream_options")
    if options is None:
        return stream, False
    return stream, Fields(options, "stream_options").flag("include_usage") or False


def read_limit(fields: Fields) -> int | None:
    new = fields.integer("max_completion_tokens", 1, TOKEN_MAX)
    old = fields.integer("max_tokens", 1, TOKEN_MAX)
    if new is not None and old is not None and new != old:
        fields.refuse("max_tokens", "differs from `max_completion_tokens`; give one of them")
    return old if new is None else new


def read_sampling(fields: Fields, logprobs: tuple[bool, int | None]) -> Sampling:
    n = fields.integer("n", 1, CHOICES_MAX)
    bias = fields.mapping("logit_bias")
    return Sampling(
        temperature=fields.number("temperature", 0.0, 100.0),
        top_p=fields.number("top_p", 0.0, 1.0),
        seed=fields.integer("seed"),
        stop=fields.texts("stop", STOP_SEQUENCES_MAX),
        n=1 if n is None else n,
        presence_penalty=fields.number("presence_penalty", -100.0, 100.0),
        frequency_penalty=fields.number("frequency_penalty", -100.0, 100.0),
        logit_bias={} if bias is None else _read_bias(bias),
        logprobs=logprobs[0],
        top_logprobs=logprobs[1],
    )


def _read_bias(bias: dict[str, object]) -> dict[str, float]:
    fields = Fields(bias, "logit_bias")
    return {token: fields.number(token, -100.0, 100.0) or 0.0 for token in tuple(bias)}


def write_rest(
    call: Infer, wire: dict[str, object], *, stream: bool, limit_field: str, tiers: bool
) -> bytes:
    """What chat and the old completions have in common."""
    if call.output_tokens_max is not None:
        wire[limit_field] = call.output_tokens_max
    if tiers and call.hints.latency_class is not None:
        wire["service_tier"] = CLASS_TIER[call.hints.latency_class]
    if stream:
        wire["stream"] = True
        wire["stream_options"] = {"include_usage": True}
    if call.sampling != _PLAIN:
        write_sampling(call.sampling, wire)
    return msgspec.json.encode(wire)


def write_sampling(sampling: Sampling, wire: dict[str, object]) -> None:
    """All but the logprobs, which chat and the old completions write differently."""
    for name, value in (
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("seed", sampling.seed),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ):
        if value is not None:
            wire[name] = value
    if sampling.stop:
        wire["stop"] = sampling.stop
    if sampling.n != 1:
        wire["n"] = sampling.n
    if sampling.logit_bias:
        wire["logit_bias"] = sampling.logit_bias
