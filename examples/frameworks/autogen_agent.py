"""AutoGen: `python autogen_agent.py MODEL QUESTION…`."""

import asyncio
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient

MODEL, *QUESTIONS = sys.argv[1:]


async def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


async def main() -> None:
    client = OpenAIChatCompletionClient(
        model=MODEL,
        model_info={
            "family": "unknown",
            "vision": False,
            "function_calling": True,
            "json_output": False,
            "structured_output": False,
        },
    )
    for question in QUESTIONS:
        desk = AssistantAgent("desk", client, tools=[find_order], reflect_on_tool_use=True)
        result = await desk.run(task=question)
        print(result.messages[-1].content, flush=True)
    await client.close()


asyncio.run(main())
