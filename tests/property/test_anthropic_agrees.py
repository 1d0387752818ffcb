"""Anthropic's dialect: a stream says what a whole answer says, to Anthropic's own client."""

from contextlib import suppress

import httpx2
import msgspec
import pytest
from answers import HEAD, completions, json_objects, shuffled, streamed
from anthropic import Anthropic, APIStatusError
from canned_answer import CannedAnswer
from hypothesis import example, given
from hypothesis import strategies as st

from orlop.abi.errors import BadCall, DeviceFailed
from orlop.abi.messages import ToolUse
from orlop.abi.replies import Completion, Delta
from orlop.wire.anthropic import (
    read_messages_request,
    read_messages_response,
    write_messages_request,
    write_messages_response,
)
from orlop.wire.anthropic_stream import MessageStream, MessageStreamReader
from orlop.wire.anthropic_turns import arguments_of, input_of
from orlop.wire.openai import write_chat_request
from orlop.wire.portable import to_openai

Content = list[dict[str, object]]


WIRE = CannedAnswer()
CLIENT = Anthropic(api_key="k", http_client=httpx2.Client(transport=WIRE), max_retries=0)


def stream_of(deltas: list[Delta], completion: Completion) -> bytes:
    stream = MessageStream(HEAD)
    return b"".join(map(stream.delta, deltas)) + stream.done(completion)


def client_reads_stream(data: bytes) -> dict[str, object]:
    WIRE.body, WIRE.kind = data, "text/event-stream"
    with CLIENT.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
        return stream.get_final_message().to_dict()


def client_reads_whole(data: bytes) -> dict[str, object]:
    WIRE.body, WIRE.kind = data, "application/json"
    return CLIENT.messages.create(model="m", max_tokens=1, messages=[]).to_dict()


def without_facts(message: dict[str, object]) -> dict[str, object]:
    """Less what only a whole body holds, and fields that the client itself fills with null."""
    held = {name: value for name, value in message.items() if name not in ("orlop", "stop_details")}
    content = held["content"]
    assert isinstance(content, list)
    held["content"] = [
        {name: value for name, value in block.items() if name != "parsed_output"}
        for block in content
    ]
    return held


def by_kind(message: dict[str, object]) -> tuple[str, str, Content]:
    """Its thoughts, its words and its tool calls, each in their own order."""
    content = message["content"]
    assert isinstance(content, list)
    thoughts = "".join(block["thinking"] for block in content if block["type"] == "thinking")
    words = "".join(block["text"] for block in content if block["type"] == "text")
    return thoughts, words, [block for block in content if block["type"] == "tool_use"]


@given(streamed())
def test_the_official_client_reads_the_same_from_a_stream_as_from_a_body(
    case: tuple[list[Delta], Completion],
) -> None:
    deltas, completion = case
    whole = client_reads_whole(write_messages_response(completion, HEAD))
    assert without_facts(client_reads_stream(stream_of(deltas, completion))) == without_facts(whole)


@given(shuffled())
def test_no_piece_of_an_answer_is_lost_however_the_engine_mixes_them(
    case: tuple[list[Delta], Completion],
) -> None:
    deltas, completion = case
    whole = client_reads_whole(write_messages_response(completion, HEAD))
    read = client_reads_stream(stream_of(deltas, completion))
    assert read["stop_reason"] == whole["stop_reason"]
    thoughts, words, uses = by_kind(read)
    assert (thoughts, words) == by_kind(whole)[:2]
    assert sorted(uses, key=str) == sorted(by_kind(whole)[2], key=str)


@given(completions())
def test_an_answer_that_no_engine_gave_in_pieces_streams_whole(completion: Completion) -> None:
    whole = client_reads_whole(write_messages_response(completion, HEAD))
    assert without_facts(client_reads_stream(stream_of([], completion))) == without_facts(whole)


@given(streamed(), st.integers(0, 4_000))
def test_a_stream_that_breaks_anywhere_never_looks_finished(
    case: tuple[list[Delta], Completion], told: int
) -> None:
    deltas, _ = case
    stream = MessageStream(HEAD)
    data = b"".join(map(stream.delta, deltas[: told % (len(deltas) + 1)]))
    data += stream.error(DeviceFailed("the engine died"))
    assert b"message_stop" not in data
    with pytest.raises(APIStatusError, match="the engine died"):
        client_reads_stream(data)


@given(completions())
def test_what_the_server_writes_the_driver_reads(completion: Completion) -> None:
    read = read_messages_response(write_messages_response(completion, HEAD))
    assert read.choices[0] == as_sent(completion).choices[0]
    assert read.usage == completion.usage


@given(streamed(), st.integers(1, 7))
def test_what_the_server_streams_the_driver_reads_in_any_pieces(
    case: tuple[list[Delta], Completion], size: int
) -> None:
    deltas, completion = case
    data = stream_of(deltas, completion)
    reader = MessageStreamReader()
    read = [
        delta for at in range(0, len(data), size) for delta in reader.feed(data[at : at + size])
    ]
    made = reader.finish()
    assert made.choices[0] == as_sent(completion).choices[0]
    assert made.usage == completion.usage
    assert "".join(delta.text for delta in read) == completion.choices[0].message.text()


@given(streamed(), st.integers(0, 100))
def test_a_driver_takes_no_cut_stream_for_a_whole_answer(
    case: tuple[list[Delta], Completion], kept: int
) -> None:
    deltas, completion = case
    data = stream_of(deltas, completion)
    reader = MessageStreamReader()
    reader.feed(data[: len(data.rpartition(b"event: message_stop")[0]) * kept // 100])
    with pytest.raises(DeviceFailed, match="cut off"):
        reader.finish()


def as_sent(completion: Completion) -> Completion:
    """What survives the dialect: with tool calls the stop sequence does not."""
    choice = completion.choices[0]
    if not choice.message.tool_uses:
        return completion
    sent = msgspec.structs.replace(choice, finish="tool_calls", stop="")
    return msgspec.structs.replace(completion, choices=(sent,))


@given(json_objects)
def test_arguments_survive_the_way_there_and_back(arguments: dict[str, object]) -> None:
    assert input_of(arguments_of(arguments)) == arguments


@given(st.text())
@example('{"cut": "of')
@example("[1]")
def test_arguments_that_are_no_object_are_wrapped_and_never_dropped(text: str) -> None:
    use = ToolUse("call_0", "look", text)
    held = input_of(use.arguments)
    if text.strip():
        assert input_of(arguments_of(held)) == held
        assert held or msgspec.json.decode(text) == {}


json_junk: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(("text", "tool_use", "tool_result", "image", "document", "user", "auto")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "type",
                    "role",
                    "content",
                    "text",
                    "id",
                    "name",
                    "input",
                    "source",
                    "data",
                    "format",
                )
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
FIELDS = (
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "stream",
    "service_tier",
    "output_config",
    "thinking",
)


@given(st.dictionaries(st.sampled_from(FIELDS), json_junk))
def test_junk_is_refused_or_read_and_what_is_read_can_be_written_again(
    junk: dict[str, object],
) -> None:
    good: dict[str, object] = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
    }
    try:
        call = read_messages_request(msgspec.json.encode(good | junk))
    except BadCall as error:
        assert error.message
        return
    again = write_messages_request(call, call.model, stream=call.stream, output_tokens_max=1)
    assert read_messages_request(again) == call
    with suppress(BadCall):  # What only Claude can answer.
        assert write_chat_request(to_openai(call), call.model, stream=False)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_object_are_refused(body: bytes) -> None:
    with pytest.raises(BadCall):
        read_messages_request(body)
