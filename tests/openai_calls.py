"""Calls in OpenAI's words, and answers with all that an engine may say, for property tests."""

from answers import json_objects, pieces_of, texts, tool_uses, words
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from msgspec.structs import replace

from orlop.abi.calls import Infer, Sampling
from orlop.abi.hints import Facts, Hints, Usage
from orlop.abi.ids import CallId, Seq
from orlop.abi.messages import (
    Audio,
    File,
    Foreign,
    Image,
    Message,
    Part,
    Role,
    Text,
    TokenLogprob,
    ToolSpec,
    ToolUse,
)
from orlop.abi.replies import Choice, Completion, Delta, FinishReason, ToolUseDelta

CALL = CallId("cal_01k9ztqv7mf5m8y3n2x4w6r0ab")

# Fields that nobody knows; nulls say nothing, and are dropped on the way.
extras: SearchStrategy[dict[str, object]] = st.dictionaries(
    st.sampled_from(("x_one", "x_two", "metadata")),
    json_objects | texts | st.booleans(),
    max_size=2,
)
filled = st.text(min_size=1, max_size=20)
finite = st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 3))

parts: SearchStrategy[Part] = st.one_of(
    st.builds(Text, texts, extras),
    st.builds(Image, filled, st.sampled_from(("", "low", "high")), extras),
    st.builds(Audio, filled, st.sampled_from(("wav", "mp3")), extras),
    st.builds(File, filled, texts, texts, extras),
    st.builds(
        Foreign,
        st.just("openai"),
        json_objects.map(lambda held: {**held, "type": "video_url", "video_url": {"url": "u"}}),
    ),
)


def schema_format(schema: dict[str, object]) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": schema}


@st.composite
def any_tool_uses(draw: DrawFn) -> tuple[ToolUse, ...]:
    """Of both kinds, some with what a dialect says beside them."""
    kinds = st.sampled_from(("function", "custom"))
    return tuple(replace(use, kind=draw(kinds), extra=draw(extras)) for use in draw(tool_uses()))


@st.composite
def messages(draw: DrawFn) -> Message:
    role: Role = draw(st.sampled_from(("system", "developer", "user", "assistant", "tool")))
    return Message(
        role=role,
        content=draw(st.none() | texts | st.lists(parts, max_size=3).map(tuple)),
        name=draw(st.sampled_from(("", "Ada"))),
        tool_uses=draw(any_tool_uses()) if role == "assistant" else (),
        tool_use_id="call_1" if role == "tool" else "",
        refusal=draw(texts) if role == "assistant" else "",
        reasoning=draw(texts) if role == "assistant" else "",
        extra=draw(extras),
    )


tools = st.builds(
    ToolSpec, words, texts, json_objects, st.none() | st.booleans(), st.just("function"), extras
)
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop=st.lists(texts, max_size=4).map(tuple),
    n=st.integers(1, 16),
    presence_penalty=st.none() | finite,
    frequency_penalty=st.none() | finite,
    logit_bias=st.dictionaries(st.sampled_from(("1", "2")), finite, max_size=2),
)
hints = st.builds(Hints, latency_class=st.sampled_from((None, "interactive", "standard", "batch")))


@st.composite
def chat_calls(draw: DrawFn) -> Infer:
    sampling = draw(samplings)
    return Infer(
        model=draw(filled),
        messages=tuple(draw(st.lists(messages(), min_size=1, max_size=4))),
        tools=tuple(draw(st.lists(tools, max_size=2))),
        tool_choice=draw(st.sampled_from((None, "auto", "none", "required", {"name": "look_up"}))),
        parallel_tool_calls=draw(st.none() | st.booleans()),
        response_format=draw(st.none() | json_objects.map(schema_format)),
        output_tokens_max=draw(st.none() | st.integers(1, 10**6)),
        sampling=sampling,
        dialect="openai",
        extra=draw(extras),
        stream=draw(st.booleans()),
        hints=draw(hints),
    )


@st.composite
def text_calls(draw: DrawFn) -> Infer:
    return Infer(
        model=draw(filled),
        prompt=draw(texts | st.lists(st.integers(0, 50_000), min_size=1, max_size=5).map(tuple)),
        suffix=draw(texts),
        echo=draw(st.booleans()),
        output_tokens_max=draw(st.none() | st.integers(1, 10**6)),
        sampling=draw(samplings),
        dialect="openai",
        extra=draw(extras),
        stream=draw(st.booleans()),
        hints=draw(hints),
    )


def logprobs_for(text: str) -> tuple[TokenLogprob, ...]:
    """One token a letter."""
    return tuple(
        TokenLogprob(letter, -0.25, tuple(letter.encode()), (TokenLogprob("z", -2.0),))
        for letter in text
    )


@st.composite
def answers(draw: DrawFn, index: int) -> tuple[Choice, list[Delta]]:
    """A choice, and the pieces in which an engine might give it."""
    uses = draw(any_tool_uses())
    text, reasoning, refusal = draw(texts), draw(texts), draw(texts)
    has_logprobs = draw(st.booleans())
    empty = None if uses or refusal else ""
    message = Message(
        "assistant",
        text or empty,
        tool_uses=uses,
        refusal=refusal,
        reasoning=reasoning,
        extra=draw(extras),
    )
    deltas = [Delta(index, reasoning=piece) for piece in pieces_of(draw, reasoning)]
    for piece in pieces_of(draw, text):
        deltas.append(Delta(index, piece, logprobs=logprobs_for(piece) if has_logprobs else ()))
    deltas += [Delta(index, refusal=piece) for piece in pieces_of(draw, refusal)]
    for at, use in enumerate(uses):
        first = ToolUseDelta(at, use.id, use.name, "", use.kind, use.extra)
        pieces = pieces_of(draw, use.arguments)
        rest = [ToolUseDelta(at, arguments=piece, kind=use.kind) for piece in pieces]
        deltas += [Delta(index, tool_uses=(piece,)) for piece in (first, *rest)]
    finish: FinishReason = draw(st.sampled_from(("stop", "length", "tool_calls", "content_filter")))
    logprobs = logprobs_for(text) if has_logprobs else ()
    return Choice(message, finish, index, logprobs), deltas


@st.composite
def streams(draw: DrawFn) -> tuple[list[Delta], Completion]:
    """A completion of one to three choices, and its deltas, the choices' mixed."""
    count = draw(st.integers(1, 3))
    drawn = [draw(answers(index)) for index in range(count)]
    queues = [list(deltas) for _, deltas in drawn]
    mixed: list[Delta] = []
    while waiting := [queue for queue in queues if queue]:
        mixed.append(draw(st.sampled_from(waiting)).pop(0))
    return mixed, Completion(
        choices=tuple(choice for choice, _ in drawn),
        usage=Usage(draw(st.integers(0, 10**6)), 0, draw(st.integers(0, 10**6))),
        model="small-q4",
        created_s=1_760_000_000,
        fingerprint=draw(st.sampled_from(("", "fp_1"))),
        extra=draw(extras),
        facts=Facts(call=CALL, seq=Seq(7)),
    )
