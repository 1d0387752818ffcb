"""smolagents: `python smolagents_agent.py MODEL QUESTION…`."""

import os
import sys

from smolagents import OpenAIServerModel, ToolCallingAgent, tool

MODEL, *QUESTIONS = sys.argv[1:]


@tool
def find_order(order: int) -> str:
    """Where an order is.

    Args:
        order: its number
    """
    return f"order {order} is in Graz"


# It reads no environment variables by itself.
model = OpenAIServerModel(
    MODEL, api_base=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"]
)
desk = ToolCallingAgent([find_order], model, max_steps=2, verbosity_level=0)
for question in QUESTIONS:
    print(desk.run(question), flush=True)
