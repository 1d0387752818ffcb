"""The Responses dialect: a stream says what a whole response says, to OpenAI's own client."""

import httpx2
import msgspec
import pytest
from answers import CALL, HEAD, completions, shuffled, streamed
from canned_answer import CannedAnswer
from hypothesis import given
from hypothesis import strategies as st
from openai import APIError, OpenAI

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import BadCall, DeviceFailed
from orlop.abi.messages import Message, Text, ToolUse
from orlop.abi.replies import Completion, Delta
from orlop.wire.openai import write_chat_request
from orlop.wire.portable import to_openai
from orlop.wire.responses import (
    call_of,
    continued,
    read_responses_request,
    write_response,
)
from orlop.wire.responses_stream import ResponseStream

ASKED = Infer(
    model="small",
    messages=(Message("system", "be short"), Message("user", "hello")),
    output_tokens_max=50,
    sampling=Sampling(temperature=0.5),
    dialect="responses",
    extra={"instructions": True, "metadata": {"case": "7"}},
)


WIRE = CannedAnswer()
CLIENT = OpenAI(api_key="k", http_client=httpx2.Client(transport=WIRE), max_retries=0)


def stream_of(deltas: list[Delta], completion: Completion) -> bytes:
    stream = ResponseStream(ASKED, HEAD)
    return b"".join(map(stream.delta, deltas)) + stream.done(completion)


def client_reads_stream(data: bytes) -> dict[str, object]:
    """What the official accumulator made, checked against what the last event says."""
    WIRE.body, WIRE.kind = data, "text/event-stream"
    with CLIENT.responses.stream(model="m", input="") as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type in ("response.completed", "response.incomplete")
    return plain(events[-1].response.to_dict())


def client_reads_whole(data: bytes) -> dict[str, object]:
    WIRE.body, WIRE.kind = data, "application/json"
    return plain(CLIENT.responses.create(model="m", input="").to_dict())


def plain(response: dict[str, object]) -> dict[str, object]:
    """Without what the client itself adds."""
    without = ("parsed", "parsed_arguments")
    output = response["output"]
    assert isinstance(output, list)
    items = [{name: held for name, held in item.items() if name not in without} for item in output]
    for item in items:
        parts = item.get("content")
        if isinstance(parts, list):
            item["content"] = [
                {name: held for name, held in part.items() if name not in without} for part in parts
            ]
    return response | {"output": items}


def deltas_in(data: bytes, kind: str) -> str:
    WIRE.body, WIRE.kind = data, "text/event-stream"
    with CLIENT.responses.create(model="m", input="", stream=True) as stream:
        return "".join(str(event.to_dict()["delta"]) for event in stream if event.type == kind)


@given(streamed())
def test_the_official_client_reads_the_same_from_a_stream_as_from_a_body(
    case: tuple[list[Delta], Completion],
) -> None:
    deltas, completion = case
    data = stream_of(deltas, completion)
    assert client_reads_stream(data) == client_reads_whole(write_response(ASKED, completion, HEAD))
    assert deltas_in(data, "response.output_text.delta") == completion.choices[0].message.text()


@given(shuffled())
def test_no_piece_of_an_answer_is_lost_however_the_engine_mixes_them(
    case: tuple[list[Delta], Completion],
) -> None:
    deltas, completion = case
    data = stream_of(deltas, completion)
    message = completion.choices[0].message
    assert deltas_in(data, "response.output_text.delta") == message.text()
    assert deltas_in(data, "response.reasoning_text.delta") == message.reasoning
    output = client_reads_stream(data)["output"]
    assert isinstance(output, list)
    calls = {
        item["call_id"]: (item["name"], item["arguments"])
        for item in output
        if item["type"] == "function_call"
    }
    assert calls == {use.id: (use.name, use.arguments) for use in message.tool_uses}


