"""OpenAI's official client on the Responses API, unmodified."""

import asyncio
import json

import openai
import pytest
from live_kernel import LiveKernel
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

FIND: FunctionToolParam = {
    "type": "function",
    "name": "find_order",
    "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}},
    "strict": False,
}


class Verdict(BaseModel):
    kind: str
    urgent: bool


def test_a_plain_response(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        response = client.responses.create(
            model="fake",
            input="[[say hello there]]",
            instructions="be short",
            metadata={"case": "7"},
        )
    assert response.output_text == "hello there"
    assert response.status == "completed"
    assert response.instructions == "be short"
    assert response.metadata == {"case": "7"}
    assert response.usage is not None
    assert response.usage.output_tokens > 0


def test_a_streamed_response_by_the_helper(kernel: LiveKernel) -> None:
    with (
        OpenAI() as client,
        client.responses.stream(model="fake", input="[[say one two three]]") as stream,
    ):
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert deltas == ["one", " two", " three"]
    assert final.output_text == "one two three"


def test_an_asynchronous_stream(kernel: LiveKernel) -> None:
    async def scenario() -> list[str]:
        async with AsyncOpenAI() as client:
            stream = await client.responses.create(
                model="fake", input="[[say one two]]", stream=True
            )
            return [event.type async for event in stream]

    kinds = asyncio.run(scenario())
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_parse_gives_an_object_of_the_callers_class(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        response = client.responses.parse(
            model="fake", input='[[say {"kind":"billing","urgent":true}]]', text_format=Verdict
        )
    assert response.output_parsed == Verdict(kind="billing", urgent=True)


def test_a_tool_is_called_and_the_conversation_goes_on_by_name(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        first = client.responses.create(
            model="fake", input='where? [[tool find_order {"order": 7}]]', tools=[FIND]
        )
        call = first.output[0]
        assert call.type == "function_call"
        assert json.loads(call.arguments) == {"order": 7}
        second = client.responses.create(
            model="fake",
            previous_response_id=first.id,
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "in Graz"}],
            tools=[FIND],
        )
        items = client.responses.input_items.list(second.id, order="asc").data
    assert second.output_text
    assert second.previous_response_id == first.id
    assert [item.type for item in items] == ["message", "function_call", "function_call_output"]


@pytest.mark.parametrize("id", ["resp_nobody", "resp_", "msg_1"])
def test_a_response_that_is_not_there_is_named_as_it_was_asked_for(
    kernel: LiveKernel, id: str
) -> None:
    with OpenAI(max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match=f"no response '{id}'"):
            client.responses.create(model="fake", input="x", previous_response_id=id)
        with pytest.raises(openai.NotFoundError, match=f"no response '{id}'"):
            client.responses.retrieve(id)


def test_a_response_is_read_back_as_it_was(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        made = client.responses.create(model="fake", input="[[say hello]]", temperature=0.5)
        with client.responses.stream(model="fake", input="[[say one two]]") as stream:
            streamed = stream.get_final_response()
        assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
        read = client.responses.retrieve(streamed.id)
    assert read.output_text == streamed.output_text
    assert read.created_at == streamed.created_at


def test_a_response_that_was_not_to_be_stored_cannot_be_read(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        made = client.responses.create(model="fake", input="[[say hello]]", store=False)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)


def test_a_conversation_of_many_turns_remembers_all(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        last = client.responses.create(model="fake", input="[[say turn 0]]")
        for turn in range(1, 6):
            last = client.responses.create(
                model="fake", input=f"[[say turn {turn}]]", previous_response_id=last.id
            )
        items = client.responses.input_items.list(last.id, order="asc", limit=100).data
        page = client.responses.input_items.list(last.id, order="asc", limit=4)
        assert len(page.data) == 4
        assert [item.id for item in page] == [item.id for item in items]
    assert len(items) == 11
    assert last.output_text == "turn 5"


def test_an_answer_cut_by_its_limit_is_incomplete(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        response = client.responses.create(
            model="fake", input="[[say one two three]]", max_output_tokens=2
        )
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_what_is_not_offered_is_refused_by_name(kernel: LiveKernel) -> None:
    with OpenAI() as client:
        with pytest.raises(openai.BadRequestError, match="background"):
            client.responses.create(model="fake", input="hi", background=True)
        with pytest.raises(openai.BadRequestError, match="web_search"):
            client.responses.create(model="fake", input="hi", tools=[{"type": "web_search"}])
        made = client.responses.create(model="fake", input="hi")
        with pytest.raises(openai.BadRequestError, match="journal"):
            client.responses.delete(made.id)
