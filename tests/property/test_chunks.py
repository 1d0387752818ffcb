"""Recorded boundaries: what was packed is unpacked, whatever an engine gave."""

from hypothesis import given
from hypothesis import strategies as st
from openai_calls import CALL, extras, logprobs_for, streams

from orlop.abi.hints import Facts
from orlop.abi.messages import Message
from orlop.abi.replies import Choice, Completion, Delta, ToolUseDelta
from orlop.wire.chunks import pack, unpack

anything = st.builds(
    Delta,
    choice=st.integers(0, 2),
    text=st.text(max_size=4),
    reasoning=st.text(max_size=2),
    refusal=st.text(max_size=2),
    tool_uses=st.lists(
        st.builds(
            ToolUseDelta,
            st.integers(0, 2),
            st.sampled_from(("", "call_0")),
            st.sampled_from(("", "look_up")),
            st.text(max_size=3),
            st.sampled_from(("function", "custom")),
            extras,
        ),
        max_size=2,
    ).map(tuple),
    logprobs=st.text("ab", max_size=2).map(logprobs_for),
)


@given(streams())
def test_a_stream_comes_back_in_the_pieces_it_was_given(
    stream: tuple[list[Delta], Completion],
) -> None:
    deltas, completion = stream
    assert unpack(pack(deltas, completion), completion) == deltas


@given(st.lists(anything, max_size=6), streams())
def test_even_deltas_that_are_not_the_message_come_back(
    deltas: list[Delta], stream: tuple[list[Delta], Completion]
) -> None:
    _, completion = stream
    assert unpack(pack(deltas, completion), completion) == deltas


@given(st.lists(st.text(min_size=1, max_size=90), min_size=1, max_size=100))
def test_text_costs_about_a_letter_a_piece(pieces: list[str]) -> None:
    completion = Completion(
        choices=(Choice(Message("assistant", "".join(pieces))),), facts=Facts(call=CALL)
    )
    deltas = [Delta(text=piece) for piece in pieces]
    packed = bytes(pack(deltas, completion))
    long = sum(1 for piece in pieces if len(piece) >= 62)
    assert len(packed) <= len(pieces) + 3 * long + 30
    assert unpack(pack(deltas, completion), completion) == deltas
