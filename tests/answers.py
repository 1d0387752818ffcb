"""Answers of engines for property tests: whole, and cut into deltas at random places."""

from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from orlop.abi.hints import Facts, Usage
from orlop.abi.ids import CallId, Seq
from orlop.abi.messages import Message, ToolUse
from orlop.abi.replies import Choice, Completion, Delta, FinishReason, ToolUseDelta
from orlop.wire.openai_terms import ReplyHead

CALL = CallId("cal_01k9ztqv7mf5m8y3n2x4w6r0ab")
HEAD = ReplyHead(call=CALL, created_s=1_760_000_000, model="small")

texts = st.text(max_size=40)
words = st.text("abcdefgh_", min_size=1, max_size=12)
json_values: SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects: SearchStrategy[dict[str, object]] = st.dictionaries(texts, json_values, max_size=3)


@st.composite
def tool_uses(draw: DrawFn) -> tuple[ToolUse, ...]:
    given = draw(st.lists(st.tuples(words, json_objects), max_size=3))
    return tuple(
        ToolUse(f"call_{at}", name, msgspec.json.encode(arguments).decode())
        for at, (name, arguments) in enumerate(given)
    )


@st.composite
def completions(draw: DrawFn) -> Completion:
    """Answers with words, thoughts, tool calls, or none of them."""
    uses = draw(tool_uses())
    text = draw(texts)
    message = Message(
        "assistant",
        text or (None if uses else ""),
        tool_uses=uses,
        reasoning=draw(texts),
    )
    finishes: Sequence[FinishReason] = ("tool_calls", "stop") if uses else ("stop", "length")
    finish = draw(st.sampled_from(finishes))
    stop = draw(st.sampled_from(("", "END"))) if finish == "stop" else ""
    input_tokens = draw(st.integers(0, 10**6))
    usage = Usage(input_tokens, draw(st.integers(0, input_tokens)), draw(st.integers(0, 10**6)))
    return Completion(
        choices=(Choice(message, finish, stop=stop),),
        usage=usage,
        model="small-q4",
        created_s=HEAD.created_s,
        facts=Facts(call=CALL, seq=Seq(7)),
    )


def pieces_of(draw: DrawFn, text: str) -> list[str]:
    """`text` cut at random places; some pieces are empty, as engines do."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def tool_deltas(draw: DrawFn, index: int, use: ToolUse) -> list[Delta]:
    head = ToolUseDelta(index, use.id, use.name)
    rest = [ToolUseDelta(index, arguments=piece) for piece in pieces_of(draw, use.arguments)]
    return [Delta(tool_uses=(piece,)) for piece in (head, *rest)]


@st.composite
def streamed(draw: DrawFn) -> tuple[list[Delta], Completion]:
    """An answer, and deltas that make it, in the order in which engines speak."""
    completion = draw(completions())
    message = completion.choices[0].message
    deltas = [Delta(reasoning=piece) for piece in pieces_of(draw, message.reasoning)]
    deltas += [Delta(text=piece) for piece in pieces_of(draw, message.text())]
    for index, use in enumerate(message.tool_uses):
        deltas += tool_deltas(draw, index, use)
    return deltas, completion


@st.composite
def shuffled(draw: DrawFn) -> tuple[list[Delta], Completion]:
    """The same in any order that keeps each part's own: words among tool calls, calls mixed."""
    completion = draw(completions())
    message = completion.choices[0].message
    lanes = [
        [Delta(reasoning=piece) for piece in pieces_of(draw, message.reasoning)],
        [Delta(text=piece) for piece in pieces_of(draw, message.text())],
        *(tool_deltas(draw, index, use) for index, use in enumerate(message.tool_uses)),
    ]
    turns = draw(st.permutations([at for at, lane in enumerate(lanes) for _ in lane]))
    return [lanes[at].pop(0) for at in turns], completion