@given(completions())
def test_an_answer_that_no_engine_gave_in_pieces_streams_whole(completion: Completion) -> None:
    data = stream_of([], completion)
    assert client_reads_stream(data) == client_reads_whole(write_response(ASKED, completion, HEAD))


@given(streamed(), st.integers(0, 4_000))
def test_a_stream_that_breaks_anywhere_is_an_exception_and_never_looks_finished(
    case: tuple[list[Delta], Completion], told: int
) -> None:
    deltas, _ = case
    stream = ResponseStream(ASKED, HEAD)
    data = b"".join(map(stream.delta, deltas[: told % (len(deltas) + 1)]))
    data += stream.error(DeviceFailed("the engine died"))
    WIRE.body, WIRE.kind = data, "text/event-stream"
    kinds = []
    with pytest.raises(APIError, match="the engine died"):
        for event in CLIENT.responses.create(model="m", input="", stream=True):
            kinds.append(event.type)
    assert kinds[-1] == "response.failed"
    assert "response.completed" not in kinds


@given(completions())
def test_a_response_sent_back_as_input_is_the_message_that_was_recorded(
    completion: Completion,
) -> None:
    body = msgspec.json.decode(write_response(ASKED, completion, HEAD))
    items = [{"role": "user", "content": "hello"}, *body["output"]]
    read = read_responses_request(msgspec.json.encode({"model": "m", "input": items})).call
    said = completion.choices[0].message
    assert read.messages[1:] == (said,)


@given(completions())
def test_a_conversation_goes_on_by_name_as_it_would_by_sending_it_all(
    completion: Completion,
) -> None:
    more = {"role": "user", "content": "and then?"}
    by_name = read_responses_request(
        msgspec.json.encode(
            {"model": "m", "input": [more], "previous_response_id": HEAD.id("resp_")}
        )
    )
    assert by_name.previous is not None and call_of(by_name.previous) == CALL
    body = msgspec.json.decode(write_response(ASKED, completion, HEAD))
    everything = [{"role": "user", "content": "hello"}, *body["output"], more]
    sent = read_responses_request(msgspec.json.encode({"model": "m", "input": everything})).call
    assert continued(by_name.call, ASKED, completion).messages == sent.messages


json_junk: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(("message", "function_call", "reasoning", "input_text", "user", "function")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "type",
                    "role",
                    "content",
                    "text",
                    "call_id",
                    "name",
                    "output",
                    "summary",
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
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "text",
    "temperature",
    "top_p",
    "stream",
    "service_tier",
    "reasoning",
    "include",
    "metadata",
    "previous_response_id",
    "store",
    "truncation",
    "background",
    "max_output_tokens",
)


@given(st.dictionaries(st.sampled_from(FIELDS), json_junk), completions())
def test_junk_is_refused_or_read_answered_and_told_to_an_engine(
    junk: dict[str, object], completion: Completion
) -> None:
    good: dict[str, object] = {"model": "m", "input": "hi"}
    try:
        call = read_responses_request(msgspec.json.encode(good | junk)).call
    except BadCall as error:
        assert error.message
        return
    except Exception as error:
        assert type(error).__name__ == "NotFound"
        return
    assert write_response(call, completion, HEAD)
    assert write_chat_request(to_openai(call), "m", stream=False)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_object_are_refused(body: bytes) -> None:
    with pytest.raises(BadCall):
        read_responses_request(body)


def test_the_ids_of_responses_name_their_calls() -> None:
    assert call_of(HEAD.id("resp_")) == CALL


def test_a_turn_of_the_model_in_pieces_is_one_message() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "2"}],
        },
    ]
    read = read_responses_request(msgspec.json.encode({"model": "m", "input": items})).call
    assert read.messages == (
        Message(
            "assistant",
            "a",
            reasoning="hm",
            tool_uses=(ToolUse("c1", "look", "{}"), ToolUse("c2", "look", "{}")),
        ),
        Message("tool", "one", tool_use_id="c1"),
        Message("tool", (Text("2"),), tool_use_id="c2"),
    )
