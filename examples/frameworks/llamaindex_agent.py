"""LlamaIndex: `python llamaindex_agent.py MODEL QUESTION…`."""

import asyncio
import os
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike

MODEL, *QUESTIONS = sys.argv[1:]


def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


async def main() -> None:
    # `OpenAI` of LlamaIndex takes models only that it knows by name; `OpenAILike` takes any.
    model = OpenAILike(
        model=MODEL,
        api_base=os.environ["OPENAI_BASE_URL"],
        api_key=os.environ["OPENAI_API_KEY"],
        is_chat_model=True,
        is_function_calling_model=True,
    )
    desk = FunctionAgent(tools=[find_order], llm=model)
    for question in QUESTIONS:
        print(await desk.run(question), flush=True)


asyncio.run(main())
