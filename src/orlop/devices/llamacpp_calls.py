"""Calls as llama.cpp wants them, and its answers as callers want them.  Pure functions.

1. Every call is streamed and asks for progress, since llama.cpp notices a caller that left only
   when it writes to it: so a cancelled call frees its slot within a piece of the prompt.
2. Several choices are asked for one by one: llama.cpp counts the tokens of one choice only.
3. What it would ignore in silence (tools that the model's template can't show, images) is refused.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceRefused
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName
from orlop.abi.messages import Message, Text, TokenLogprob
from orlop.abi.replies import Choice, Delta, Generated
from orlop.devices.device import Sink
from orlop.wire.portable import to_openai

_OWN_FIELDS: Final = ("timings", "prompt_progress")


class _Defaults(Struct, frozen=True):
    n_ctx: int = 0


class Props(Struct, frozen=True):
    """What a host says of its model, as far as it matters here."""

    default_generation_settings: _Defaults = _Defaults()
    chat_template: str = ""
    modalities: dict[str, bool] = {}
    chat_template_caps: dict[str, bool] = {}


def asked(call: Infer, props: Props, name: EngineName) -> Infer:
    """`call` in the host's words.  Raises `DeviceRefused` for what it would ignore."""
    if call.suffix or call.echo:
        raise DeviceRefused(f"{name} knows neither `suffix` nor `echo`: leave them out")
    forced = call.tool_choice not in (None, "auto", "none")
    if call.tools and forced and not props.chat_template_caps.get("supports_tools"):
        raise DeviceRefused(
            f"{name} can't be made to call a tool: its model's chat template shows none; "
            "use `tool_choice: auto` or a JSON schema as `response_format`, or another model"
        )
    for message in call.messages:
        _refuse_parts(message, props, name)
    # The host tells alternatives only where it is asked for one at least.
    top = max(call.sampling.top_logprobs or 0, 1) if call.sampling.logprobs else None
    own = to_openai(call)
    return replace(
        own,
        dialect="openai",
        extra={**own.extra, "return_progress": True},
        sampling=replace(call.sampling, n=1, top_logprobs=top),
    )


def _refuse_parts(message: Message, props: Props, name: EngineName) -> None:
    known = {"Image": "vision", "Audio": "audio"}
    for part in message.content if isinstance(message.content, tuple) else ():
        kind = type(part).__name__
        if not isinstance(part, Text) and not props.modalities.get(known.get(kind, "")):
            raise DeviceRefused(f"{name}'s model takes text only, and no part of kind {kind}")


def one_choice(asked: Infer, index: int) -> Infer:
    """A seed gives each choice a seed of its own, else all would be one."""
    seed = asked.sampling.seed
    if seed is None or not index:
        return asked
    return replace(asked, sampling=replace(asked.sampling, seed=seed + index))


def passing(call: Infer, sink: Sink | None, index: int) -> Sink:
    if sink is None:
        return _ignore
    own = _logprobs(call)
    if not index and own is _as_they_are:
        return sink

    def pass_on(delta: Delta) -> None:
        sink(replace(delta, choice=index, logprobs=own(delta.logprobs)))

    return pass_on


def _ignore(delta: Delta) -> None:
    """Nobody reads along."""


Trim = Callable[[tuple[TokenLogprob, ...]], tuple[TokenLogprob, ...]]


def _logprobs(call: Infer) -> Trim:
    """Alternatives that nobody asked for are left out."""
    wants_none = call.sampling.logprobs and not call.sampling.top_logprobs
    return _without_top if wants_none else _as_they_are


def _as_they_are(logprobs: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
    return logprobs


def _without_top(logprobs: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
    return tuple(replace(logprob, top=()) for logprob in logprobs)


def together(call: Infer, answers: Sequence[Generated]) -> Generated:
    """The choices of several answers to one prompt, which is paid once."""
    own = _logprobs(call)
    first = answers[0]
    choices = tuple(
        replace(answer.choices[0], index=index, logprobs=own(answer.choices[0].logprobs))
        for index, answer in enumerate(answers)
    )
    return replace(
        first,
        choices=choices,
        usage=replace(
            first.usage, output_tokens=sum(answer.usage.output_tokens for answer in answers)
        ),
        decode_s=sum(answer.decode_s for answer in answers),
        extra={name: held for name, held in first.extra.items() if name not in _OWN_FIELDS},
    )


_STATEFUL: Final = frozenset(("grammar", "json_schema", "mirostat", "samplers"))
"""llama.cpp's own fields whose effect depends on the answer so far in a way that tokens don't tell.
"""


def goes_on(asked: Infer) -> bool:
    """Whether its answer, cut at a token, goes on as if never cut, given as one long prompt.

    Not where the host reads the answer (tools, a grammar), tells chances beside it, or draws by a
    seed, whose place in its sequence is lost.
    """
    sampling = asked.sampling
    kind = (asked.response_format or {}).get("type", "text")
    is_drawn = sampling.seed is not None and sampling.temperature != 0
    return (
        sampling.n == 1
        and not asked.tools
        and all(_is_text(message) for message in asked.messages)
        and kind == "text"
        and not sampling.logprobs
        and not is_drawn
        and _STATEFUL.isdisjoint(asked.extra)
    )


def _is_text(message: Message) -> bool:
    """What else there is, a prompt of token ids does not hold."""
    parts = message.content if isinstance(message.content, tuple) else ()
    return all(isinstance(part, Text) for part in parts)


def joined(before: str, made: Generated | None, prompt: int, tokens: int) -> Generated:
    """An answer in two parts, as one; the second is None where the first was all there may be."""
    if made is None:
        usage = Usage(input_tokens=prompt, cached_tokens=prompt, output_tokens=tokens)
        choice = Choice(message=Message("assistant", before), finish="length")
        return Generated(choices=(choice,), usage=usage)
    last = made.choices[0]
    whole = replace(last, message=replace(last.message, content=before + last.message.text()))
    usage = replace(
        made.usage,
        input_tokens=prompt,
        cached_tokens=min(made.usage.cached_tokens, prompt),
        output_tokens=tokens + made.usage.output_tokens,
    )
    return replace(made, choices=(whole,), usage=usage)
