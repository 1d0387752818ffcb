"""The OpenAI Agents SDK in its default mode (Responses), unmodified."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import pytest
from agents import (
    Agent,
    ModelSettings,
    Runner,
    RunResult,
    function_tool,
    set_default_openai_client,
)
from agents.exceptions import AgentsException
from live_kernel import LiveKernel
from openai import APIError, AsyncOpenAI

T = TypeVar("T")
ASKED: list[int] = []


def run(scenario: Coroutine[object, object, T]) -> T:
    """The SDK's own client outlives event loops, and so would its connections: each test has one.

    `tests/clients/test_programs.py` runs an agent with nothing set at all.
    """

    async def with_client() -> T:
        async with AsyncOpenAI() as client:
            set_default_openai_client(client, use_for_tracing=False)
            return await scenario

    return asyncio.run(with_client())


@function_tool
def find_order(order: int) -> str:
    """Where an order is."""
    ASKED.append(order)
    return f"order {order} is in Graz"


def agent(model: str = "fake", tokens: int | None = None) -> Agent[None]:
    return Agent[None](
        name="desk",
        instructions="You find orders.",
        model=model,
        tools=[find_order],
        model_settings=ModelSettings(max_tokens=tokens),
    )


def kinds(result: RunResult) -> list[str]:
    return [item.type for item in result.new_items]


def test_an_agent_calls_its_tool_and_answers(kernel: LiveKernel) -> None:
    ASKED.clear()
    result = run(Runner.run(agent(), 'where? [[tool find_order {"order": 7}]]'))
    assert ASKED == [7]
    assert kinds(result) == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    assert result.final_output
    assert result.context_wrapper.usage.requests == 2
    assert result.context_wrapper.usage.output_tokens > 0


def test_a_streamed_run_gives_its_words_as_they_come(kernel: LiveKernel) -> None:
    async def scenario() -> tuple[list[str], list[str], str]:
        result = Runner.run_streamed(agent(), 'where? [[tool find_order {"order": 8}]]')
        words: list[str] = []
        events: list[str] = []
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                if event.data.type == "response.output_text.delta":
                    words.append(event.data.delta)
            elif event.type == "run_item_stream_event":
                events.append(event.name)
        return words, events, str(result.final_output)

    ASKED.clear()
    words, events, final = run(scenario())
    assert ASKED == [8]
    assert events == ["tool_called", "tool_output", "message_output_created"]
    assert len(words) > 1
    assert "".join(words) == final


def test_a_conversation_goes_on_on_the_servers_side(kernel: LiveKernel) -> None:
    async def scenario() -> tuple[str, str]:
        first = await Runner.run(agent(), "[[say my name is Orla]]")
        second = await Runner.run(
            agent(), "[[say and yours]]", previous_response_id=first.last_response_id
        )
        return str(first.final_output), str(second.final_output)

    assert run(scenario()) == ("my name is Orla", "and yours")


def test_many_agents_at_once(kernel: LiveKernel) -> None:
    async def scenario() -> list[RunResult]:
        runs = [
            Runner.run(agent(), f'[[tool find_order {{"order": {order}}}]]') for order in range(8)
        ]
        return await asyncio.gather(*runs)

    ASKED.clear()
    results = run(scenario())
    assert sorted(ASKED) == list(range(8))
    assert all(result.final_output for result in results)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_run_whose_engine_breaks_ends_in_an_exception(kernel: LiveKernel, streamed: bool) -> None:
    async def scenario() -> None:
        broken = agent("breaking", tokens=6000)
        if not streamed:
            await Runner.run(broken, "hello")
            return
        result = Runner.run_streamed(broken, "hello")
        async for _ in result.stream_events():
            pass

    with pytest.raises((AgentsException, APIError)):
        run(scenario())
