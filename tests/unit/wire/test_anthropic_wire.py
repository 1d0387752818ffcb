"""Anthropic's Messages dialect, by example."""

import msgspec
import pytest

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import BadCall, DeviceFailed
from orlop.abi.hints import Facts, Usage
from orlop.abi.ids import CallId
from orlop.abi.messages import File, Foreign, Image, Message, Text, ToolSpec, ToolUse
from orlop.abi.replies import Choice, Completion, Delta, ToolUseDelta
from orlop.wire.anthropic import (
    read_messages_request,
    read_messages_response,
    write_messages_request,
    write_messages_response,
)
from orlop.wire.anthropic_stream import MessageStream, MessageStreamReader
from orlop.wire.openai_terms import ReplyHead

HEAD = ReplyHead(call=CallId("cal_01"), created_s=1_760_000_000, model="small")
SCHEMA: dict[str, object] = {"type": "object", "properties": {"order": {"type": "string"}}}
THINKING: dict[str, object] = {"type": "thinking", "thinking": "hm…", "signature": "Eq0B+/=="}


def read(**fields: object) -> Infer:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return read_messages_request(msgspec.json.encode(body | fields))


def written(call: Infer) -> dict[str, object]:
    body = write_messages_request(call, call.model, stream=call.stream, output_tokens_max=1)
    return msgspec.json.decode(body, type=dict[str, object])


def said(message: Message, finish: str = "stop", stop: str = "") -> dict[str, object]:
    choice = msgspec.convert({"message": message, "finish": finish, "stop": stop}, Choice)
    completion = Completion(choices=(choice,), facts=Facts(call=HEAD.call))
    return msgspec.json.decode(write_messages_response(completion, HEAD), type=dict[str, object])


def test_a_plain_call_is_read() -> None:
    call = read(system="be short", temperature=0.5, stop_sequences=["END"], stream=True)
    assert call == Infer(
        model="m",
        messages=(Message("system", "be short"), Message("user", "hi")),
        output_tokens_max=9,
        sampling=Sampling(temperature=0.5, stop=("END",)),
        dialect="anthropic",
        stream=True,
    )


def test_a_tool_result_beside_words_becomes_two_messages_and_one_turn_again() -> None:
    turns = [
        {"role": "user", "content": "where is order 7?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "find", "input": {"order": "7"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "gone", "is_error": True},
                {"type": "text", "text": "and now?"},
            ],
        },
    ]
    call = read(messages=turns)
    assert call.messages == (
        Message("user", "where is order 7?"),
        Message("assistant", "I look.", tool_uses=(ToolUse("t1", "find", '{"order":"7"}'),)),
        Message("tool", "gone", tool_use_id="t1", is_error=True),
        Message("user", (Text("and now?"),)),
    )
    first, answer, results = turns
    assert written(call)["messages"] == [first, answer, results]


def test_the_order_of_words_and_tool_calls_survives() -> None:
    blocks = [
        THINKING,
        {"type": "tool_use", "id": "t1", "name": "find", "input": {}},
        {"type": "text", "text": "one more"},
        {"type": "tool_use", "id": "t2", "name": "find", "input": {}},
    ]
    call = read(
        messages=[{"role": "assistant", "content": blocks}, {"role": "user", "content": "go on"}]
    )
    assert [use.id for use in call.messages[0].tool_uses] == ["t1", "t2"]
    turns = written(call)["messages"]
    assert isinstance(turns, list)
    assert turns[0]["content"] == blocks


def test_signed_thinking_is_kept_byte_for_byte() -> None:
    redacted: dict[str, object] = {"type": "redacted_thinking", "data": "AAECAw=="}
    blocks = [THINKING, redacted, {"type": "text", "text": "yes"}]
    call = read(messages=[{"role": "assistant", "content": blocks}])
    assert call.messages[0].content == (
        Foreign("anthropic", THINKING),
        Foreign("anthropic", redacted),
        Text("yes"),
    )


def test_thinking_of_other_engines_comes_back_as_reasoning() -> None:
    body = said(Message("assistant", "yes", reasoning="hm"))
    assert body["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "yes"},
    ]
    call = read(messages=[{"role": "assistant", "content": body["content"]}])
    assert call.messages == (Message("assistant", "yes", reasoning="hm"),)


def test_images_and_documents_are_parts() -> None:
    png = {"type": "base64", "media_type": "image/png", "data": "iVBO"}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    kept: dict[str, object] = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    blocks = [
        {"type": "image", "source": png},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "document", "source": pdf, "title": "bill", "cache_control": {"type": "x"}},
        kept,
    ]
    call = read(messages=[{"role": "user", "content": blocks}])
    assert call.messages[0].content == (
        Image("data:image/png;base64,iVBO"),
        Image("https://example.com/a.png"),
        File(
            "data:application/pdf;base64,JVBE",
            filename="bill",
            extra={"cache_control": {"type": "x"}},
        ),
        Foreign("anthropic", kept),
    )
    assert written(call)["messages"] == [{"role": "user", "content": blocks}]


