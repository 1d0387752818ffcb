"""OpenAI's own client, unmodified, against the routes of its dialect."""

import asyncio
from collections.abc import Callable

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai_surface import EngineDoor, surface
from patience import until

from orlop.abi.calls import Infer
from orlop.abi.ids import EngineName
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock


def fake(config: FakeConfig) -> FakeEngine:
    return FakeEngine(EngineName("f"), config, clock=SystemClock(), chance=SeededChance(1))


def with_client(
    work: Callable[[OpenAI], None], config: FakeConfig | None = None, retries: int = 0
) -> EngineDoor:
    """Run `work` with a synchronous client in a thread, as scripts do."""

    async def scenario() -> EngineDoor:
        async with surface(fake(config or FakeConfig())) as (url, door):

            def script() -> None:
                with OpenAI(base_url=url, api_key="k", max_retries=retries) as client:
                    work(client)

            await asyncio.to_thread(script)
            return door

    return asyncio.run(scenario())


def test_a_chat_is_answered() -> None:
    def work(client: OpenAI) -> None:
        reply = client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": "[[say it is on its way]]"}],
            service_tier="flex",
        )
        assert reply.choices[0].message.content == "it is on its way"
        assert reply.choices[0].finish_reason == "stop"
        assert reply.service_tier == "flex"
        assert reply.usage is not None
        assert reply.usage.completion_tokens == 5
        assert reply.id.startswith("chatcmpl-01")
        assert reply.created > 0
        assert reply.model_extra is not None
        assert reply.model_extra["orlop"]["engine"] == "f"

    door = with_client(work)
    (call,) = door.calls
    assert isinstance(call, Infer)
    assert call.hints.latency_class == "batch"


