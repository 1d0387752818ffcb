"""What OpenAI's dialect refuses, by name, and what it lets through."""

import pytest

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall, DeviceFailed, TooLarge
from orlop.abi.limits import BODY_BYTES_MAX
from orlop.abi.messages import Foreign, Message, Text, ToolSpec, ToolUse
from orlop.wire.json_guard import check, decode
from orlop.wire.openai import read_chat_request, read_chat_response, write_chat_request
from orlop.wire.openai_embed import read_embed_request
from orlop.wire.openai_legacy import read_text_request
from orlop.wire.openai_stream import ChatStreamReader

HELLO = b'"messages":[{"role":"user","content":"hello"}]'


def chat(*fields: bytes) -> Infer:
    return read_chat_request(b'{"model":"m",' + b",".join((HELLO, *fields)) + b"}").call


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (b'"temperature":"hot"', "`temperature` must be a number, not a string"),
        (b'"temperature":-1', "`temperature` must be from 0 to 100"),
        (b'"max_tokens":-5', "`max_tokens` must be from 1"),
        (b'"max_tokens":1.5', "`max_tokens` must be an integer, not a number"),
        (b'"max_tokens":true', "`max_tokens` must be an integer, not a boolean"),
        (b'"max_tokens":1,"max_completion_tokens":2', "`max_tokens` differs from"),
        (b'"n":0', "`n` must be from 1 to 16"),
        (b'"n":17', "`n` must be from 1 to 16"),
        (b'"stop":[1]', "`stop[0]` must be a string, not a number"),
        (b'"stop":5', "`stop` must be a string or an array, not a number"),
        (b'"stream":"yes"', "`stream` must be a boolean, not a string"),
        (b'"stream_options":{"include_usage":1}', "`stream_options.include_usage` must be"),
        (b'"top_logprobs":3', "`top_logprobs` needs `logprobs: true`"),
        (b'"logprobs":true,"top_logprobs":21', "`top_logprobs` must be from 0 to 20"),
        (b'"logit_bias":{"5":"x"}', "`logit_bias.5` must be a number"),
        (b'"service_tier":"gold"', "`service_tier` must be one of auto, default"),
        (b'"tools":[{"type":"function"}]', "`tools[0].function` must be an object"),
        (b'"tools":[{"type":"function","function":{}}]', "`tools[0].function.name` is required"),
        (b'"tool_choice":"sometimes"', "`tool_choice` must be `auto`"),
        (b'"response_format":{}', "`response_format` needs `type`"),
        (b'"response_format":{"type":"json_schema"}', "`response_format.json_schema` is required"),
        (b'"functions":[]', "`functions` is of an API that OpenAI has withdrawn"),
        (b'"seed":99999999999999999999999', "`seed` must be from"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(field: bytes, said: str) -> None:
    with pytest.raises(BadCall) as raised:
        chat(field)
    assert raised.value.message.startswith(said)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"5", "`messages[0]` must be an object, not a number"),
        (b'{"role":"king"}', "`messages[0].role` must be one of system"),
        (b'{"role":"user","content":5}', "`messages[0].content` must be a string or an array"),
        (b'{"role":"user","content":[{}]}', "`messages[0].content[0].type` is required"),
        (
            b'{"role":"user","content":[{"type":"image_url","image_url":"x"}]}',
            "`messages[0].content[0].image_url` must be an object",
        ),
        (
            b'{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":{}}}]}',
            "`messages[0].tool_calls[0].function.arguments` must be a string",
        ),
        (
            b'{"role":"assistant","function_call":{"name":"f"}}',
            "`messages[0].function_call` is of an API that OpenAI has withdrawn",
        ),
    ],
)
def test_a_wrong_message_is_refused_by_its_path(message: bytes, said: str) -> None:
    with pytest.raises(BadCall) as raised:
        read_chat_request(b'{"model":"m","messages":[' + message + b"]}")
    assert raised.value.message.startswith(said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not a JSON object"),
        (b"[]", "the body is not a JSON object"),
        (b'{"model":"m",', "the body is not a JSON object"),
        (b'{"model":"\xff"}', "the body is not UTF-8"),
        (b'{"model":"\\ud800"}', "the body is not a JSON object"),
        (b'{"model":NaN}', "the body is not a JSON object"),
        (b'{"seed":' + b"1" * 10_000 + b"}", "the body is not a JSON object"),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "the body is nested more than"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "the body is nested more than"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "the body is nested more than"),
    ],
)
def test_what_is_no_sane_json_is_refused(body: bytes, said: str) -> None:
    for reader in (read_chat_request, read_text_request, read_embed_request):
        with pytest.raises(BadCall) as raised:
            reader(body)
        assert raised.value.message.startswith(said)


def test_many_brackets_are_no_depth() -> None:
    decode(b'{"a":' + b"[" * 199 + b"]" * 199 + b',"b":[' + b"[]," * 1000 + b"[]]}")


def test_a_body_beyond_the_limit_is_too_large() -> None:
    for reader in (read_chat_request, check):
        with pytest.raises(TooLarge, match="BODY_BYTES_MAX"):
            reader(b" " * (BODY_BYTES_MAX + 1))


def test_a_body_is_checked_before_another_decoder_reads_it() -> None:
    check('{"a":"ü"}'.encode())
    with pytest.raises(BadCall, match="not UTF-8"):
        check(b'{"a":"\xff"}')
    with pytest.raises(BadCall, match="nested more"):
        check(b'{"a":' * 300 + b"1" + b"}" * 300)


