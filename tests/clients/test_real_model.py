"""The same clients on SmolLM2 and MiniLM, where `orlop pull smollm2 minilm` has brought them."""

import json
from collections.abc import Iterator

import pytest
from anthropic import Anthropic
from live_kernel import LiveKernel, live_kernel, real_models
from openai import OpenAI

MODELS = real_models()
pytestmark = pytest.mark.skipif(MODELS is None, reason="`orlop pull smollm2 minilm` was not run")


@pytest.fixture(scope="module")
def embedded() -> Iterator[LiveKernel]:
    with live_kernel(models=MODELS) as kernel:
        yield kernel


@pytest.fixture
def told(embedded: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> LiveKernel:
    for name, value in embedded.environment.items():
        monkeypatch.setenv(name, value)
    return embedded


def test_chat_streams_words_and_counts_them(told: LiveKernel) -> None:
    with OpenAI() as client:
        chunks = list(
            client.chat.completions.create(
                model="smollm2",
                messages=[{"role": "user", "content": "Say hello."}],
                max_tokens=12,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([word for word in words if word]) > 1
    assert chunks[-1].usage is not None
    assert 0 < chunks[-1].usage.completion_tokens <= 12


def test_the_same_question_in_three_dialects_gets_the_same_answer(told: LiveKernel) -> None:
    question = "Name one colour."
    with OpenAI() as client, Anthropic() as claude:
        chat = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": question}],
            max_tokens=8,
            temperature=0,
        )
        response = client.responses.create(
            model="smollm2", input=question, max_output_tokens=8, temperature=0
        )
        message = claude.messages.create(
            model="smollm2",
            max_tokens=8,
            messages=[{"role": "user", "content": question}],
            extra_body={"temperature": 0},
        )
    assert message.content[0].type == "text"
    assert chat.choices[0].message.content == response.output_text == message.content[0].text


def test_a_schema_binds_the_answer(told: LiveKernel) -> None:
    schema = {
        "type": "object",
        "properties": {"urgent": {"type": "boolean"}},
        "required": ["urgent"],
        "additionalProperties": False,
    }
    with OpenAI() as client:
        response = client.responses.create(
            model="smollm2",
            input="Is a burning house urgent? Answer in JSON.",
            max_output_tokens=30,
            temperature=0,
            text={"format": {"type": "json_schema", "name": "verdict", "schema": schema}},
        )
    assert isinstance(json.loads(response.output_text)["urgent"], bool)


def test_texts_that_mean_the_same_lie_near_each_other(told: LiveKernel) -> None:
    texts = ["My parcel is late.", "The package has not come yet.", "How do I bake bread?"]
    with OpenAI() as client:
        late, missing, bread = (
            item.embedding for item in client.embeddings.create(model="minilm", input=texts).data
        )

    def near(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert near(late, missing) > near(late, bread)