def test_a_stream_comes_in_pieces_with_its_usage_last() -> None:
    def work(client: OpenAI) -> None:
        chunks = list(
            client.chat.completions.create(
                model="fake",
                messages=[{"role": "user", "content": "[[say one two three]]"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        *pieces, usage = chunks
        said = [piece.choices[0].delta.content for piece in pieces]
        assert said == ["", "one", " two", " three", None]
        assert pieces[0].choices[0].delta.role == "assistant"
        assert pieces[-1].choices[0].finish_reason == "stop"
        assert usage.choices == []
        assert usage.usage is not None
        assert usage.usage.completion_tokens == 3

    with_client(work)


def test_a_streamed_tool_call_is_put_together_by_the_client_s_own_helper() -> None:
    def work(client: OpenAI) -> None:
        with client.chat.completions.stream(
            model="fake",
            messages=[{"role": "user", "content": '[[tool look_up {"order": 17}]]'}],
            tools=[{"type": "function", "function": {"name": "look_up", "parameters": {}}}],
        ) as stream:
            reply = stream.get_final_completion()
        (use,) = reply.choices[0].message.tool_calls or []
        assert use.function.name == "look_up"
        assert use.function.arguments == '{"order": 17}'

    with_client(work)


def test_a_conversation_with_tools_goes_round() -> None:
    def work(client: OpenAI) -> None:
        first = client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": '[[tool look_up {"order": 17}]]'}],
            tools=[{"type": "function", "function": {"name": "look_up", "parameters": {}}}],
        )
        message = first.choices[0].message
        assert message.tool_calls
        second = client.chat.completions.create(
            model="fake",
            messages=[
                {"role": "user", "content": '[[tool look_up {"order": 17}]]'},
                message.to_dict(),  # type: ignore[list-item] # As its users do.
                {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sent"},
            ],
        )
        assert second.choices[0].message.content

    with_client(work)


def test_logprobs_and_several_choices() -> None:
    def work(client: OpenAI) -> None:
        reply = client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": "how sure?"}],
            logprobs=True,
            top_logprobs=2,
            n=2,
            max_tokens=3,
        )
        assert [choice.index for choice in reply.choices] == [0, 1]
        for choice in reply.choices:
            assert choice.finish_reason == "length"
            assert choice.logprobs is not None
            assert choice.logprobs.content is not None
            tokens = [entry.token for entry in choice.logprobs.content]
            assert "".join(tokens) == choice.message.content
            assert len(choice.logprobs.content[0].top_logprobs) == 2

    with_client(work)


def test_old_completions_of_several_prompts_are_numbered_through() -> None:
    def work(client: OpenAI) -> None:
        prompts = ["[[say first]]", "[[say second one]]"]
        whole = client.completions.create(model="fake", prompt=prompts, n=2, logprobs=1)
        assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
        texts = [choice.text for choice in whole.choices]
        assert texts == ["first", "first", "second one", "second one"]
        assert whole.choices[2].logprobs is not None
        assert whole.choices[2].logprobs.text_offset == [0, 6]
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 6
        streamed = ["", "", "", ""]
        for chunk in client.completions.create(model="fake", prompt=prompts, n=2, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.text
        assert streamed == texts

    with_client(work)


def test_embeddings_come_in_base_64_as_the_client_asks_and_in_numbers() -> None:
    def work(client: OpenAI) -> None:
        texts = ["late parcel", "broken cup"]
        packed = client.embeddings.create(model="fake-embed", input=texts)
        plain = client.embeddings.create(model="fake-embed", input=texts, encoding_format="float")
        for one, other in zip(packed.data, plain.data, strict=True):
            assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        short = client.embeddings.create(model="fake-embed", input="cup", dimensions=4)
        assert len(short.data[0].embedding) == 4

    with_client(work)


def test_models_are_listed_and_found_by_name() -> None:
    def work(client: OpenAI) -> None:
        assert [model.id for model in client.models.list()] == ["fake", "fake-embed"]
        assert client.models.retrieve("fake").owned_by == "f"
        with pytest.raises(openai.NotFoundError, match="org/none"):
            client.models.retrieve("org/none")

    with_client(work)


def test_a_wrong_field_is_named_in_the_client_s_exception() -> None:
    def work(client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            client.chat.completions.create(
                model="fake",
                messages=[{"role": "user", "content": "hi"}],
                extra_body={"temperature": "hot"},
            )
        assert raised.value.param == "temperature"
        assert raised.value.code == "E1001"
        assert raised.value.type == "invalid_request_error"

    with_client(work)


def test_the_client_obeys_what_may_be_tried_again_and_says_so() -> None:
    def refused(client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="no chat model"):
            client.chat.completions.create(
                model="nobody", messages=[{"role": "user", "content": "hi"}]
            )

    door = with_client(refused, retries=3)
    assert len(door.calls) == 1

    def busy(client: OpenAI) -> None:
        with pytest.raises(openai.RateLimitError, match="overloaded"):
            client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": "hi"}]
            )

    door = with_client(busy, FakeConfig(busy=1.0), retries=2)
    assert len(door.calls) == 3
    assert door.retries == 2


def test_a_stream_that_breaks_raises_in_the_client() -> None:
    async def scenario() -> None:
        engine = fake(FakeConfig(decode_s=0.005, tokens=10_000))
        async with (
            surface(engine) as (url, _),
            AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client,
        ):
            stream = await client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            with pytest.raises(openai.APIError, match=r"dead for a while|broke after"):
                async for _ in stream:
                    engine.die(60.0)

    asyncio.run(scenario())


def test_a_client_that_leaves_stops_its_call() -> None:
    async def scenario() -> None:
        engine = fake(FakeConfig(decode_s=0.01, tokens=100_000))
        async with surface(engine) as (url, _), AsyncOpenAI(base_url=url, api_key="k") as client:
            stream = await client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            async for _ in stream:
                break
            await stream.close()
            await until(lambda: engine.running == 0)
            ask = client.with_options(timeout=0.3, max_retries=0).chat.completions.create(
                model="fake", messages=[{"role": "user", "content": "hi"}]
            )
            with pytest.raises(openai.APITimeoutError):
                await ask
            await until(lambda: engine.running == 0)
            assert engine.computed == 0

    asyncio.run(scenario())


def test_the_same_body_is_answered_with_the_same_bytes_but_for_its_id() -> None:
    async def scenario() -> None:
        body = b'{"model":"fake","messages":[{"role":"user","content":"hi"}],"stream":true}'
        async with surface(fake(FakeConfig())) as (url, _), httpx2.AsyncClient() as client:
            replies = [
                (await client.post(f"{url}/chat/completions", content=body)).content
                for _ in range(2)
            ]
        first, second = (reply.replace(b"00001", b"_").replace(b"00002", b"_") for reply in replies)
        assert first == second
        assert replies[0].endswith(b"data: [DONE]\n\n")

    asyncio.run(scenario())
