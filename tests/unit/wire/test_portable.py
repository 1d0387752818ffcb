"""A call of another dialect as an engine of OpenAI's chat dialect gets it."""

import msgspec
import pytest

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall
from orlop.wire.anthropic import read_messages_request
from orlop.wire.openai import write_chat_request
from orlop.wire.portable import to_openai
from orlop.wire.responses import read_responses_request


def chat(call: Infer) -> dict[str, object]:
    body = write_chat_request(to_openai(call), call.model, stream=False)
    return msgspec.json.decode(body, type=dict[str, object])


def anthropic(**fields: object) -> Infer:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return read_messages_request(msgspec.json.encode(body | fields))


def responses(**fields: object) -> Infer:
    body = {"model": "m", "input": "hi"} | fields
    return read_responses_request(msgspec.json.encode(body)).call


def test_a_conversation_with_claudes_client_reaches_any_engine() -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    body = chat(
        anthropic(
            system=[{"type": "text", "text": "be short", **cached}],
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "order 7?", **cached}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "Eq=="},
                        {"type": "tool_use", "id": "t1", "name": "find", "input": {"order": 7}},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sent"}],
                },
            ],
            tools=[{"name": "find", "input_schema": {"type": "object"}, **cached}],
            tool_choice={"type": "any"},
            top_k=4,
            metadata={"user_id": "u"},
            thinking={"type": "adaptive"},
        )
    )
    assert body == {
        "model": "m",
        "max_tokens": 9,
        "top_k": 4,
        "tool_choice": "required",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be short"}]},
            {"role": "user", "content": [{"type": "text", "text": "order 7?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "find", "arguments": '{"order":7}'},
                    }
                ],
            },
            {"role": "tool", "content": "sent", "tool_call_id": "t1"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
        ],
    }


def test_what_asks_nothing_of_another_engine_is_left_out() -> None:
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}]
    body = chat(anthropic(context_management={"edits": edits}, mcp_servers=[]))
    assert body.keys() == {"model", "messages", "max_tokens"}


def test_no_message_is_left_without_content() -> None:
    body = chat(
        anthropic(
            messages=[
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "hm", "signature": "Eq=="}],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1"},
                        {"type": "tool_result", "tool_use_id": "t2", "is_error": True},
                    ],
                },
            ]
        )
    )
    assert body["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "", "tool_call_id": "t1"},
        {"role": "tool", "content": "the tool failed", "tool_call_id": "t2"},
    ]


def test_a_text_document_is_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "the terms"}
    block = {"type": "document", "source": source, "title": "Terms"}
    body = chat(anthropic(messages=[{"role": "user", "content": [block]}]))
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Terms\nthe terms"}]}
    ]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"container": "c_1"}, "container"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
            "context_management",
        ),
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "web_search"),
        (
            {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]},
            "search_result",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "text", "data": "x"},
                                "citations": {"enabled": True},
                            }
                        ],
                    }
                ]
            },
            "citations",
        ),
        ({"messages": [{"role": "assistant", "content": "I am"}]}, "prefill"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(
    fields: dict[str, object], name: str
) -> None:
    with pytest.raises(BadCall, match=name):
        to_openai(anthropic(**fields))


def test_a_response_is_asked_for_in_chat_words() -> None:
    schema = {"type": "object"}
    body = chat(
        responses(
            instructions="be short",
            reasoning={"effort": "low", "summary": "auto"},
            text={"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}},
            tools=[{"type": "function", "name": "find", "parameters": schema, "strict": False}],
            tool_choice={"type": "function", "name": "find"},
            metadata={"case": "7"},
            store=True,
            max_output_tokens=5,
            top_k=3,
        )
    )
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": "hi"},
        ],
        "reasoning_effort": "low",
        "top_k": 3,
        "max_tokens": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": schema, "strict": True},
        },
        "tools": [
            {
                "type": "function",
                "function": {"name": "find", "parameters": schema, "strict": False},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "find"}},
    }