def test_what_nobody_knows_is_kept_where_it_was() -> None:
    call = chat(
        b'"top_k":5,"reasoning_effort":null',
        b'"tools":[{"type":"function","x":1,"function":{"name":"f","y":2}},{"type":"web_search","z":3}]',
        b'"tool_choice":{"type":"allowed_tools","mode":"auto"}',
    )
    assert call.extra == {"top_k": 5, "tool_choice": {"type": "allowed_tools", "mode": "auto"}}
    assert call.tools == (
        ToolSpec("f", extra={"x": 1, "function": {"y": 2}}),
        ToolSpec("web_search", kind="web_search", extra={"z": 3}),
    )
    again = read_chat_request(write_chat_request(call, "m", stream=False)).call
    assert again == call


def test_parts_that_only_the_dialect_knows_pass_through_whole() -> None:
    part: dict[str, object] = {"type": "image_url", "image_url": {"url": "u", "x_min_pixels": 4}}
    call = Infer(
        model="m", messages=(Message("user", (Foreign("openai", part),)),), dialect="openai"
    )
    assert read_chat_request(write_chat_request(call, "m", stream=False)).call == call


def test_another_dialect_s_words_are_not_passed_on() -> None:
    text = Text("hi", {"cache_control": {"type": "ephemeral"}})
    call = Infer(
        model="m", messages=(Message("user", (text,)),), dialect="anthropic", extra={"top_k": 5}
    )
    body = write_chat_request(call, "m", stream=False)
    assert b"cache_control" not in body


def test_the_classes_of_service_are_latency_classes() -> None:
    classes = {
        tier: chat(b'"service_tier":"%s"' % tier.encode()).hints.latency_class
        for tier in ("auto", "default", "flex", "scale", "priority", "fast")
    }
    assert classes == {
        "auto": None,
        "default": "standard",
        "flex": "batch",
        "scale": "standard",
        "priority": "interactive",
        "fast": "interactive",
    }


def test_the_old_completions_take_texts_and_token_ids_but_no_mixture() -> None:
    def prompts(prompt: bytes) -> list[object]:
        body = b'{"model":"m","prompt":%s}' % prompt
        return [call.prompt for call in read_text_request(body).calls]

    assert prompts(b'"once"') == ["once"]
    assert prompts(b'["once","twice"]') == ["once", "twice"]
    assert prompts(b"[1,2,3]") == [(1, 2, 3)]
    assert prompts(b"[[1,2],[3]]") == [(1, 2), (3,)]
    for wrong in (b"[]", b"null", b'[1,"a"]', b'[[1],"a"]', b"[[]]", b"[-1]", b"[true]", b"{}"):
        with pytest.raises(BadCall, match="`prompt"):
            prompts(wrong)


def test_an_embedding_of_token_ids_is_refused_with_the_reason() -> None:
    for tokens in (b"[1,2]", b"[[1,2]]"):
        with pytest.raises(BadCall, match="token ids"):
            read_embed_request(b'{"model":"m","input":%s}' % tokens)
    with pytest.raises(BadCall, match="`encoding_format`"):
        read_embed_request(b'{"model":"m","input":"a","encoding_format":"hex"}')


def test_engines_may_leave_out_what_they_often_do() -> None:
    made = read_chat_response(
        b'{"choices":[{"message":{"content":"","reasoning":"hm","tool_calls":'
        b'[{"function":{"name":"f","arguments":{"a":1}}}]},"finish_reason":"end_turn"}],"usage":null}'
    )
    (choice,) = made.choices
    assert choice.message == Message(
        "assistant", None, tool_uses=(ToolUse("call_0", "f", '{"a":1}'),), reasoning="hm"
    )
    assert choice.finish == "stop"


def tool_stream(*pieces: bytes) -> tuple[ToolUse, ...]:
    reader = ChatStreamReader()
    for piece in pieces:
        reader.feed(b'data: {"choices":[{"delta":{"tool_calls":[%s]}}]}\n\n' % piece)
    reader.feed(b'data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}\n\n')
    reader.feed(b"data: [DONE]\n\n")
    return reader.finish().choices[0].message.tool_uses


def test_streamed_tool_calls_are_told_apart_however_they_are_numbered() -> None:
    first = b'{"id":"a","function":{"name":"f","arguments":"{"}}'
    rest = b'{"function":{"arguments":"}"}}'
    second = b'{"id":"b","function":{"name":"g","arguments":"{}"}}'
    wanted = (ToolUse("a", "f", "{}"), ToolUse("b", "g", "{}"))
    assert tool_stream(first, rest, second) == wanted
    zeroes = [b'{"index":0,' + piece[1:] for piece in (first, rest, second)]
    assert tool_stream(*zeroes) == wanted
    from_one = [
        b'{"index":1,' + first[1:],
        b'{"index":1,' + rest[1:],
        b'{"index":2,' + second[1:],
    ]
    assert tool_stream(*from_one) == wanted


def test_a_stream_that_holds_no_json_is_the_engine_s_failure() -> None:
    with pytest.raises(DeviceFailed, match="can't be read"):
        ChatStreamReader().feed(b"data: hello\n\n")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b" ", "it is empty"),
        (b'{"a":"\\ud800"}', r"`\ud800` at byte 6 is half of a surrogate pair"),
        (b'{"a":"\\uDBFF x"}', r"`\uDBFF` at byte 6 is half of a surrogate pair"),
        (b'{"a":"\\ud83d\\ude00", "b', "Input data was truncated"),
    ],
)
def test_a_body_that_is_not_json_is_told_what_is_true(body: bytes, said: str) -> None:
    with pytest.raises(BadCall) as raised:
        decode(body)
    assert raised.value.message == f"the body is not a JSON object: {said}"