def test_tools_and_the_choice_among_them() -> None:
    hosted = {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}
    call = read(
        tools=[{"name": "find", "description": "finds", "input_schema": SCHEMA}, hosted],
        tool_choice={"type": "tool", "name": "find", "disable_parallel_tool_use": True},
    )
    assert call.tools == (
        ToolSpec("find", "finds", SCHEMA),
        ToolSpec("web_search", kind="web_search_20260318", extra={"max_uses": 3}),
    )
    assert call.tool_choice == {"name": "find"}
    assert call.parallel_tool_calls is False
    assert written(call)["tools"] == [
        {"name": "find", "description": "finds", "input_schema": SCHEMA},
        hosted,
    ]


def test_an_output_schema_is_a_response_format() -> None:
    config = {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    call = read(output_config=config)
    assert call.response_format is not None
    assert call.response_format["type"] == "json_schema"
    assert call.extra == {"output_config": {"effort": "low"}}
    assert written(call)["output_config"] == config


def test_what_we_do_not_know_goes_to_engines_of_the_dialect() -> None:
    call = read(top_k=5, metadata={"user_id": "u"}, thinking={"type": "adaptive"})
    body = written(call)
    assert (body["top_k"], body["metadata"], body["thinking"]) == (
        5,
        {"user_id": "u"},
        {"type": "adaptive"},
    )


def test_standard_only_is_a_latency_class() -> None:
    assert read(service_tier="standard_only").hints.latency_class == "standard"
    assert read(service_tier="auto").hints.latency_class is None


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"max_tokens": None}, "`max_tokens`"),
        ({"max_tokens": 0}, "`max_tokens`"),
        ({"max_tokens": 2**31}, "`max_tokens`"),
        ({"max_tokens": "9"}, "`max_tokens`"),
        ({"model": ""}, "`model`"),
        ({"messages": []}, "`messages`"),
        ({"messages": [{"role": "robot", "content": ""}]}, "`messages[0].role`"),
        ({"messages": [{"role": "user"}]}, "`messages[0].content`"),
        ({"messages": [{"role": "user", "content": [1]}]}, "`messages[0].content[0]`"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "`messages[0].content[0].type`"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "`messages[0].content[0].text`",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
            "`messages[0].content[0].tool_use_id`",
        ),
        ({"system": 3}, "`system`"),
        ({"temperature": 1.5}, "`temperature`"),
        ({"tools": [{"name": "x"}]}, "`tools[0].input_schema`"),
        ({"tool_choice": {"type": "some"}}, "`tool_choice.type`"),
        ({"stream": "yes"}, "`stream`"),
        ({"service_tier": "gold"}, "`service_tier`"),
        ({"output_config": {"format": {"type": "xml"}}}, "`output_config.format.type`"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(fields: dict[str, object], path: str) -> None:
    with pytest.raises(BadCall) as caught:
        read(**fields)
    assert caught.value.message.startswith(path)


@pytest.mark.parametrize(
    ("message", "finish", "stop", "reason"),
    [
        (Message("assistant", "a"), "stop", "", "end_turn"),
        (Message("assistant", "a"), "stop", "END", "stop_sequence"),
        (Message("assistant", "a"), "length", "", "max_tokens"),
        (Message("assistant", "a"), "content_filter", "", "refusal"),
        (Message("assistant", tool_uses=(ToolUse("t", "f"),)), "tool_calls", "", "tool_use"),
        (Message("assistant", tool_uses=(ToolUse("t", "f"),)), "stop", "", "tool_use"),
        (Message("assistant", tool_uses=(ToolUse("t", "f"),)), "length", "", "max_tokens"),
    ],
)
def test_why_an_answer_ended(message: Message, finish: str, stop: str, reason: str) -> None:
    assert said(message, finish, stop)["stop_reason"] == reason


def test_cached_tokens_are_counted_apart() -> None:
    completion = Completion(
        choices=(), usage=Usage(input_tokens=10, cached_tokens=4), facts=Facts(call=HEAD.call)
    )
    body = msgspec.json.decode(write_messages_response(completion, HEAD))
    assert body["usage"]["input_tokens"] == 6
    assert body["usage"]["cache_read_input_tokens"] == 4


def test_tool_arguments_stream_as_they_come_and_a_call_waits_only_for_an_unfinished_one() -> None:
    stream = MessageStream(HEAD)

    def piece(index: int, arguments: str, name: str = "") -> bytes:
        use = ToolUseDelta(index, f"t{index}" if name else "", name, arguments)
        return stream.delta(Delta(tool_uses=(use,)))

    assert b"partial_json" in piece(0, '{"a":', "one")
    assert piece(1, '{"b":', "two") == b""
    closes = piece(0, "1}")
    assert closes.index(b"content_block_stop") < closes.index(b'"id":"t1"')
    assert b'"partial_json":"2}"' in piece(1, "2}")


def test_a_driver_tells_what_the_stream_reports() -> None:
    reader = MessageStreamReader("claude")
    event = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
    with pytest.raises(DeviceFailed, match="busy") as caught:
        reader.feed(event + b'"message":"busy"}}\n\n')
    assert caught.value.code == "E2002"


def test_a_driver_refuses_nonsense_as_the_engines_fault() -> None:
    with pytest.raises(DeviceFailed):
        read_messages_response(b'{"content": [{"type": 3}]}')


def test_what_the_dialect_cannot_say_is_named() -> None:
    call = Infer(model="m", messages=(Message("user", "hi"),), sampling=Sampling(seed=1))
    with pytest.raises(BadCall, match="`seed`"):
        written(call)
