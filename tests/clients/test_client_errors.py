"""What OpenAI's official client raises when something is wrong."""

import openai
import pytest
from live_kernel import LiveKernel
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


def test_a_wrong_key(kernel: LiveKernel) -> None:
    with (
        OpenAI(api_key="orlk_wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model="fake", messages=HELLO)


def test_an_unknown_model(kernel: LiveKernel) -> None:
    with OpenAI(max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="nonesuch"):
            client.chat.completions.create(model="nonesuch", messages=HELLO)
        with pytest.raises(openai.NotFoundError, match="nonesuch"):
            client.responses.create(model="nonesuch", input="hi")
        with pytest.raises(openai.NotFoundError, match="nonesuch"):
            client.embeddings.create(model="nonesuch", input="hi")


def test_a_wrong_type_names_its_field(kernel: LiveKernel) -> None:
    with OpenAI(max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model="fake", messages=HELLO, extra_body={"temperature": "hot"}
            )
        assert caught.value.param == "temperature"
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="fake", input="hi", extra_body={"tools": [{}]})
        assert caught.value.param == "tools[0].type"


def test_a_body_that_is_too_large(kernel: LiveKernel) -> None:
    with (
        OpenAI(max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "x" * (33 * 1024 * 1024)}]
        )
    assert caught.value.status_code == 413


def test_an_unknown_response(kernel: LiveKernel) -> None:
    with OpenAI(max_retries=0) as client:
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve("resp_01k9ztqv7mf5m8y3n2x4w6r0ab")
        with pytest.raises(openai.NotFoundError):
            client.responses.create(
                model="fake", input="hi", previous_response_id="resp_of_someone_else"
            )


def test_a_chat_stream_that_breaks_is_an_exception_and_never_a_clean_end(
    kernel: LiveKernel,
) -> None:
    with (
        OpenAI(max_retries=0) as client,
        pytest.raises(openai.APIError, match="broke"),
    ):
        for _ in client.chat.completions.create(
            model="breaking", messages=HELLO, stream=True, max_tokens=6000
        ):
            pass


def test_a_response_stream_that_breaks_is_an_exception_and_never_a_clean_end(
    kernel: LiveKernel,
) -> None:
    kinds = []
    with (
        OpenAI(max_retries=0) as client,
        pytest.raises(openai.APIError, match="broke"),
    ):
        for event in client.responses.create(
            model="breaking", input="hello", stream=True, max_output_tokens=6000
        ):
            kinds.append(event.type)
    assert "response.completed" not in kinds


def test_an_engine_that_fails_is_the_engines_fault(kernel: LiveKernel) -> None:
    with (
        OpenAI(max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.chat.completions.create(model="breaking", messages=HELLO, max_tokens=6000)
    assert caught.value.status_code == 502
    assert caught.value.code == "E2001"
