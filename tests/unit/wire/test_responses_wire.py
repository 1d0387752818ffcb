"""OpenAI's Responses dialect, by example."""

import msgspec
import pytest

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall, NotFound
from orlop.abi.hints import Facts
from orlop.abi.ids import CallId, minted_s
from orlop.abi.messages import File, Image, Message, Text
from orlop.abi.replies import Choice, Completion
from orlop.wire.openai_terms import ReplyHead
from orlop.wire.responses import (
    check_kept,
    continued,
    head_of_answer,
    input_items,
    read_responses_request,
    write_response,
)

HEAD = ReplyHead(
    call=CallId("cal_01k9ztqv7mf5m8y3n2x4w6r0ab"), created_s=1_760_000_000, model="small"
)


def read(**fields: object) -> Infer:
    body = {"model": "small", "input": "hi"} | fields
    return read_responses_request(msgspec.json.encode(body)).call


def answer(text: str = "yes") -> Completion:
    choice = Choice(Message("assistant", text))
    return Completion(choices=(choice,), created_s=HEAD.created_s, facts=Facts(call=HEAD.call))


def test_what_was_asked_is_told_back() -> None:
    call = read(
        instructions="be short",
        metadata={"case": "7"},
        temperature=0.5,
        max_output_tokens=9,
        text={"format": {"type": "json_object"}, "verbosity": "low"},
        tools=[{"type": "function", "name": "find", "description": "finds"}],
        service_tier="flex",
    )
    body = msgspec.json.decode(write_response(call, answer(), head_of_answer(call, answer())))
    assert body["id"] == HEAD.id("resp_")
    assert body["created_at"] == minted_s(HEAD.call)
    assert body["instructions"] == "be short"
    assert body["metadata"] == {"case": "7"}
    assert body["temperature"] == 0.5
    assert body["max_output_tokens"] == 9
    assert body["text"] == {"format": {"type": "json_object"}, "verbosity": "low"}
    assert body["tools"][0]["name"] == "find"
    assert body["service_tier"] == "flex"
    assert body["store"] is True
    assert body["status"] == "completed"


def test_instructions_do_not_carry_over() -> None:
    earlier = read(instructions="answer in French", input="hello")
    call = read(instructions="be short", input="and?", previous_response_id=HEAD.id("resp_"))
    assert continued(call, earlier, answer("bonjour")).messages == (
        Message("system", "be short"),
        Message("user", "hello"),
        Message("assistant", "bonjour"),
        Message("user", "and?"),
    )


def test_a_response_that_should_not_be_stored_cannot_be_found() -> None:
    with pytest.raises(NotFound, match=HEAD.id("resp_")):
        check_kept(read(store=False), HEAD.id("resp_"))


def test_a_call_of_another_dialect_is_no_response() -> None:
    with pytest.raises(NotFound):
        check_kept(Infer(model="m", dialect="openai"), HEAD.id("resp_"))


def test_parts_of_input_are_read() -> None:
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "low"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "a"},
    ]
    call = read(input=[{"role": "user", "content": parts}])
    assert call.messages[0].content == (
        Text("look"),
        Image("data:image/png;base64,iVBO", "low"),
        File("data:application/pdf;base64,JVBE", filename="a"),
    )
    items = input_items(call, HEAD)
    assert items[0]["id"] == HEAD.id("msg_") + "_0"
    assert items[0]["content"] == parts


def test_logprobs_are_asked_for_by_include() -> None:
    assert read(include=["message.output_text.logprobs"]).sampling.logprobs


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"model": 3}, "`model`"),
        ({"input": []}, "`input`"),
        ({"input": [3]}, "`input[0]`"),
        ({"input": [{"type": "computer_call"}]}, "`input[0].type`"),
        ({"input": [{"role": "user"}]}, "`input[0].content`"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "`input[0].content[0].type`"),
        ({"input": [{"type": "function_call_output"}]}, "`input[0].output`"),
        ({"tools": [{"type": "web_search"}]}, "`tools[0].type`"),
        ({"tools": [{"type": "function"}]}, "`tools[0].name`"),
        ({"tool_choice": "some"}, "`tool_choice`"),
        ({"tool_choice": {"type": "mcp"}}, "`tool_choice.type`"),
        ({"background": True}, "`background`"),
        ({"conversation": "conv_1"}, "`conversation`"),
        ({"truncation": "auto"}, "`truncation`"),
        ({"text": {"format": {"type": "xml"}}}, "`text.format.type`"),
        ({"text": {"format": {"type": "json_schema"}}}, "`text.format.schema`"),
        ({"max_output_tokens": -1}, "`max_output_tokens`"),
        ({"max_output_tokens": 2**31}, "`max_output_tokens`"),
        ({"input": 5}, "`input` must be a string or an array"),
        ({"stream": 1}, "`stream`"),
        ({"metadata": "x"}, "`metadata`"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(fields: dict[str, object], path: str) -> None:
    with pytest.raises(BadCall) as caught:
        read(**fields)
    assert caught.value.message.startswith(path)
