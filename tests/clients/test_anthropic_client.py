"""Anthropic's official client, unmodified."""

import asyncio

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message, MessageParam, ToolParam
from live_kernel import LiveKernel

FIND: ToolParam = {
    "name": "find_order",
    "input_schema": {"type": "object", "properties": {"order": {"type": "integer"}}},
}
ASKS_FOR_TOOL = 'where is it? [[tool find_order {"order": 7}]]'


def said(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": f"[[say {text}]]"}]


def test_a_plain_answer(kernel: LiveKernel) -> None:
    with Anthropic() as client:
        answer = client.messages.create(
            model="fake", max_tokens=20, system="be short", messages=said("hello there")
        )
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "hello there"
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0
    assert answer.id.startswith("msg_")


def test_a_streamed_answer_by_the_helper(kernel: LiveKernel) -> None:
    with (
        Anthropic() as client,
        client.messages.stream(
            model="fake", max_tokens=20, messages=said("one two three")
        ) as stream,
    ):
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert texts == ["one", " two", " three"]
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0
    assert final.usage.input_tokens > 0


def test_an_asynchronous_stream_of_raw_events(kernel: LiveKernel) -> None:
    async def scenario() -> list[str]:
        async with AsyncAnthropic() as client:
            stream = await client.messages.create(
                model="fake", max_tokens=20, messages=said("one"), stream=True
            )
            return [event.type async for event in stream]

    assert asyncio.run(scenario()) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_and_its_result_answered(kernel: LiveKernel, streamed: bool) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": ASKS_FOR_TOOL}]
    with Anthropic() as client:
        if streamed:
            with client.messages.stream(
                model="fake", max_tokens=50, messages=messages, tools=[FIND]
            ) as stream:
                answer: Message = stream.get_final_message()
        else:
            answer = client.messages.create(
                model="fake", max_tokens=50, messages=messages, tools=[FIND]
            )
        assert answer.stop_reason == "tool_use"
        use = answer.content[-1]
        assert use.type == "tool_use"
        assert use.input == {"order": 7}
        result = client.messages.create(
            model="fake",
            max_tokens=50,
            tools=[FIND],
            messages=[
                *messages,
                answer.to_param(),
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": use.id, "content": "in Graz"}
                    ],
                },
            ],
        )
    assert result.stop_reason == "end_turn"
    assert result.content[0].type == "text"


def test_an_answer_cut_by_its_limit(kernel: LiveKernel) -> None:
    with Anthropic() as client:
        answer = client.messages.create(model="fake", max_tokens=2, messages=said("one two three"))
    assert answer.stop_reason == "max_tokens"


def test_errors_have_the_clients_own_classes(kernel: LiveKernel) -> None:
    with Anthropic(max_retries=0) as client:
        with pytest.raises(anthropic.NotFoundError, match="nonesuch"):
            client.messages.create(model="nonesuch", max_tokens=5, messages=said("hi"))
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            client.messages.create(model="fake", max_tokens=-1, messages=said("hi"))
        with pytest.raises(anthropic.BadRequestError, match="web_search"):
            client.messages.create(
                model="fake",
                max_tokens=5,
                messages=said("hi"),
                tools=[{"type": "web_search_20250305", "name": "web_search"}],
            )
        with pytest.raises(anthropic.NotFoundError, match="count"):
            client.messages.count_tokens(model="fake", messages=said("hi"))
    with (
        Anthropic(api_key="orlk_wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model="fake", max_tokens=5, messages=said("hi"))


def test_a_stream_that_breaks_is_an_exception_and_never_a_message(kernel: LiveKernel) -> None:
    with (
        Anthropic(max_retries=0) as client,
        pytest.raises(anthropic.APIStatusError, match="broke"),
        client.messages.stream(
            model="breaking", max_tokens=6000, messages=[{"role": "user", "content": "hello"}]
        ) as stream,
    ):
        stream.get_final_message()
