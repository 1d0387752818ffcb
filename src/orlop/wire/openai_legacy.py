"""OpenAI's old `/v1/completions`, without I/O.

Its replies are read as chat's are, by `openai` and `openai_stream`.

One body may hold many prompts.  Each becomes a call of its own, so that each is recorded,
scheduled and paid for by itself; their choices are numbered on through the one reply.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.calls import Infer
from orlop.abi.errors import KernelError
from orlop.abi.hints import Hints, Usage
from orlop.abi.limits import PROMPTS_PER_COMPLETION_MAX
from orlop.abi.replies import Choice, Completion, Delta
from orlop.wire import json_guard, problem, sse
from orlop.wire.json_fields import Fields
from orlop.wire.openai_sampling import read_limit, read_sampling, read_stream, write_rest
from orlop.wire.openai_stream import DONE
from orlop.wire.openai_terms import (
    ReplyHead,
    add_usage,
    read_tier,
    write_columns,
    write_facts,
    write_usage,
)

TEXT_ID: Final = "cmpl-"
_Prompt = str | tuple[int, ...]


class TextRequest(Struct, frozen=True):
    """One call a prompt, and what is a matter of the transport only."""

    calls: tuple[Infer, ...]
    include_usage: bool = False


def read_text_request(body: bytes) -> TextRequest:
    """The server's half.  Raises `BadCall` or `TooLarge`, never anything else."""
    fields = Fields(json_guard.decode(body))
    prompts = _read_prompts(fields)
    stream, include_usage = read_stream(fields)
    logprobs = fields.integer("logprobs", 0, 20)
    call = Infer(
        model=fields.need_text("model"),
        prompt=prompts[0],
        suffix=fields.text("suffix"),
        echo=fields.flag("echo") or False,
        output_tokens_max=read_limit(fields),
        sampling=read_sampling(fields, (logprobs is not None, logprobs)),
        hints=Hints(latency_class=read_tier(fields)),
        stream=stream,
        dialect="openai",
        extra=fields.rest(),
    )
    calls = tuple(msgspec.structs.replace(call, prompt=prompt) for prompt in prompts)
    return TextRequest(calls, include_usage)


def _read_prompts(fields: Fields) -> tuple[_Prompt, ...]:
    """Text, texts, token ids, or several lists of token ids."""
    raw = fields.raw.get("prompt")
    if raw is None or raw == []:
        fields.refuse("prompt", "is required and must not be empty")
    if isinstance(raw, list) and isinstance(raw[0], int):
        return (_read_tokens(fields, fields.items("prompt")),)
    if isinstance(raw, list) and isinstance(raw[0], list):
        lists = fields.items("prompt", PROMPTS_PER_COMPLETION_MAX)
        return tuple(_read_tokens(fields, held) for held in lists)
    return fields.texts("prompt", PROMPTS_PER_COMPLETION_MAX)


def _read_tokens(fields: Fields, raw: object) -> tuple[int, ...]:
    if isinstance(raw, list) and raw:
        tokens = tuple(token for token in raw if type(token) is int and 0 <= token < 2**31)
        if len(tokens) == len(raw):
            return tokens
    fields.refuse("prompt", "must be text, or token ids from 0 on, and not a mixture")


def write_text_response(completions: Sequence[Completion], head: ReplyHead) -> bytes:
    """completions: one a prompt, in order."""
    return msgspec.json.encode(
        {
            **completions[0].extra,
            **_top(head),
            "choices": [
                _write_choice(choice, first + choice.index)
                for first, completion in _numbered(completions)
                for choice in completion.choices
            ],
            "usage": write_usage(_usage(completions)),
            **_fingerprint(completions),
            "orlop": write_facts(completions[0]),
        }
    )


def _top(head: ReplyHead) -> dict[str, object]:
    top: dict[str, object] = {
        "id": head.id(TEXT_ID),
        "object": "text_completion",
        "created": head.created_s,
        "model": head.model,
    }
    if head.tier:
        top["service_tier"] = head.tier
    return top


def _fingerprint(completions: Sequence[Completion]) -> dict[str, object]:
    held = completions[0].fingerprint
    return {"system_fingerprint": held} if held else {}


def _usage(completions: Sequence[Completion]) -> Usage:
    return add_usage([completion.usage for completion in completions])


def _numbered(completions: Sequence[Completion]) -> list[tuple[int, Completion]]:
    """Each with the number of its first choice; every prompt has as many choices."""
    return [(at * len(held.choices), held) for at, held in enumerate(completions)]


def _write_choice(choice: Choice, index: int) -> dict[str, object]:
    return {
        "text": choice.message.text(),
        "index": index,
        "logprobs": write_columns(choice.logprobs, 0),
        "finish_reason": _finish(choice),
    }


def _finish(choice: Choice) -> str:
    return "stop" if choice.finish == "tool_calls" else choice.finish


class TextStream:
    """The server's half: replies of one call a prompt in, bytes of server-sent events out.

    n: choices a prompt.
    """

    def __init__(self, head: ReplyHead, *, n: int, include_usage: bool) -> None:
        self._top = _top(head)
        if include_usage:
            self._top["usage"] = None
        self._include_usage = include_usage
        self._n = n
        self._lengths: dict[int, int] = {}

    def delta(self, prompt: int, delta: Delta) -> bytes:
        index = prompt * self._n + delta.choice
        offset = self._lengths.get(index, 0)
        self._lengths[index] = offset + len(delta.text)
        return self._chunk(delta.text, index, write_columns(delta.logprobs, offset), None)

    def done(self, completions: Sequence[Completion]) -> bytes:
        """completions: of all prompts, in order."""
        chunks = []
        for first, completion in _numbered(completions):
            for choice in completion.choices:
                index = first + choice.index
                if index not in self._lengths:
                    logprobs = write_columns(choice.logprobs, 0)
                    chunks.append(self._chunk(choice.message.text(), index, logprobs, None))
                chunks.append(self._chunk("", index, None, _finish(choice)))
        if self._include_usage:
            tail = self._top | {"choices": [], "usage": write_usage(_usage(completions))}
            tail |= _fingerprint(completions) | {"orlop": write_facts(completions[0])}
            chunks.append(sse.write(msgspec.json.encode(tail)))
        return b"".join((*chunks, DONE))

    def error(self, error: KernelError) -> bytes:
        return sse.write(problem.openai_body(error))

    def _chunk(self, text: str, index: int, logprobs: object, finish: str | None) -> bytes:
        choice = {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}
        return sse.write(msgspec.json.encode({**self._top, "choices": [choice]}))


def write_text_request(
    call: Infer, model: str, *, stream: bool, limit_field: str = "max_tokens", tiers: bool = False
) -> bytes:
    """The client's half."""
    own = call.dialect == "openai"
    wire: dict[str, object] = dict(call.extra) if own and call.extra else {}
    wire["model"] = model
    wire["prompt"] = call.prompt
    if call.suffix:
        wire["suffix"] = call.suffix
    if call.echo:
        wire["echo"] = True
    if call.sampling.logprobs:
        wire["logprobs"] = call.sampling.top_logprobs or 0
    return write_rest(call, wire, stream=stream, limit_field=limit_field, tiers=tiers)
