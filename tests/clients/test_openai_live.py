"""OpenAI's official client, unmodified: chat completions, completions, embeddings, models."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from live_kernel import LiveKernel
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.chat.chat_completion import Choice
from pydantic import BaseModel

FIND: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "find_order",
        "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}},
    },
}
ASKS_FOR_TOOL = 'where is it? [[tool find_order {"order": 7}]]'


class Verdict(BaseModel):
    kind: str
    urgent: bool


def said(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": f"[[say {text}]]"}]


def test_a_plain_answer(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        answer = client.chat.completions.create(model="fake", messages=said("hello there"))
    assert answer.choices[0].message.content == "hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "fake"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    assert answer.id.startswith("chatcmpl-")


@pytest.mark.parametrize("stream", [False, True])
def test_a_name_for_several_models_and_hints_in_a_header(kernel: LiveKernel, stream: bool) -> None:
    with OpenAI() as client:
        told = client.chat.completions.with_raw_response.create(
            model="either",
            messages=said("hello there"),
            stream=stream,
            extra_headers={"orlop-hints": '{"deadline_s": 20, "ladder": ["down"]}'},
        )
        assert told.headers["orlop-rung"] == "down to fake"
        assert "either" in {model.id for model in client.models.list()}


@pytest.mark.parametrize("hints", ["5", '{"deadline": 5}', '{"deadline_s": -1}', "{"])
def test_hints_that_make_no_sense_are_refused(kernel: LiveKernel, hints: str) -> None:
    with OpenAI(max_retries=0) as client, pytest.raises(openai.BadRequestError, match="hints"):
        client.chat.completions.create(
            model="fake", messages=said("hello"), extra_headers={"orlop-hints": hints}
        )


def test_a_streamed_answer_with_its_usage(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        chunks = list(
            client.chat.completions.create(
                model="fake",
                messages=said("one two three"),
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "one two three"
    assert len([text for text in texts if text]) == 3
    assert chunks[-1].usage is not None
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_the_stream_helper_accumulates_what_was_asked(kernel: LiveKernel) -> None:
    with (
        OpenAI() as client,
        client.chat.completions.stream(model="fake", messages=said("one two")) as stream,
    ):
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "one two"
    assert "content.delta" in kinds
    assert "content.done" in kinds


def test_the_raw_response_names_the_call(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        raw = client.chat.completions.with_raw_response.create(model="fake", messages=said("hello"))
        answer = raw.parse()
    assert raw.headers["orlop-call"].startswith("cal_")
    assert answer.id.removeprefix("chatcmpl-") == raw.headers["orlop-call"].removeprefix("cal_")


def test_many_clients_at_once(kernel: LiveKernel) -> None:
    async def scenario() -> list[str | None]:
        async with AsyncOpenAI() as client:

            async def ask(number: int) -> str | None:
                answer = await client.chat.completions.create(
                    model="fake", messages=said(f"number {number}")
                )
                return answer.choices[0].message.content

            return await asyncio.gather(*(ask(number) for number in range(24)))

    assert asyncio.run(scenario()) == [f"number {number}" for number in range(24)]


def test_an_asynchronous_stream(kernel: LiveKernel) -> None:
    async def scenario() -> str:
        async with AsyncOpenAI() as client:
            stream = await client.chat.completions.create(
                model="fake", messages=said("one two three"), stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(scenario()) == "one two three"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_and_its_result_answered(kernel: LiveKernel, streamed: bool) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": ASKS_FOR_TOOL}]
    with OpenAI() as client:
        if streamed:
            with client.chat.completions.stream(
                model="fake", messages=messages, tools=[FIND]
            ) as stream:
                choice: Choice = stream.get_final_completion().choices[0]
        else:
            answer = client.chat.completions.create(model="fake", messages=messages, tools=[FIND])
            choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        use = choice.message.tool_calls[0]
        assert use.type == "function"
        assert json.loads(use.function.arguments) == {"order": 7}
        result = client.chat.completions.create(
            model="fake",
            messages=[
                *messages,
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": use.id,
                            "type": "function",
                            "function": {
                                "name": use.function.name,
                                "arguments": use.function.arguments,
                            },
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": use.id, "content": "in Graz"},
            ],
            tools=[FIND],
        )
    assert result.choices[0].finish_reason == "stop"
    assert result.choices[0].message.content


def test_parse_gives_an_object_of_the_callers_class(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        answer = client.chat.completions.parse(
            model="fake",
            messages=said('{"kind":"billing","urgent":true}'),
            response_format=Verdict,
        )
    assert answer.choices[0].message.parsed == Verdict(kind="billing", urgent=True)


def test_several_choices_and_logprobs(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        answer = client.chat.completions.create(
            model="fake", messages=said("yes"), n=2, logprobs=True, top_logprobs=2, seed=3
        )
    assert [choice.index for choice in answer.choices] == [0, 1]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content[0].top_logprobs) == 2


def test_the_output_limit_ends_an_answer(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        answer = client.chat.completions.create(
            model="fake", messages=said("one two three"), max_tokens=2
        )
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "one two"


def test_the_service_tier_is_told_back(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        answer = client.chat.completions.create(
            model="fake", messages=said("hello"), service_tier="flex"
        )
    assert answer.service_tier == "flex"


def test_old_completions(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        answer = client.completions.create(model="fake", prompt="[[say one two]]")
        streamed = client.completions.create(model="fake", prompt="[[say one two]]", stream=True)
        text = "".join(chunk.choices[0].text for chunk in streamed if chunk.choices)
    assert answer.choices[0].text == text == "one two"


def test_parts_of_one_body_and_calls_at_once_do_not_refuse_one_another(kernel: LiveKernel) -> None:
    """Under a budget in seconds, where no call names a deadline, so that each holds all of it."""
    kernel.orlop("budget", "set", "agent:narrow", "--seconds", "60")
    narrow = {"Orlop-Process": "narrow"}
    prompts = [f"[[say {word}]]" for word in ("one", "two", "three", "four")]
    with OpenAI(max_retries=0, default_headers=narrow) as client:

        def short(word: str) -> str | None:
            answer = client.chat.completions.create(
                model="slow", messages=said(word), max_tokens=5, n=2
            )
            return answer.choices[1].message.content

        whole = client.completions.create(model="slow", prompt=prompts, max_tokens=5)
        assert [choice.text for choice in whole.choices] == ["one", "two", "three", "four"]
        pieces = client.completions.create(model="slow", prompt=prompts, max_tokens=5, stream=True)
        streamed = {choice.index: choice.text for piece in pieces for choice in piece.choices}
        assert sorted(streamed) == [0, 1, 2, 3]
        vectors = client.embeddings.create(model="fake-embed", input=prompts * 50)
        assert len(vectors.data) == 200
        with ThreadPoolExecutor(8) as at_once:
            assert list(at_once.map(short, ["so"] * 8)) == ["so"] * 8
    shown = json.loads(kernel.orlop("budget", "show", "agent:narrow", "--json"))
    assert shown["held"]["ns"] == 0 < shown["used"]["ns"] <= 60_000_000_000


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(kernel: LiveKernel, encoding: str) -> None:
    with OpenAI() as client:
        made = client.embeddings.create(
            model="fake-embed",
            input=["the late order", "the late order", "a bill"],
            encoding_format="base64" if encoding == "base64" else "float",
        )
        default = client.embeddings.create(model="fake-embed", input="the late order")
    assert [item.index for item in made.data] == [0, 1, 2]
    assert made.data[0].embedding == made.data[1].embedding
    assert made.data[0].embedding != made.data[2].embedding
    assert len(default.data[0].embedding) == 16


def test_the_models_are_listed(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        names = {model.id for model in client.models.list()}
        one = client.models.retrieve("fake")
    assert {"fake", "fake-embed", "slow"} <= names
    assert one.id == "fake"


def test_a_stream_that_its_reader_leaves_frees_the_engine(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        with client.chat.completions.create(
            model="slow", messages=[{"role": "user", "content": "tell me all"}], stream=True
        ) as stream:
            assert next(stream).choices
        answer = client.chat.completions.create(model="fake", messages=said("still here"))
    assert answer.choices[0].message.content == "still here"


def test_a_timeout_of_the_client_is_an_exception_and_harms_nobody(kernel: LiveKernel) -> None:
    with OpenAI(max_retries=0, timeout=0.3) as client:
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(
                model="slow", messages=[{"role": "user", "content": "tell me all"}]
            )
        assert client.models.retrieve("fake").id == "fake"
