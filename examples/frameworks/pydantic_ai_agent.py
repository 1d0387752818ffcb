"""Pydantic AI on chat completions: `python pydantic_ai_agent.py MODEL QUESTION…`."""

import sys

from pydantic_ai import Agent

MODEL, *QUESTIONS = sys.argv[1:]
desk = Agent(f"openai-chat:{MODEL}", instructions="You find orders.")


@desk.tool_plain
def find_order(order: int) -> str:
    """Where an order is."""
    return f"order {order} is in Graz"


for question in QUESTIONS:
    print(desk.run_sync(question).output, flush=True)
